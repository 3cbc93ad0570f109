"""Server-sent events, byte by byte, as the HTML standard has them (section 9.2.6).

Whatever the cuts between chunks, whatever ends the lines (LF, CR LF, CR), with or without a space
after the colon, with comments and pings between. Bounded: one event may hold `EVENT_BYTES_MAX`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

EVENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one event: providers send all of a call's arguments, or an image, in one."""

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class TooLongError(ValueError):
    """An event goes on for more than `EVENT_BYTES_MAX` bytes."""


class ServerSentEvent(NamedTuple):
    """`name` is empty where the stream gives none."""

    name: str
    data: bytes


class SseParser:
    """Feed it chunks; it gives the events that are whole."""

    __slots__ = ("_after_cr", "_begun", "_data", "_line", "_name")

    def __init__(self) -> None:
        self._line = bytearray()  # of a line, what came in earlier chunks
        self._begun = False
        self._after_cr = False
        self._name = ""
        self._data = bytearray()  # each line of it, with a line feed

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Raises `TooLongError`."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a CR LF
        self._after_cr = chunk.endswith(b"\r")
        found: list[ServerSentEvent] = []
        start = 0
        for end in _LINE_END.finditer(chunk):
            self._line += chunk[start : end.start()]
            start = end.end()
            event = self._line_ended()
            if event:
                found.append(event)
        self._line += chunk[start:]
        self._check_length()
        return found

    def _check_length(self) -> None:
        if len(self._data) + len(self._line) > EVENT_BYTES_MAX:
            raise TooLongError

    def _line_ended(self) -> ServerSentEvent | None:
        self._check_length()  # here too, so that it does not matter where a chunk is cut
        line = bytes(self._line)
        self._line.clear()
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatched()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._name = value.decode(errors="replace")
        return None

    def _dispatched(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._name, bytes(self._data[:-1])) if self._data else None
        self._name = ""
        self._data.clear()
        return event
