"""One connection of HTTP/2, seen from the server: frames in, frames out, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, TypeAlias

from extproc.http2 import frames
from extproc.http2.blocks import BlockReader
from extproc.http2.credit import GIVEN_UP_COST, RESET_COST, Credit
from extproc.http2.errors import ErrorCode, Http2ConnectionError, Http2StreamError
from extproc.http2.events import Data, Event, Opened, Reset
from extproc.http2.frames import FRAME_BYTES_MAX, HEADER_BYTES, PREFACE, Kind, Setting
from extproc.http2.limits import Limits
from extproc.http2.outbox import Outbox
from extproc.http2.request_head import RequestHead, check_trailers
from extproc.http2.settings import settings_of
from extproc.http2.stream import Stream

CLOSED_MAX: Final = 1024
"""Streams that are remembered after their end, for what was under way by then."""

_PRIORITY_BYTES: Final = 5
_DRAINING: Final = b"draining"
_NO_SUCH_STREAM: Final = "a frame on a stream that was never opened"
_PROTOCOL: Final = ErrorCode.PROTOCOL_ERROR

# How a stream ended. What comes late is a fault after the peer's own end, and nothing after ours.
_BY_BOTH: Final = 0
_BY_PEER: Final = 1
_BY_US: Final = 2


class _Block:
    """Headers of which more is to come in CONTINUATIONs."""

    __slots__ = ("ended", "fragments", "stream_id")

    def __init__(self, stream_id: int, fragment: bytes, *, ended: bool) -> None:
        self.stream_id = stream_id
        self.fragments = bytearray(fragment)
        self.ended = ended


_Handler: TypeAlias = "Callable[[Http2Connection, int, int, bytes], None]"


class Http2Connection:
    """`closed`: nothing is received any more, and after the output the connection must go.

    What is sent on a stream that is gone by then is dropped: its end was told by `Reset`.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._credit = Credit(self._limits.idle_frames_max, self._limits.idle_frames_per_s)
        self._blocks = BlockReader(self._limits.header_list_bytes_max)
        self._outbox = Outbox()
        self._streams: dict[int, Stream] = {}
        self._ended: dict[int, int] = {}
        self._rest = b""
        self._is_greeted = self._is_set = False
        self._block: _Block | None = None
        self._last_id = 0
        self._accept_max = frames.STREAM_ID_MAX
        self._peer_window = frames.DEFAULT_WINDOW_BYTES
        self._window = max(self._limits.connection_window_bytes, frames.DEFAULT_WINDOW_BYTES)
        self._ungranted = 0
        self._now = 0.0
        self._is_draining = False
        self._events: list[Event] = []
        self.closed = False
        self.fault: Http2ConnectionError | None = None
        self._greet()

    @property
    def greeted(self) -> bool:
        """Whether the peer has shown that it speaks HTTP/2."""
        return self._is_set

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def is_open(self, stream_id: int) -> bool:
        """False as soon as it was reset, though events from before that are still to be handled."""
        return stream_id in self._streams

    @property
    def drained(self) -> bool:
        """Whether everything is over that `drain` left open."""
        return self._accept_max != frames.STREAM_ID_MAX and not self._streams

    # Sending.

    def take_output(self) -> bytes:
        return self._outbox.take()

    def send_headers(self, stream_id: int, block: bytes) -> None:
        if stream_id in self._streams:
            self._outbox.headers(stream_id, block)

    def send_data(self, stream_id: int, data: bytes) -> None:
        """`data` is kept, not copied, while it waits for the peer's windows."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.trailers is not None:
            return
        stream.answered = True
        self._credit.earn(len(data))
        self._outbox.data(stream, data)
        if self._outbox.queued > self._limits.queued_bytes_max:
            self._close(Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "answers are not taken"))

    def end(self, stream_id: int, block: bytes) -> None:
        """Send the last headers: after what waits. What the peer still sends then is not wanted."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.trailers is not None:
            return
        stream.trailers = block
        if not stream.queue:
            self._finish(stream)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._outbox.forget(stream)
            self._outbox.add(frames.reset(stream_id, code))
            self._remember(stream_id, _BY_US)

    def drain(self) -> None:
        """Announce the end, and serve what was opened before the peer knew of it."""
        if self._is_draining or self.closed:
            return
        self._is_draining = True
        self._outbox.add(frames.goaway(frames.STREAM_ID_MAX, ErrorCode.NO_ERROR))
        self._outbox.add(frames.ping(_DRAINING, 0))  # its answer says that the peer knows

    def _finish(self, stream: Stream) -> None:
        if stream.trailers is None:
            return
        self._outbox.headers(stream.id, stream.trailers, frames.END_STREAM)
        del self._streams[stream.id]
        if stream.remote_closed:
            self._remember(stream.id, _BY_BOTH)
        else:
            self._outbox.add(frames.reset(stream.id, ErrorCode.NO_ERROR))
            self._remember(stream.id, _BY_US)

    def _remember(self, stream_id: int, how: int) -> None:
        ended = self._ended
        ended[stream_id] = how
        if len(ended) > CLOSED_MAX:
            del ended[next(iter(ended))]

    def _greet(self) -> None:
        limits = self._limits
        settings = {
            Setting.MAX_CONCURRENT_STREAMS: limits.streams_max,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            Setting.MAX_HEADER_LIST_SIZE: limits.header_list_bytes_max,
        }
        self._outbox.add(frames.settings(settings))
        more = self._window - frames.DEFAULT_WINDOW_BYTES
        if more > 0:
            self._outbox.add(frames.window_update(0, more))

    # Receiving.

    def receive(self, data: bytes, now: float) -> list[Event]:
        """What `data` brings; `now` is in seconds of any clock that only goes forward."""
        if self.closed:
            return []
        self._now = now
        events: list[Event] = []
        self._events = events
        if self._rest:
            data = self._rest + data
        try:
            start = 0 if self._is_greeted else self._receive_preface(data)
            start = self._receive_frames(data, start)
            self._rest = data[start:]
        except Http2ConnectionError as fault:
            events += [Reset(stream_id, fault.code) for stream_id in self._streams]
            self._close(fault)
        return events

    def _receive_preface(self, data: bytes) -> int:
        if not data.startswith(PREFACE[: len(data)]):
            raise Http2ConnectionError(_PROTOCOL, "not the preface of HTTP/2")
        if len(data) < len(PREFACE):
            return 0
        self._is_greeted = True
        return len(PREFACE)

    def _receive_frames(self, data: bytes, start: int) -> int:
        """Where the first frame that is not whole begins."""
        if not self._is_greeted:
            return start
        size = len(data)
        while size - start >= HEADER_BYTES:
            high, low, kind, flags, stream_id = frames.read_header(data, start)
            stream_id &= frames.STREAM_ID_MAX
            first = start + HEADER_BYTES
            end = first + (high << 16 | low)
            if end - first > FRAME_BYTES_MAX:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame that is too large")
            if not self._is_set or self._block:
                self._check_order(kind, flags, stream_id)
            if end > size:
                break
            try:
                handle = self._HANDLERS.get(kind, Http2Connection._on_unknown)
                handle(self, flags, stream_id, data[first:end])
            except Http2StreamError as fault:
                self._on_fault(stream_id, fault.code)
            start = end
        return start

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        if not self._is_set:
            if kind != Kind.SETTINGS or flags & frames.ACK:
                raise Http2ConnectionError(_PROTOCOL, "SETTINGS do not come first")
            self._is_set = True
        elif self._block and (kind != Kind.CONTINUATION or stream_id != self._block.stream_id):
            raise Http2ConnectionError(_PROTOCOL, "headers are broken off")

    def _on_fault(self, stream_id: int, code: ErrorCode) -> None:
        """Charged, since a peer can have its streams reset by faults as well as by RST_STREAM."""
        self._credit.take(RESET_COST, self._now)
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._outbox.forget(stream)
            self._events.append(Reset(stream_id, code))
        self._outbox.add(frames.reset(stream_id, code))
        self._remember(stream_id, _BY_US)

    def _close(self, fault: Http2ConnectionError) -> None:
        self.closed = True
        self.fault = fault
        self._outbox.add(frames.goaway(self._last_id, fault.code))
        self._outbox.clear()
        self._streams.clear()
        self._rest = b""
        self._block = None

    def _unpadded(self, payload: bytes) -> bytes:
        padding = payload[0] if payload else 0
        if not payload or padding >= len(payload):
            raise Http2ConnectionError(_PROTOCOL, "padding longer than its frame")
        return payload[1 : len(payload) - padding]

    # DATA.

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._received(size)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_late(stream_id)
            return
        if stream.remote_closed:
            raise Http2StreamError(ErrorCode.STREAM_CLOSED, "DATA after the end")
        stream.heard = True
        stream.receive_left -= size
        if stream.receive_left < 0:
            raise Http2StreamError(ErrorCode.FLOW_CONTROL_ERROR, "more than the stream's window")
        if flags & frames.PADDED:
            payload = self._unpadded(payload)
        ended = bool(flags & frames.END_STREAM)
        if not payload and not ended:
            self._credit.take(1, self._now)
        if stream.body_left is not None:
            self._count_body(stream, stream.body_left - len(payload), ended=ended)
        if stream.trailers is not None:  # ours wait to be sent: nothing is wanted any more
            stream.remote_closed = ended
            return
        if ended:
            stream.remote_closed = True
        else:
            self._grant_stream(stream)
        self._events.append(Data(stream_id, payload, ended))

    def _received(self, size: int) -> None:
        self._ungranted += size
        if self._ungranted > self._window:
            raise Http2ConnectionError(
                ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window"
            )
        if self._ungranted * 2 >= self._window:
            self._grant()

    def _grant(self) -> None:
        if self._ungranted and self._outbox.queued <= self._limits.held_bytes_max:
            self._outbox.add(frames.window_update(0, self._ungranted))
            self._ungranted = 0

    def _grant_stream(self, stream: Stream) -> None:
        window = self._limits.stream_window_bytes
        if stream.receive_left * 2 <= window:
            self._outbox.add(frames.window_update(stream.id, window - stream.receive_left))
            stream.receive_left = window

    def _count_body(self, stream: Stream, left: int, *, ended: bool) -> None:
        stream.body_left = left
        if left < 0 or (ended and left):
            raise Http2StreamError(_PROTOCOL, "not as long as content-length says")

    def _check_late(self, stream_id: int) -> None:
        """Of a frame on a stream that is over; what we ended ourselves may have been under way."""
        if stream_id > self._last_id or stream_id % 2 == 0:
            raise Http2ConnectionError(_PROTOCOL, _NO_SUCH_STREAM)
        if self._ended.get(stream_id) != _BY_US:
            raise Http2StreamError(ErrorCode.STREAM_CLOSED, "DATA after the end")

    # HEADERS and CONTINUATION.

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = self._unpadded(payload)
        if flags & frames.PRIORITIZED:
            if len(payload) < _PRIORITY_BYTES:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame that is too short")
            payload = payload[_PRIORITY_BYTES:]
        if stream_id % 2 == 0:
            raise Http2ConnectionError(_PROTOCOL, "a stream that no client may open")
        ended = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._on_block(stream_id, payload, ended=ended)
        else:
            self._block = _Block(stream_id, payload, ended=ended)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise Http2ConnectionError(_PROTOCOL, "CONTINUATION of nothing")
        self._credit.take(1, self._now)
        block.fragments += payload
        if len(block.fragments) > self._limits.header_block_bytes_max:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "headers that are too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(stream_id, bytes(block.fragments), ended=block.ended)

    def _on_block(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        if stream_id <= self._last_id:
            self._on_trailers(stream_id, block, ended=ended)
            return
        self._last_id = stream_id
        head = self._blocks.head(block)
        if stream_id > self._accept_max or len(self._streams) >= self._limits.streams_max:
            self._credit.take(1, self._now)
            self._outbox.add(frames.reset(stream_id, ErrorCode.REFUSED_STREAM))
            self._remember(stream_id, _BY_US)
            return
        self._open(stream_id, head, ended=ended)

    def _open(self, stream_id: int, head: RequestHead, *, ended: bool) -> None:
        if ended and head.content_length:
            raise Http2StreamError(_PROTOCOL, "not as long as content-length says")
        window = self._limits.stream_window_bytes
        stream = Stream(stream_id, self._peer_window, window, head.content_length)
        stream.remote_closed = ended
        self._streams[stream_id] = stream
        self._events.append(Opened(stream_id, head, ended))

    def _on_trailers(self, stream_id: int, block: bytes, *, ended: bool) -> None:
        """They are read for the sake of the dynamic table, and must be right; nobody wants them."""
        fields = self._blocks.fields(block)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_late_headers(stream_id)
            return
        if stream.remote_closed:
            raise Http2StreamError(ErrorCode.STREAM_CLOSED, "HEADERS after the end")
        if not ended:
            raise Http2StreamError(_PROTOCOL, "trailers that do not end the stream")
        check_trailers(fields)
        if stream.body_left:
            raise Http2StreamError(_PROTOCOL, "not as long as content-length says")
        stream.remote_closed = True
        if stream.trailers is None:
            self._events.append(Data(stream_id, b"", ended=True))

    def _check_late_headers(self, stream_id: int) -> None:
        match self._ended.get(stream_id):
            case None:
                raise Http2ConnectionError(_PROTOCOL, "a stream whose number is not the next")
            case how if how == _BY_BOTH:
                raise Http2ConnectionError(ErrorCode.STREAM_CLOSED, "HEADERS after the end")
            case how if how == _BY_PEER:
                raise Http2StreamError(ErrorCode.STREAM_CLOSED, "HEADERS after RST_STREAM")

    # The other frames.

    def _on_reset(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        if not self._was_opened(stream_id):
            raise Http2ConnectionError(_PROTOCOL, _NO_SUCH_STREAM)
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            if stream_id not in self._ended:
                self._credit.take(1, self._now)
            return
        self._outbox.forget(stream)
        self._remember(stream_id, _BY_PEER)
        if not stream.answered:
            self._credit.take(GIVEN_UP_COST if stream.heard else RESET_COST, self._now)
        (code,) = frames.read_long(payload)
        self._events.append(Reset(stream_id, code))

    def _was_opened(self, stream_id: int) -> bool:
        return 0 < stream_id <= self._last_id and stream_id % 2 == 1

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2ConnectionError(_PROTOCOL, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS cut in two")
        if flags & frames.ACK:
            return
        self._credit.take(1, self._now)
        values = settings_of(payload)
        outbox = self._outbox
        outbox.frame_bytes_max = values.get(Setting.MAX_FRAME_SIZE, outbox.frame_bytes_max)
        window = values.get(Setting.INITIAL_WINDOW_SIZE, self._peer_window)
        if window != self._peer_window:
            self._change_windows(window)
        outbox.add(frames.SETTINGS_ACK)

    def _change_windows(self, window: int) -> None:
        more, self._peer_window = window - self._peer_window, window
        self._credit.take(len(self._streams) // 64, self._now)  # each is visited
        for stream in list(self._streams.values()):
            if self._outbox.widen(stream, more):
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond 2^31-1")
            if stream.queue and self._outbox.send_queued(stream):
                self._finish(stream)
        self._grant()

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "PING has 8 bytes")
        if stream_id:
            raise Http2ConnectionError(_PROTOCOL, "PING of a stream")
        if not flags & frames.ACK:
            self._credit.take(1, self._now)
            self._outbox.add(frames.ping(payload, frames.ACK))
        elif self._is_draining and payload == _DRAINING:
            self._accept_max = min(self._accept_max, self._last_id)
            self._outbox.add(frames.goaway(self._accept_max, ErrorCode.NO_ERROR))

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        self._credit.take(1, self._now)
        (increment,) = frames.read_long(payload)
        increment &= frames.WINDOW_MAX
        if not stream_id:
            self._widen_connection(increment)
            return
        if not self._was_opened(stream_id):
            raise Http2ConnectionError(_PROTOCOL, _NO_SUCH_STREAM)
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not increment:
            raise Http2StreamError(_PROTOCOL, "WINDOW_UPDATE of nothing")
        if self._outbox.widen(stream, increment):
            raise Http2StreamError(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond 2^31-1")
        if stream.queue and self._outbox.send_queued(stream):
            self._finish(stream)
        self._grant_held()

    def _widen_connection(self, increment: int) -> None:
        if not increment:
            raise Http2ConnectionError(_PROTOCOL, "WINDOW_UPDATE of nothing")
        for stream in self._outbox.widen_all(increment):
            self._finish(stream)
        self._grant_held()

    def _grant_held(self) -> None:
        if self._ungranted * 2 >= self._window:
            self._grant()

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """Deprecated by RFC 9113, 5.3: checked for form and left at that."""
        self._credit.take(1, self._now)
        if not stream_id:
            raise Http2ConnectionError(_PROTOCOL, "PRIORITY of no stream")
        if len(payload) != 5:
            raise Http2StreamError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has 5 bytes")

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """The peer opens no more streams, and closes the connection when it likes."""
        self._credit.take(1, self._now)
        if stream_id:
            raise Http2ConnectionError(_PROTOCOL, "GOAWAY of a stream")
        if len(payload) < 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes")

    def _on_push(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise Http2ConnectionError(_PROTOCOL, "PUSH_PROMISE of a client")

    def _on_unknown(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        self._credit.take(1, self._now)

    _HANDLERS: ClassVar[Mapping[int, _Handler]] = {
        Kind.DATA: _on_data,
        Kind.HEADERS: _on_headers,
        Kind.PRIORITY: _on_priority,
        Kind.RST_STREAM: _on_reset,
        Kind.SETTINGS: _on_settings,
        Kind.PUSH_PROMISE: _on_push,
        Kind.PING: _on_ping,
        Kind.GOAWAY: _on_goaway,
        Kind.WINDOW_UPDATE: _on_window_update,
        Kind.CONTINUATION: _on_continuation,
    }
