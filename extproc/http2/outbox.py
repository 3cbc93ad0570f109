"""What is to be sent: frames that are ready, and data that waits for the peer's windows."""

from __future__ import annotations

from collections import deque
from typing import Final

from extproc.http2 import frames
from extproc.http2.blocks import NO_TABLE
from extproc.http2.errors import ErrorCode, Http2ConnectionError
from extproc.http2.stream import Stream

_OVERFLOW: Final = "a window beyond 2^31-1"


class Outbox:
    """`window` is the connection's; `queued` are the bytes that wait for it or a stream's."""

    __slots__ = ("_for_window", "_frames", "_is_first_block", "frame_bytes_max", "queued", "window")

    def __init__(self) -> None:
        self._frames: list[bytes | memoryview] = []
        self._is_first_block = True
        self._for_window: dict[int, Stream] = {}
        """Streams that the connection's window alone holds up, longest first."""
        self.frame_bytes_max = frames.FRAME_BYTES_MAX
        self.window = frames.DEFAULT_WINDOW_BYTES
        self.queued = 0

    def take(self) -> bytes:
        taken = b"".join(self._frames)
        self._frames.clear()
        return taken

    def add(self, frame: bytes) -> None:
        self._frames.append(frame)

    def headers(self, stream_id: int, block: bytes, flags: int = 0) -> None:
        if self._is_first_block:
            self._is_first_block = False
            block = NO_TABLE + block
        self._frames.append(frames.headers(block, flags, stream_id))

    def data(self, stream: Stream, data: bytes) -> None:
        size = len(data)
        if not stream.queue and size <= min(self.frame_bytes_max, stream.window, self.window):
            stream.window -= size
            self.window -= size
            self._frames.append(frames.header(size, 0x0, 0, stream.id))
            self._frames.append(data)
            return
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(memoryview(data))
        self.queued += size
        if len(stream.queue) == 1:
            self.send_queued(stream)

    def send_queued(self, stream: Stream) -> bool:
        """As much as the windows allow; whether that is all."""
        queue = stream.queue
        self._for_window.pop(stream.id, None)
        while queue:
            data = queue[0]
            size = min(len(data), self.frame_bytes_max, stream.window, self.window)
            if size <= 0:
                if stream.window > 0:
                    self._for_window[stream.id] = stream
                return False
            stream.window -= size
            self.window -= size
            self.queued -= size
            self._frames.append(frames.header(size, 0x0, 0, stream.id))
            self._frames.append(data[:size])
            if size == len(data):
                queue.popleft()
            else:
                queue[0] = data[size:]
        return True

    def widen(self, stream: Stream, increment: int) -> bool:
        """Whether that overflows the stream's window; it may become negative, too."""
        stream.window += increment
        return stream.window > frames.WINDOW_MAX

    def widen_all(self, increment: int) -> list[Stream]:
        """The streams that have been sent whole by it. Raises `Http2ConnectionError`."""
        self.window += increment
        if self.window > frames.WINDOW_MAX:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, _OVERFLOW)
        sent = []
        while self._for_window and self.window > 0:
            stream = self._for_window.pop(next(iter(self._for_window)))
            if self.send_queued(stream):
                sent.append(stream)
        return sent

    def forget(self, stream: Stream) -> None:
        """What waits on it is not sent."""
        if stream.queue:
            self.queued -= sum(map(len, stream.queue))
            stream.queue = None
            self._for_window.pop(stream.id, None)

    def clear(self) -> None:
        self._for_window.clear()
        self.queued = 0
