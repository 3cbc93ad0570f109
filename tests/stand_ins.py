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
from typing import Self

import httpx

from extproc.stand_in import Seen, build_app, serving


class StandIns:
    """All stand-in providers on one loopback host, on a port of the system's choosing."""

    def __init__(self, host: str = "127.0.0.1", *, require_key: bool = False) -> None:
        self._listener = socket.create_server((host, 0))
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._app = build_app(observe=self._observe, require_key=require_key)
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

    def base_url(self, provider: str) -> str:
        return f"{self.root_url}/{provider}/v1"

    def fault(self, provider: str, **fields: float | str | bool | dict[str, str]) -> None:
        """Set the provider's fault, replacing the last; `fields` are those of `Fault`."""
        self._faulty.add(provider)
        answer = self._control.put(f"/{provider}/fault", json=fields)
        assert answer.is_success, answer.text

    def seen(self, provider: str | None = None) -> tuple[Seen, ...]:
        """The chat requests so far, oldest first; of one provider or of all."""
        with self._lock:
            return tuple(one for one in self._seen if provider in (None, one.provider))

    def clear(self) -> None:
        """Forget every fault set through this object and everything seen."""
        while self._faulty:
            self._control.delete(f"/{self._faulty.pop()}/fault").raise_for_status()
        with self._lock:
            self._seen.clear()

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

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with serving(self._app, self._listener):
            await self._stop.wait()
