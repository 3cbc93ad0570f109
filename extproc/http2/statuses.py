"""How gRPC says in HTTP/2 that a call is answered, and how it ended.

The protocol is grpc/grpc's doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

from extproc.http2.blocks import header_block

MESSAGE_CHARS_MAX: Final = 1024
"""Of what a status says beside its number."""


class Status(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


_BEGINNING: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))

ANSWERED: Final = header_block(_BEGINNING)
"""The headers before the first message."""


@lru_cache(maxsize=64)
def trailers(status: Status, message: str = "") -> bytes:
    """The headers after the last message."""
    return header_block(_ending(status, message))


@lru_cache(maxsize=64)
def trailers_only(status: Status, message: str = "") -> bytes:
    """All headers of a call that ends without a message."""
    return header_block((*_BEGINNING, *_ending(status, message)))


@lru_cache(maxsize=8)
def no_call(http_status: int) -> bytes:
    """The answer to a request that is not one of gRPC."""
    return header_block([(b":status", str(http_status).encode())])


def _ending(status: Status, message: str) -> tuple[tuple[bytes, bytes], ...]:
    told = (b"grpc-status", str(int(status)).encode())
    if not message:
        return (told,)
    return (told, (b"grpc-message", _percent_encoded(message[:MESSAGE_CHARS_MAX])))


def _percent_encoded(message: str) -> bytes:
    return b"".join(
        bytes([byte]) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in message.encode("utf-8", "replace")
    )
