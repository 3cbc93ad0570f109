"""The stand-in providers as one aiohttp application."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy

from extproc.stand_in import question
from extproc.stand_in.answers import Answer, Bill, completion, compose, events
from extproc.stand_in.delivery import hold_up, send
from extproc.stand_in.errors import ApiError
from extproc.stand_in.faults import Fault, FaultBook, Hit

BODY_BYTES_MAX = 64 * 1024 * 1024
STOP_WAIT_S = 0.4
"""How long open requests may finish on a stop; aiohttp allows as long again to cancel them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One chat request as it arrived, for a test to look at. `path` has the query, if any."""

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
    """The application; `observe` is called once for each chat request, when its body is read."""
    providers = _Providers(observe, require_key=require_key)
    app = web.Application(middlewares=[_as_openai], client_max_size=BODY_BYTES_MAX)
    provider = "/{provider:[A-Za-z0-9._-]+}"
    app.router.add_get("/healthz", _healthz)
    app.router.add_post(provider + "/v1/chat/completions", providers.chat)
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

    async def chat(self, request: web.Request) -> web.StreamResponse:
        provider = request.match_info["provider"]
        body = await request.read()
        if self._observe:
            self._observe(_seen(request, body))
        if self._require_key:
            _check_key(request)
        asked = question.read(body)
        hit = self._faults.take(provider, asked.model)
        await hold_up(request, hit.fault)
        now_s = time.time()
        bill = Bill(hit.fault.cached_tokens, hit.fault.reasoning_tokens)
        answer = compose(asked, provider, bill, answer_id=_new_id(), now_s=int(now_s))
        headers = _admit(hit, provider, answer, now_s)
        if asked.stream:
            headers["content-type"] = "text/event-stream; charset=utf-8"
            headers["cache-control"] = "no-cache"
            chunks = list(events(answer, with_usage=asked.wants_usage))
            return await send(request, chunks, headers, hit.fault)
        payload = completion(answer)
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
async def _as_openai(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error, aiohttp's own too, in OpenAI's shape."""
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
    return web.json_response(error.body(), status=error.status, headers=error.headers)


def _check_key(request: web.Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ApiError(
            401,
            "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.",
            code="invalid_api_key",
        )


def _admit(hit: Hit, provider: str, answer: Answer, now_s: float) -> dict[str, str]:
    """The headers of an admitted request's answer; raises `ApiError` (429) for the others."""
    if hit.limiter is None:
        return dict(hit.fault.headers)
    admitted = hit.limiter.admit(answer.total_tokens, now_s)
    headers = hit.limiter.headers(provider, now_s)
    if not admitted:
        headers["retry-after"] = str(hit.limiter.retry_after_s(now_s))
    headers |= hit.fault.headers
    if not admitted:
        raise ApiError(
            429,
            f"Rate limit reached for {answer.model}. Requested {answer.total_tokens} tokens.",
            code="rate_limit_exceeded",
            headers=headers,
        )
    return headers


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


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
