"""AWS event streams (application/vnd.amazon.eventstream), byte by byte.

A message is a prelude (its length, its headers' length, a checksum of the two), headers, a payload
and a checksum of all before it; numbers are big-endian. Whatever the cuts between chunks. Bounded:
one message may hold `MESSAGE_BYTES_MAX`, and its length is believed only with the right checksum.

https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one message, headers included; the format itself would allow more."""

_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = struct.Struct(">I")
_SHORT: Final = struct.Struct(">H")
_FRAME_BYTES: Final = _PRELUDE.size + _CHECKSUM.size
_FIXED_BYTES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""How long a header's value is, by its type: true, false, integers, a time, a UUID."""
_BYTES: Final = 6
_STRING: Final = 7


class FramingError(ValueError):
    """What came is no event stream: a wrong checksum, a wrong length, or more than is allowed."""


class Message(NamedTuple):
    """`headers` are those whose value is text."""

    headers: Mapping[str, str]
    payload: bytes


class EventStreamParser:
    """Feed it chunks; it gives the messages that are whole."""

    __slots__ = ("_broken", "_held")

    def __init__(self) -> None:
        self._held = bytearray()
        self._broken: FramingError | None = None

    def feed(self, chunk: bytes) -> list[Message]:
        """Raises `FramingError`, but first gives what came whole before the fault."""
        found: list[Message] = []
        if not self._broken:
            self._held += chunk
            start = 0
            try:
                while (end := self._end(start)) is not None:
                    found.append(_message(bytes(self._held[start:end])))
                    start = end
            except FramingError as error:
                self._broken = error
            del self._held[:start]
        if self._broken and not found:
            raise self._broken
        return found

    @property
    def broken(self) -> bool:
        """What is fed from now on is not read."""
        return self._broken is not None

    def _end(self, start: int) -> int | None:
        """Where the message at `start` ends, None where not all of it is here."""
        if len(self._held) - start < _PRELUDE.size:
            return None
        length, headers_length, checksum = _PRELUDE.unpack_from(self._held, start)
        if zlib.crc32(self._held[start : start + 8]) != checksum:
            raise FramingError("a prelude's checksum is wrong")
        if length > MESSAGE_BYTES_MAX:
            raise FramingError(f"a message is longer than {MESSAGE_BYTES_MAX} bytes")
        if length < _FRAME_BYTES + headers_length:
            raise FramingError("a message is shorter than its headers")
        end: int = start + length
        return end if end <= len(self._held) else None


def _message(frame: bytes) -> Message:
    _, headers_length, _ = _PRELUDE.unpack_from(frame)
    content_end = len(frame) - _CHECKSUM.size
    if _CHECKSUM.unpack_from(frame, content_end) != (zlib.crc32(frame[:content_end]),):
        raise FramingError("a message's checksum is wrong")
    payload_start = _PRELUDE.size + headers_length
    headers = _headers(frame[_PRELUDE.size : payload_start])
    return Message(headers, frame[payload_start:content_end])


def _headers(written: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(written):
            name_end = at + 1 + written[at]
            name = written[at + 1 : name_end]
            kind = written[name_end]
            at = name_end + 1
            if kind in (_BYTES, _STRING):
                (length,) = _SHORT.unpack_from(written, at)
                at += _SHORT.size
            else:
                length = _FIXED_BYTES[kind]
            if kind == _STRING:
                found[name.decode()] = written[at : at + length].decode()
            at += length
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise FramingError("a message's headers can't be read") from None
    if at != len(written):
        raise FramingError("a message's headers can't be read")
    return found
