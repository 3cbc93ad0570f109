"""The lean transport: gRPC by `extproc.http2`, on asyncio and without a task for each stream.

    data_received ──► Http2Connection.receive ──► events ──► calls ──► one write

One that reads slowly is read from slowly; one that is gone is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from extproc.http2 import Data, Http2Connection, Limits, Opened
from extproc.servers.access_log import AccessLogService
from extproc.servers.calls import Call, Services, open_call, unary_methods
from extproc.servers.ext_proc import MESSAGE_OVERHEAD_BYTES_MAX, STREAMS_MAX, ExtProcService
from extproc.servers.health import Health
from extproc.servers.traces import where
from extproc.servers.transport import LEAVE_S, UNIX, bind_error, bound
from extproc.snapshot import BODY_BYTES_CEILING
from extproc.wire.ext_proc import SERVICE

GREETING_S: Final = 10.0
"""How long a client may take to show that it speaks HTTP/2."""

GOODBYE_S: Final = 10.0
"""How long a client may take to read what it was sent before its connection was closed."""

KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
"""Seconds of silence until a peer is asked whether it is there, and between questions; how many."""

BACKLOG: Final = 1024
WRITE_BYTES_MAX: Final = 1024 * 1024
"""Once more than this waits for a slow reader, nothing more is read of it."""


_log = logging.getLogger(__name__)


class LeanTransport:
    def __init__(
        self,
        exchanges: ExtProcService,
        access_log: AccessLogService,
        *,
        limits: Limits | None = None,
        message_bytes_max: int = BODY_BYTES_CEILING + MESSAGE_OVERHEAD_BYTES_MAX,
        calls_max: int = STREAMS_MAX,
    ) -> None:
        health = Health((SERVICE,))
        self.services = Services(
            exchanges,
            health,
            unary_methods(access_log, health),
            message_bytes_max,
            calls_max,
        )
        self.limits = limits or Limits()
        self._connections: set[_Connection] = set()
        self._gone = asyncio.Event()
        self._gone.set()
        self._sockets: list[tuple[socket.socket, str]] = []
        self._servers: list[asyncio.Server] = []

    def bind(self, address: str) -> None:
        path = address.removeprefix(UNIX) if address.startswith(UNIX) else ""
        try:
            self._sockets += [(listener, path) for listener in bound(address)]
        except OSError as error:
            raise bind_error(address, error) from error

    @property
    def ports(self) -> list[int]:
        """Of the TCP sockets that are bound."""
        return [one.getsockname()[1] for one, path in self._sockets if not path]

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for listener, path in self._sockets:
            create = loop.create_unix_server if path else loop.create_server
            self._servers.append(
                await create(lambda: _Connection(self), sock=listener, backlog=BACKLOG)
            )

    async def set_serving(self, *, serving: bool) -> None:
        self.services.health.set(serving=serving)

    async def stop(self, grace_s: float | None) -> None:
        self._close_listeners()
        for connection in tuple(self._connections):
            connection.drain()
        await self._until_gone(max(grace_s or 0.0, LEAVE_S))
        for connection in tuple(self._connections):
            connection.leave()
        await self._until_gone(LEAVE_S)

    def joined(self, connection: _Connection) -> None:
        self._connections.add(connection)
        self._gone.clear()

    def left(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._gone.set()

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        for _, path in self._sockets:
            if path:
                with suppress(OSError):
                    Path(path).unlink()
        self._servers.clear()
        self._sockets.clear()

    async def _until_gone(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._gone.wait()


class _Connection(asyncio.Protocol):
    """One peer's connection, and the calls that are open on it."""

    def __init__(self, transport: LeanTransport) -> None:
        self._transport = transport
        self.services = transport.services
        self.http2 = Http2Connection(transport.limits)
        self.calls: dict[int, Call] = {}
        self._wire: asyncio.Transport | None = None
        self._is_blocked = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(GREETING_S, self._check_greeted)

    # As asyncio calls it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self._wire.set_write_buffer_limits(high=WRITE_BYTES_MAX)
        _keep_alive(self._wire.get_extra_info("socket"))
        self._transport.joined(self)
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._receive(data)
        except Exception as error:  # noqa: BLE001  what else is on this connection can't be trusted
            _log.error("%s on a connection\n%s", type(error).__name__, where(error))
            self._abort()

    def pause_writing(self) -> None:
        self._is_blocked = True
        if self._wire:
            self._wire.pause_reading()

    def resume_writing(self) -> None:
        self._is_blocked = False
        self.flush()
        if self._wire and not self._is_blocked and not self._wire.is_closing():
            self._wire.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  whyever it was
        self._wire = None
        self._timer.cancel()
        self._transport.left(self)
        for call in tuple(self.calls.values()):
            call.close()

    # What the peer sent.

    def _receive(self, data: bytes) -> None:
        http2 = self.http2
        for event in http2.receive(data, self._loop.time()):
            stream_id = event.stream_id
            if isinstance(event, Data):
                call = self.calls.get(stream_id)
                # Under too much load Envoy's reset is there together with what it asked.
                if call is not None and http2.is_open(stream_id):
                    call.receive(event.data, ended=event.ended)
            elif isinstance(event, Opened):
                open_call(self, stream_id, event.head)
                if event.ended and (call := self.calls.get(stream_id)):
                    call.receive(b"", ended=True)
            elif call := self.calls.get(stream_id):
                call.close()
        self.flush()

    # What it is sent.

    def flush(self) -> None:
        """One write of what there is; while the peer does not read, it waits."""
        if self._wire is None or self._wire.is_closing():
            return
        if self._is_blocked:
            if self.http2.closed:
                self._abort()
            return
        output = self.http2.take_output()
        if output:
            self._wire.write(output)
        if self.http2.closed:
            if self.http2.fault and self.http2.greeted:
                _log.warning("a connection was closed: %s", self.http2.fault)
            self._close()
        elif self.http2.drained:
            self._close()

    def drain(self) -> None:
        self.http2.drain()
        self.flush()

    def leave(self) -> None:
        """Send what was written, and break off what is open."""
        if self._is_blocked:
            self._abort()
        else:
            self._close()

    def _close(self) -> None:
        if self._wire and not self._wire.is_closing():
            self._wire.close()
            self._timer.cancel()
            self._timer = self._loop.call_later(GOODBYE_S, self._abort)

    def _abort(self) -> None:
        if self._wire:
            self._wire.abort()

    def _check_greeted(self) -> None:
        if not self.http2.greeted:
            self._abort()


def _keep_alive(wire: socket.socket) -> None:
    """A peer whose machine is gone says no goodbye, and would hold its exchanges open for ever."""
    if wire.family == socket.AF_UNIX:
        return
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # not on every system
            wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
