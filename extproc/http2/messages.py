"""gRPC's framing of messages: each has a prefix of five bytes, and DATA frames end anywhere.

The protocol is grpc/grpc's doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from extproc.http2.statuses import Status

PREFIX_BYTES: Final = 5

_read_prefix: Final = Struct(">BL").unpack_from
_write_prefix: Final = Struct(">BL").pack


class MessageError(Exception):
    """Ends the call with `status`."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class MessageReader:
    """The messages of one call. One that is too large is not waited for.

    `held` are the bytes of the one that has begun and not ended.
    """

    __slots__ = ("_bytes_max", "_partial", "held")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._partial: bytearray | None = None
        self.held = 0

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises `MessageError`."""
        if self._partial is None:
            size = len(data) - PREFIX_BYTES
            if size >= 0 and self._size(data) == size:
                return [data[PREFIX_BYTES:]]  # by far the most
            self._partial = bytearray()
        self._partial += data
        return self._whole(self._partial)

    def _whole(self, partial: bytearray) -> list[bytes]:
        messages = []
        start = 0
        with memoryview(partial) as view:
            while len(partial) - start >= PREFIX_BYTES:
                end = start + PREFIX_BYTES + self._size(view[start : start + PREFIX_BYTES])
                if end > len(partial):
                    break
                messages.append(bytes(view[start + PREFIX_BYTES : end]))
                start = end
        if start == len(partial):
            self._partial = None
        elif start:
            del partial[:start]
        self.held = len(partial) if self._partial else 0
        return messages

    def _size(self, prefix: bytes | memoryview) -> int:
        compressed, size = _read_prefix(prefix)
        if compressed:
            raise MessageError(Status.UNIMPLEMENTED, "messages may not be compressed")
        if size > self._bytes_max:
            raise MessageError(
                Status.RESOURCE_EXHAUSTED, f"a message larger than {self._bytes_max} bytes"
            )
        return int(size)


def prefix(message: bytes) -> bytes:
    return _write_prefix(0, len(message))


def framed(message: bytes) -> bytes:
    return prefix(message) + message
