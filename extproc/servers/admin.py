"""The admin HTTP server: is it alive, is it ready, what runs, what was decided, what would be.

Answers are JSON, errors too, `/metrics` aside. Nothing here changes anything, and no secret is in
any of it; still it tells of traffic, so it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from extproc.explain import RequestError
from extproc.record import iso_time
from extproc.servers.decisions import ENTRIES_MAX, Decisions, Wanted
from extproc.servers.traces import where

EXPLAIN_BYTES_MAX: Final = 4 * 1024 * 1024
"""A larger request is not explained: deciding on it would hold up the loop that serves others."""

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_FILTERS: Final = ("limit", "route", "target", "app")
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the answers come from; all are called on the event loop.

    `config` and `state` give what `/config` and `/state` show. `explain` takes the bytes of a
    request and gives the record of its decision, under what runs now and without changing it; it
    raises `RequestError` for what is no request.
    """

    registry: CollectorRegistry
    decisions: Decisions
    config: Callable[[], Mapping[str, Any]]
    state: Callable[[], Sequence[Mapping[str, Any]]]
    explain: Callable[[bytes], Mapping[str, Any]]


def build_admin(is_ready: Callable[[], bool], sources: Sources | None = None) -> web.Application:
    """`/healthz` answers while the process runs, `/readyz` 200 only while it takes requests.

    Without `sources` there is nothing else.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        if is_ready():
            return _json({"status": "ready"})
        return _json({"status": "draining"}, 503)

    app = web.Application(
        middlewares=[_errors_as_json],
        client_max_size=EXPLAIN_BYTES_MAX,
        # A body that is not what it says to be would break the connection, with a traceback.
        handler_args={"auto_decompress": False},
    )
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if sources:
        pages = _Pages(sources)
        app.router.add_get("/metrics", pages.metrics)
        app.router.add_get("/config", pages.config)
        app.router.add_get("/state", pages.state)
        app.router.add_get("/decisions", pages.decisions)
        app.router.add_post("/explain", pages.explain)
    return app


class _Pages:
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        # In a thread: ten thousand series take a quarter of a second.
        body = await asyncio.to_thread(encode, self._sources.registry)
        return web.Response(body=body, headers={"content-type": content_type})

    async def config(self, _request: web.Request) -> web.Response:
        return _json(self._sources.config())

    async def state(self, _request: web.Request) -> web.Response:
        return _json({"now": iso_time(time.time()), "targets": self._sources.state()})

    async def decisions(self, request: web.Request) -> web.Response:
        wanted = _wanted(request.query)
        if isinstance(wanted, str):
            return _error(400, wanted)
        return web.Response(
            body=self._sources.decisions.newest(wanted), content_type="application/json"
        )

    async def explain(self, request: web.Request) -> web.Response:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            return _error(415, "the body must be sent uncompressed, without `content-encoding`")
        try:
            return _json(self._sources.explain(await request.read()))
        except RequestError as error:
            return _error(400, str(error))


def _wanted(query: Mapping[str, str]) -> Wanted | str:
    """Which decisions are asked for, or what is wrong with the question."""
    unknown = [name for name in query if name not in _FILTERS]
    if unknown:
        return f"{unknown[0]!r} is no filter: use {', '.join(_FILTERS)}"
    limit = query.get("limit", "100")
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= ENTRIES_MAX:
        return f"limit must be a whole number from 1 to {ENTRIES_MAX}"
    return Wanted(int(limit), query.get("route"), query.get("target"), query.get("app"))


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        right = ", ".join(sorted(error.allowed_methods - {"HEAD"}))
        answer = _error(405, f"{request.method} is not supported here; use {right}")
        answer.headers["allow"] = error.headers["allow"]
        return answer
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"the body is larger than {EXPLAIN_BYTES_MAX} bytes")
    except web.HTTPNotFound:
        return _error(404, f"nothing is here; try {', '.join(_paths(request))}")
    except web.HTTPException:
        raise
    except Exception as error:  # noqa: BLE001  the message may quote a payload, so it goes nowhere
        _log.error("%s in %s, answered 500\n%s", type(error).__name__, request.path, where(error))
        return _error(500, "the router failed to answer this")


def _paths(request: web.Request) -> Sequence[str]:
    return [resource.canonical for resource in request.app.router.resources()]


def _json(told: object, status: int = 200) -> web.Response:
    return web.Response(body=_encode(told), status=status, content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    return _json({"error": {"message": message}}, status)
