"""Calls of the lean transport: the exchanges of ext_proc, and what is asked beside them.

A message of an exchange is answered where it is read. Other calls are unary, and run as tasks.
`grpc-timeout` is not heeded: an exchange is answered at once, the rest has limits of its own, and
a client that has waited enough resets its stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from extproc.http2 import ErrorCode, Http2Connection
from extproc.http2.messages import MessageError, MessageReader, framed, prefix
from extproc.http2.request_head import RequestHead
from extproc.http2.statuses import ANSWERED, Status, no_call, trailers, trailers_only
from extproc.servers.access_log import AccessLogService
from extproc.servers.ext_proc import ExtProcService, ExtProcStream
from extproc.servers.health import Health
from extproc.servers.traces import where
from extproc.wire import access_log as logs
from extproc.wire import ext_proc

COPIED_BYTES_MAX: Final = 16 * 1024
"""Of messages up to this size a copy costs less than a frame more."""

HELD_BYTES_MAX: Final = 2 * 1024**3
"""Of messages that are not whole yet, on all connections: eight of the largest, or 64 of 32 MiB."""

Unary = Callable[[bytes], Awaitable[bytes]]
"""Raises `RpcError`."""

_PROCESS: Final = f"/{ext_proc.SERVICE}/{ext_proc.METHOD}".encode()
_EXPORT: Final = f"/{logs.SERVICE}/{logs.METHOD}".encode()
_CHECK: Final = b"/grpc.health.v1.Health/Check"
_WATCH: Final = b"/grpc.health.v1.Health/Watch"
_GRPC: Final = b"application/grpc"

_log = logging.getLogger(__name__)


class RpcError(Exception):
    """Ends a unary call with `status`."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Services:
    """What can be called, by whatever connection; `open` counts the calls that are.

    `held_bytes` are those of messages that have begun and not ended.
    """

    exchanges: ExtProcService
    health: Health
    unary: Mapping[bytes, Unary]
    message_bytes_max: int
    calls_max: int
    held_bytes_max: int = HELD_BYTES_MAX
    open: int = 0
    held_bytes: int = 0


class Peer(Protocol):
    """The connection of a call: where its answers go, and which calls it has."""

    http2: Http2Connection
    calls: dict[int, Call]
    services: Services

    def flush(self) -> None:
        """Write what there is, if it was not a read that brought it."""


class Call:
    """What calls have in common: messages in and out, and one end."""

    __slots__ = ("_http2", "_is_answered", "_peer", "_reader", "_stream_id")

    def __init__(self, peer: Peer, stream_id: int) -> None:
        self._peer = peer
        self._http2 = peer.http2
        self._stream_id = stream_id
        self._reader = MessageReader(peer.services.message_bytes_max)
        self._is_answered = False
        peer.services.open += 1

    def receive(self, data: bytes, *, ended: bool) -> None:
        """A piece of the client's messages; `ended`: it sends nothing more."""
        raise NotImplementedError

    def close(self) -> None:
        """It is over, however it ended."""
        if self._peer.calls.pop(self._stream_id, None):
            self._peer.services.open -= 1
            self._peer.services.held_bytes -= self._reader.held
            self._closed()

    def _closed(self) -> None:
        """For what a call has to give back."""

    def _read(self, data: bytes) -> list[bytes] | None:
        """The messages that `data` completes; None if it ended the call."""
        reader, services = self._reader, self._peer.services
        before = reader.held
        try:
            messages = reader.receive(data)
        except MessageError as error:
            self._end(error.status, error.message)
            return None
        if reader.held != before:
            services.held_bytes += reader.held - before
            if services.held_bytes > services.held_bytes_max:
                self._end(Status.RESOURCE_EXHAUSTED, "too many large messages at once")
                return None
        return messages

    def _send(self, message: bytes) -> None:
        if not self._is_answered:
            self._is_answered = True
            self._http2.send_headers(self._stream_id, ANSWERED)
        if len(message) < COPIED_BYTES_MAX:
            self._http2.send_data(self._stream_id, framed(message))
        else:
            self._http2.send_data(self._stream_id, prefix(message))
            self._http2.send_data(self._stream_id, message)

    def _end(self, status: Status, message: str = "") -> None:
        last = trailers if self._is_answered else trailers_only
        self._http2.end(self._stream_id, last(status, message))
        self.close()


class _Exchange(Call):
    """A stream of ext_proc."""

    __slots__ = ("_stream",)

    def __init__(self, peer: Peer, stream_id: int) -> None:
        super().__init__(peer, stream_id)
        self._stream: ExtProcStream = peer.services.exchanges.open()

    def receive(self, data: bytes, *, ended: bool) -> None:
        messages = self._read(data)
        if messages is None:
            return
        for message in messages:
            self._send(self._stream.receive(message))
            if self._stream.finished:
                self._end(Status.OK)
                return
        if ended:
            self._end(*_ending(self._reader))

    def _closed(self) -> None:
        self._peer.services.exchanges.closed()


class _UnaryCall(Call):
    """One message, answered by one message."""

    __slots__ = ("_handler", "_message", "_task")

    def __init__(self, peer: Peer, stream_id: int, handler: Unary) -> None:
        super().__init__(peer, stream_id)
        self._handler = handler
        self._message: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    def receive(self, data: bytes, *, ended: bool) -> None:
        for message in self._read(data) or ():
            if self._message is not None:
                self._end(Status.INTERNAL, "more than one message")
                return
            self._message = message
        if not ended or self._stream_id not in self._peer.calls:
            return
        if self._message is None:
            self._end(Status.INTERNAL, "no message")
            return
        self._task = asyncio.create_task(self._answer(self._message))

    async def _answer(self, message: bytes) -> None:
        try:
            answer = await self._handler(message)
        except RpcError as error:
            self._end(error.status, error.message)
        except Exception as error:  # noqa: BLE001  the client must be told, and no other call
            _log.error("%s in a call\n%s", type(error).__name__, where(error))
            self._end(Status.UNKNOWN, "the router failed")
        else:
            self._send(answer)
            self._end(Status.OK)
        self._peer.flush()

    def _closed(self) -> None:
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()


class _Watch(Call):
    """A health watch: an answer now, and another after each change."""

    __slots__ = ()

    def receive(self, data: bytes, *, ended: bool) -> None:  # noqa: ARG002  it waits on
        for message in self._read(data) or ():
            try:
                self._peer.services.health.watch(message, self._tell)
            except DecodeError:
                self._end(Status.INVALID_ARGUMENT, "not a health check")
                return

    def _tell(self, status: bytes) -> None:
        self._send(status)
        self._peer.flush()

    def _closed(self) -> None:
        self._peer.services.health.unwatch(self._tell)


def open_call(peer: Peer, stream_id: int, head: RequestHead) -> None:
    """Begin the call that `head` asks for, or end the stream."""
    services, http2 = peer.services, peer.http2
    if services.open >= services.calls_max:
        http2.reset(stream_id, ErrorCode.REFUSED_STREAM)
    elif head.method != b"POST":
        http2.end(stream_id, no_call(405))
    elif not _is_grpc(head.value(b"content-type")):
        http2.end(stream_id, no_call(415))
    elif head.path == _PROCESS:
        peer.calls[stream_id] = _Exchange(peer, stream_id)
    elif head.path == _WATCH:
        peer.calls[stream_id] = _Watch(peer, stream_id)
    elif handler := services.unary.get(head.path):
        peer.calls[stream_id] = _UnaryCall(peer, stream_id, handler)
    else:
        http2.end(stream_id, trailers_only(Status.UNIMPLEMENTED, "no such method"))


def unary_methods(access_log: AccessLogService, health: Health) -> Mapping[bytes, Unary]:
    """By path."""

    async def export(message: bytes) -> bytes:
        try:
            return await access_log.taken(message)
        except DecodeError:
            raise RpcError(Status.INVALID_ARGUMENT, "not an OTLP log export") from None

    async def check(message: bytes) -> bytes:
        try:
            return health.check(message)
        except DecodeError:
            raise RpcError(Status.INVALID_ARGUMENT, "not a health check") from None
        except KeyError:
            raise RpcError(Status.NOT_FOUND, "no such service") from None

    return {_EXPORT: export, _CHECK: check}


def _ending(reader: MessageReader) -> tuple[Status, str]:
    return (Status.INTERNAL, "a message cut off") if reader.held else (Status.OK, "")


def _is_grpc(content_type: bytes) -> bool:
    return content_type == _GRPC or content_type.startswith((_GRPC + b"+", _GRPC + b";"))
