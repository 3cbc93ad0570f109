"""The transport that is `grpc.aio`."""

from __future__ import annotations

import socket

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from extproc.servers.access_log import AccessLogService
from extproc.servers.ext_proc import STREAMS_MAX, ExtProcService, channel_options
from extproc.servers.transport import LEAVE_S, UNIX, BindError, bind_error, check_unused
from extproc.snapshot import BODY_BYTES_CEILING
from extproc.wire.ext_proc import SERVICE


class GrpcioTransport:
    def __init__(self, exchanges: ExtProcService, access_log: AccessLogService) -> None:
        self._server = grpc.aio.server(
            # The limit on a body may be raised by a reload, gRPC's may not.
            options=channel_options(BODY_BYTES_CEILING),
            maximum_concurrent_rpcs=STREAMS_MAX,
        )
        self._server.add_generic_rpc_handlers((exchanges.handler(), access_log.handler()))
        self._healths = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._healths, self._server)

    def bind(self, address: str) -> None:
        """Having tried it with a plain socket: of what went wrong, grpc says only that it did."""
        try:
            _try_to_bind(address)
            self._server.add_insecure_port(address)
        except OSError as error:
            raise bind_error(address, error) from error
        except RuntimeError as error:
            raise BindError(f"can't listen on {address}") from error

    async def start(self) -> None:
        await self._server.start()

    async def set_serving(self, *, serving: bool) -> None:
        told = health_pb2.HealthCheckResponse
        for name in ("", SERVICE):
            await self._healths.set(name, told.SERVING if serving else told.NOT_SERVING)

    async def stop(self, grace_s: float | None) -> None:
        # An exchange ends here before its last words are sent. Broken off then, it would have Envoy
        # take back the request that it has just forwarded.
        await self._server.stop(max(grace_s or 0.0, LEAVE_S))


def _try_to_bind(address: str) -> None:
    """Raises `OSError` if `address` can't be had."""
    if address.startswith(UNIX):
        check_unused(address.removeprefix(UNIX))
        return
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, int(port)), family=family).close()
