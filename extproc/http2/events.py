"""What a read brought: a request begins, goes on, is gone."""

from __future__ import annotations

from typing import NamedTuple

from extproc.http2.errors import ErrorCode
from extproc.http2.request_head import RequestHead


class Opened(NamedTuple):
    """`ended`: no body follows."""

    stream_id: int
    head: RequestHead
    ended: bool


class Data(NamedTuple):
    """A piece of a request's body, cut anywhere; `ended`: it was the last, and it may be empty."""

    stream_id: int
    data: bytes
    ended: bool


class Reset(NamedTuple):
    """The stream is over, by the peer's will or for its fault: nothing more is sent on it."""

    stream_id: int
    code: ErrorCode | int


Event = Opened | Data | Reset
