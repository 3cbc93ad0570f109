"""One open stream: its windows, and what waits to be sent on it."""

from __future__ import annotations

from collections import deque


class Stream:
    """`window` is what may be sent, `receive_left` what may be received until more is granted.

    `heard` and `answered`: whether data came, and whether any went. `trailers`, once set, are the
    last that is sent, after what is in `queue`.
    """

    __slots__ = (
        "answered",
        "body_left",
        "heard",
        "id",
        "queue",
        "receive_left",
        "remote_closed",
        "trailers",
        "window",
    )

    def __init__(
        self, stream_id: int, window: int, receive_left: int, body_left: int | None
    ) -> None:
        self.id = stream_id
        self.window = window
        self.receive_left = receive_left
        self.body_left = body_left
        self.remote_closed = False
        self.heard = False
        self.answered = False
        self.queue: deque[memoryview] | None = None
        self.trailers: bytes | None = None
