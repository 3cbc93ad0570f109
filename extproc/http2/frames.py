"""Frames as bytes (RFC 9113, 4.1 and 6)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from extproc.http2.errors import ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9

FRAME_BYTES_MAX: Final = 16_384
"""The largest payload we take, and the largest we may send until told otherwise: the default."""

FRAME_BYTES_CEILING: Final = 2**24 - 1
WINDOW_MAX: Final = 2**31 - 1
STREAM_ID_MAX: Final = 2**31 - 1
DEFAULT_WINDOW_BYTES: Final = 65_535

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20


class Kind(IntEnum):
    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


read_header: Final = Struct(">BHBBL").unpack_from
"""Length in two parts, kind, flags, stream; the first bit of the last is reserved."""

_write_header: Final = Struct(">BHBBL").pack
_write_setting: Final = Struct(">HL").pack
_write_long: Final = Struct(">L").pack
_write_goaway: Final = Struct(">LL").pack
read_setting: Final = Struct(">HL").iter_unpack
read_long: Final = Struct(">L").unpack_from


def header(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    return _write_header(size >> 16, size & 0xFFFF, kind, flags, stream_id)


def headers(block: bytes, flags: int, stream_id: int) -> bytes:
    """`block` must fit into one frame."""
    return header(len(block), 0x1, END_HEADERS | flags, stream_id) + block


def reset(stream_id: int, code: int) -> bytes:
    return header(4, 0x3, 0, stream_id) + _write_long(code)


def settings(values: dict[Setting, int]) -> bytes:
    payload = b"".join(_write_setting(name, value) for name, value in values.items())
    return header(len(payload), 0x4, 0, 0) + payload


SETTINGS_ACK: Final = header(0, 0x4, ACK, 0)


def ping(payload: bytes, flags: int) -> bytes:
    return header(8, 0x6, flags, 0) + payload


def goaway(last_stream_id: int, code: ErrorCode) -> bytes:
    return header(8, 0x7, 0, 0) + _write_goaway(last_stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    return header(4, 0x8, 0, stream_id) + _write_long(increment)
