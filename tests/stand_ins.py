"""The stand-in providers in a thread of their own, and what they saw, for tests that are not async.

with StandIns("127.0.0.2") as providers:
    providers.fault("openai", status=503, times=1)
    ...  # a request to providers.base_url("openai")
    (seen,) = providers.seen("openai")

Two instances on two loopback hosts look like two providers to a router that tells hosts apart.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import httpx
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from extproc.stand_in import Seen, build_app, serving
from extproc.stand_in.errors import ApiError


@dataclass(frozen=True, slots=True)
class Visit:
    """One request's stay at a provider, in seconds of the monotonic clock.

    `status` is None where no answer was given, or none in full.
    """

    provider: str
    model: str
    began: float
    ended: float
    status: int | None


def most_at_once(visits: Iterable[Visit]) -> int:
    changes = [change for v in visits for change in ((v.began, 1), (v.ended, -1))]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


class StandIns:
    """All stand-in providers on one loopback host, on a port of the system's choosing."""

    def __init__(self, host: str = "127.0.0.1", *, require_key: bool = False) -> None:
        self._listener = socket.create_server((host, 0))
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._app = build_app(observe=self._observe, require_key=require_key)
        self._app.middlewares.append(self._watch)
        self._visits: list[Visit] = []
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._faulty: set[str] = set()
        self._control = httpx.Client(base_url=self.root_url, trust_env=False, verify=False)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        # Connections wait in the listener's backlog until the thread takes them: no race to start.
        self._thread = threading.Thread(target=self._run, name=f"stand-ins {host}", daemon=True)
        self._thread.start()

    @property
    def root_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def base_url(self, provider: str, path: str = "/v1") -> str:
        return f"{self.root_url}/{provider}{path}"

    def fault(self, provider: str, **fields: float | str | bool | dict[str, str]) -> None:
        """Set the provider's fault, replacing the last; `fields` are those of `Fault`."""
        self._faulty.add(provider)
        answer = self._control.put(f"/{provider}/fault", json=fields)
        assert answer.is_success, answer.text

    def seen(self, provider: str | None = None) -> tuple[Seen, ...]:
        """The requests to models so far, oldest first; of one provider or of all."""
        with self._lock:
            return tuple(one for one in self._seen if provider in (None, one.provider))

    def visits(self, model: str | None = None) -> tuple[Visit, ...]:
        """The requests to models that have ended, in that order; those for one model or all."""
        with self._lock:
            return tuple(one for one in self._visits if model in (None, one.model))

    def clear(self) -> None:
        """Forget every fault set through this object and everything seen."""
        while self._faulty:
            self._control.delete(f"/{self._faulty.pop()}/fault").raise_for_status()
        with self._lock:
            self._seen.clear()
            self._visits.clear()

    def close(self) -> None:
        self._control.close()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _observe(self, seen: Seen) -> None:
        with self._lock:
            self._seen.append(seen)

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "POST":
            return await handler(request)
        body = await request.read()
        began = time.monotonic()
        status: int | None = None
        try:
            answer = await handler(request)
        except ApiError as refused:
            status = refused.status
            raise
        else:
            status = answer.status
            return answer
        finally:
            visit = Visit(
                provider=request.match_info.get("provider", ""),
                model=request.match_info.get("model") or _model_of(body),
                began=began,
                ended=time.monotonic(),
                status=status,
            )
            with self._lock:
                self._visits.append(visit)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with serving(self._app, self._listener):
            await self._stop.wait()


class _Asked(msgspec.Struct):
    model: str = ""


def _model_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Asked).model
    except (ValueError, RecursionError):
        return ""
