"""The ext_proc service on `grpc.aio`: the shell around `Exchange`, and the stream's edge."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from typing import Final

import grpc.aio

from extproc.exchange import Answer, Exchange
from extproc.plan import Forward
from extproc.policy.draw import DRAW_BITS
from extproc.servers.router import Router
from extproc.servers.traces import where
from extproc.vocabulary import Refusal
from extproc.wire.ext_proc import METHOD, SERVICE, decode, encode

MESSAGE_OVERHEAD_BYTES_MAX: Final = 1024 * 1024
"""What a message may hold beside a body: headers (60 KiB in Envoy by default) and attributes."""

STREAMS_MAX: Final = 20_000
"""Exchanges open at once; more are refused, and Envoy answers 503."""

_log = logging.getLogger(__name__)
_random_bits = random.getrandbits  # ids must be distinct, not secret

_BROKEN: Final = Refusal(
    "internal", 500, "router_error", "The router failed to handle this request; it was not sent on."
)


class ExtProcStream:
    """One exchange in bytes, whoever carries them: each message has exactly one answer.

    It never raises. Once `finished`, no more messages are wanted: the stream ends there, so that
    Envoy sends nothing more here, and of the response nothing at all unless it may be in another
    dialect than the client's.
    """

    __slots__ = ("_exchange", "_router", "finished")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._exchange = Exchange(router.snapshot, router.view)
        self.finished = False

    def receive(self, message: bytes) -> bytes:
        try:
            return self._received(message)
        except Exception as error:  # noqa: BLE001  an unanswered request is forwarded unrouted
            self.finished = True
            _log.error("%s in an exchange, answered 500\n%s", type(error).__name__, where(error))
            return encode(self._exchange.error(_BROKEN))

    def _received(self, message: bytes) -> bytes:
        event = decode(message)
        now = time.time()
        began_ns = time.perf_counter_ns()
        draw = _random_bits(DRAW_BITS)
        reply = self._exchange.receive(event, now=now, draw=draw)
        self.finished = self._exchange.finished
        if not isinstance(reply, (Answer, Forward)):
            return encode(reply)
        if reply.decision is None:
            if isinstance(reply, Answer) and reply.told is None:
                self._router.metrics.undecided(reply.status)
            return encode(reply)
        decide_us = (time.perf_counter_ns() - began_ns) // 1000
        request_id = self._exchange.request_id
        return encode(reply, self._router.decided(request_id, reply.decision, decide_us))


class ExtProcService:
    """The streams that are open; each is one HTTP exchange, under the Snapshot of its beginning."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self) -> ExtProcStream:
        """Whoever opens a stream says `closed` when it is over, however it ended."""
        self._open += 1
        self._idle.clear()
        return ExtProcStream(self._router)

    def closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._idle.set()

    async def until_idle(self) -> None:
        """Returns when no exchange is open."""
        await self._idle.wait()

    async def process(
        self, messages: AsyncIterator[bytes], _context: object
    ) -> AsyncIterator[bytes]:
        """One stream, for `grpc.aio`."""
        stream = self.open()
        try:
            async for message in messages:
                yield stream.receive(message)
                if stream.finished:
                    return
        finally:
            self.closed()

    def handler(self) -> grpc.GenericRpcHandler:
        # Bytes in and out: what can't be parsed is answered here, not by grpc.
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self.process
        )
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})


def channel_options(body_bytes_max: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", body_bytes_max + MESSAGE_OVERHEAD_BYTES_MAX),
        ("grpc.max_send_message_length", body_bytes_max + MESSAGE_OVERHEAD_BYTES_MAX),
        # Two processes on one port would share it silently.
        ("grpc.so_reuseport", 0),
        # Envoy pings idle connections; by default grpc takes three such pings for an attack.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
