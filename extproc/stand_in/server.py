"""The stand-in providers as one aiohttp application."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy

from extproc.stand_in.answer import Answer, Bill, compose
from extproc.stand_in.delivery import broken, hold_up, send
from extproc.stand_in.dialect import Dialect, Manners
from extproc.stand_in.endpoints import ENDPOINTS, manners_at
from extproc.stand_in.errors import ApiError
from extproc.stand_in.faults import Fault, FaultBook, Hit
from extproc.stand_in.limiter import Spelling
from extproc.stand_in.question import Asked

BODY_BYTES_MAX = 64 * 1024 * 1024
STOP_WAIT_S = 0.4
"""How long open requests may finish on a stop; aiohttp allows as long again to cancel them."""

_REQUEST_ID: ContextVar[str] = ContextVar("request id")
"""Of 32 hexadecimal digits; each request has a task of its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request to a model as it arrived, for a test to look at. `path` has the query, if any."""

    provider: str
    method: str
    host: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes
    peer_port: int


def build_app(
    *, observe: Callable[[Seen], None] | None = None, require_key: bool = False
) -> web.Application:
    """The application; `observe` is called once for each request to a model, its body read."""
    providers = _Providers(observe, require_key=require_key)
    app = web.Application(middlewares=[_with_errors], client_max_size=BODY_BYTES_MAX)
    provider = "/{provider:[A-Za-z0-9._-]+}"
    app.router.add_get("/healthz", _healthz)
    for path, dialect in ENDPOINTS.items():
        app.router.add_post(provider + path, providers.answering(dialect))
    app.router.add_put(provider + "/fault", providers.put_fault)
    app.router.add_get(provider + "/fault", providers.get_fault)
    app.router.add_delete(provider + "/fault", providers.delete_fault)
    return app


@asynccontextmanager
async def serving(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a bound socket; on the way out, what is still open is cut within a second."""
    # Off, because aiohttp quotes a malformed request, header lines and all, when it logs one.
    silent = logging.getLogger("extproc.stand_in")
    silent.disabled = True
    runner = web.AppRunner(
        app,
        handler_cancellation=True,  # a client that leaves ends its hang, stall or delay
        access_log=None,
        logger=silent,
        shutdown_timeout=STOP_WAIT_S,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=1024).start()
        yield
    finally:
        await runner.cleanup()


class _Providers:
    """The handlers and the little they share."""

    def __init__(self, observe: Callable[[Seen], None] | None, *, require_key: bool) -> None:
        self._observe = observe
        self._require_key = require_key
        self._faults = FaultBook()

    def answering(self, dialect: Dialect) -> Handler:
        async def answered(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, dialect)

        return answered

    async def _answer(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        provider, manners = request.match_info["provider"], dialect.manners
        body = await request.read()
        if self._observe:
            self._observe(_seen(request, body))
        if self._require_key:
            manners.check_key(request.headers)
        model = request.match_info.get("model", "")
        question, writer = dialect.read(
            Asked(provider, model, request.query, request.headers, body)
        )
        hit = self._faults.take(provider, question.model)
        await hold_up(request, hit.fault, says_retry_after=manners.says_retry_after)
        now_s = time.time()
        bill = Bill(hit.fault.cached_tokens, hit.fault.reasoning_tokens)
        answer = compose(question, provider, bill, answer_id=_new_id(), now_s=int(now_s))
        headers = manners.request_headers(_REQUEST_ID.get())
        headers |= _admit(hit, _spelling(provider, manners), answer, now_s)
        if question.stream:
            headers["content-type"] = writer.stream_type
            headers["cache-control"] = "no-cache"
            told = ApiError(500, "The stand-in was told to fail midway.")
            chunks = broken(
                list(writer.stream(answer)), partial(writer.error_event, told), hit.fault
            )
            return await send(request, chunks, headers, hit.fault)
        payload = writer.whole(answer)
        headers["content-type"] = "application/json"
        if not hit.fault.breaks_midway:
            return web.Response(body=payload, headers=headers)
        headers["content-length"] = str(len(payload))
        half = len(payload) // 2
        return await send(request, [payload[:half], payload[half:]], headers, hit.fault)

    async def put_fault(self, request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"Not a fault: {error}") from None
        self._faults.put(request.match_info["provider"], fault)
        return await self.get_fault(request)

    async def get_fault(self, request: web.Request) -> web.Response:
        fault = self._faults.get(request.match_info["provider"])
        if fault is None:
            raise ApiError(404, "This provider has no fault.")
        return web.Response(body=msgspec.json.encode(fault), content_type="application/json")

    async def delete_fault(self, request: web.Request) -> web.Response:
        self._faults.clear(request.match_info["provider"])
        return web.Response(status=204)


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@web.middleware
async def _with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error, aiohttp's own too, in the shape of the dialect that is spoken at this path."""
    _REQUEST_ID.set(_new_id())
    try:
        return await handler(request)
    except ApiError as refused:
        error = refused
    except web.HTTPNotFound:
        error = ApiError(404, f"Invalid URL ({request.method} {request.path})")
    except web.HTTPMethodNotAllowed as refused:
        error = ApiError(
            405,
            f"Not allowed to {request.method} on {request.path}.",
            code="method_not_supported",
            headers={"allow": refused.headers["allow"]},
        )
    except web.HTTPRequestEntityTooLarge:
        error = ApiError(413, f"The body is larger than {BODY_BYTES_MAX} bytes.")
    manners, request_id = manners_at(request.path, request.query), _REQUEST_ID.get()
    headers = manners.request_headers(request_id) | manners.error_headers(error) | error.headers
    return web.Response(
        body=manners.error(error, request_id),
        status=error.status,
        headers=headers,
        content_type="application/json",
    )


def _spelling(provider: str, manners: Manners) -> Spelling:
    """Anthropic says it in its own words in OpenAI's dialect too."""
    return "anthropic" if provider == "anthropic" else manners.limits


def _admit(hit: Hit, spelling: Spelling, answer: Answer, now_s: float) -> dict[str, str]:
    """The headers of an admitted request's answer; raises `ApiError` (429) for the others."""
    if hit.limiter is None:
        return dict(hit.fault.headers)
    admitted = hit.limiter.admit(answer.total_tokens, now_s)
    headers = hit.limiter.headers(spelling, now_s)
    wait_s = hit.limiter.retry_after_s(now_s)
    if not admitted and spelling:
        headers["retry-after"] = str(wait_s)
    headers |= hit.fault.headers
    if not admitted:
        raise ApiError(
            429,
            f"Rate limit reached for {answer.model}. Requested {answer.total_tokens} tokens.",
            headers=headers,
            wait_s=wait_s,
        )
    return headers


def _new_id() -> str:
    return uuid.uuid4().hex


def _seen(request: web.Request, body: bytes) -> Seen:
    return Seen(
        provider=request.match_info["provider"],
        method=request.method,
        host=request.host,
        path=request.raw_path,
        headers=request.headers,
        body=body,
        peer_port=request.get_extra_info("peername")[1],
    )
