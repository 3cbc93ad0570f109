"""The access-log service: batches of Envoy's two logs in, each acknowledged once it is kept."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from extproc.outcome import Attempt, Ended
from extproc.servers.router import Router
from extproc.servers.traces import where
from extproc.wire.access_log import METHOD, SERVICE, TAKEN, Fields, entries_of, read

KEEP_S: Final = 5.0
"""How long a batch waits for the disk; then it is acknowledged all the same, still in memory."""

SLICE_S: Final = 0.0003
"""How long entries are read before other work gets its turn: a batch may have hundreds."""

_log = logging.getLogger(__name__)


class AccessLogService:
    """Envoy repeats what is not acknowledged, so nothing here may fail for one bad entry."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def export(
        self, message: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        """For `grpc.aio`."""
        try:
            return await self.taken(message)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an OTLP log export")

    async def taken(self, message: bytes) -> bytes:
        """The acknowledgement of a batch. Raises protobuf's `DecodeError`."""
        try:
            entries = list(entries_of(message))
        except DecodeError:
            self._router.metrics.entries("unreadable")
            raise
        loop = asyncio.get_running_loop()
        pause_at = loop.time() + SLICE_S
        ended = 0
        for log, fields in entries:
            ended += self._take(log, fields)
            if loop.time() > pause_at:
                await asyncio.sleep(0)
                pause_at = loop.time() + SLICE_S
        if ended:
            await self._kept()
        return TAKEN

    def _take(self, log: str, fields: Fields) -> bool:
        """Whether a request has ended by this entry."""
        metrics = self._router.metrics
        try:
            match read(log, fields):
                case Attempt() as attempt:
                    metrics.entries("attempt")
                    self._router.attempted(attempt)
                case Ended() as ended:
                    metrics.entries("request")
                    self._router.ended(ended)
                    return True
                case None:
                    metrics.entries("other")
        except Exception as error:  # noqa: BLE001  Envoy would send the whole batch again, for ever
            metrics.entries("unreadable")
            _log.warning("%s in an access log entry\n%s", type(error).__name__, where(error))
        return False

    async def _kept(self) -> None:
        try:
            async with asyncio.timeout(KEEP_S):
                await self._router.written()
        except TimeoutError:
            _log.warning("the decision log takes longer than %g s", KEEP_S)

    def handler(self) -> grpc.GenericRpcHandler:
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            self.export
        )
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})
