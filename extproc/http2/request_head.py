"""The header fields of a request, once they are known to be well-formed (RFC 9113, 8.2 and 8.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from extproc.http2.errors import ErrorCode, Http2StreamError

Fields = tuple[tuple[bytes, bytes], ...]

_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_WRONG_VALUE: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_CONNECT: Final = b"CONNECT"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """`path` is empty for CONNECT only; `fields` are the others, in their order."""

    method: bytes
    path: bytes
    fields: Fields
    content_length: int | None

    def value(self, name: bytes) -> bytes:
        """The first value of that name; empty if absent."""
        return next((value for field, value in self.fields if field == name), b"")


def request_head(fields: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    """Raises `Http2StreamError` for a malformed request."""
    pseudo: dict[bytes, bytes] = {}
    regular: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if not name.startswith(b":"):
            regular.append((name, value))
        elif regular or name in pseudo or name not in _PSEUDO:
            raise _malformed("a pseudo-header field that is unknown, late or there twice")
        else:
            pseudo[name] = value
    _check(regular, pseudo.values())
    method = pseudo.get(b":method", b"")
    needed = (b":authority",) if method == _CONNECT else (b":scheme", b":path")
    if not method or not all(pseudo.get(name) for name in needed):
        raise _malformed("a pseudo-header field is missing")
    path = pseudo.get(b":path", b"")
    if (method == _CONNECT) == bool(path):
        raise _malformed("CONNECT has no path")
    return RequestHead(method, path, tuple(regular), _content_length(regular))


def check_trailers(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises `Http2StreamError` for malformed ones."""
    _check(tuple(fields), ())


def _check(fields: Iterable[tuple[bytes, bytes]], others: Iterable[bytes]) -> None:
    for name, value in fields:
        if not _NAME.fullmatch(name) or name in _OF_CONNECTIONS:
            raise _malformed("a field name that HTTP/2 does not allow")
        if _WRONG_VALUE.search(value):
            raise _malformed("a field value that is none")
        if name == b"te" and value != b"trailers":
            raise _malformed("te says other than trailers")
    if any(_WRONG_VALUE.search(value) for value in others):
        raise _malformed("a field value that is none")


def _content_length(fields: Iterable[tuple[bytes, bytes]]) -> int | None:
    told = {value for name, value in fields if name == b"content-length"}
    if not told:
        return None
    length = told.pop()
    if told or not length.isdigit() or len(length) > 18:
        raise _malformed("content-length is no number")
    return int(length)


def _malformed(why: str) -> Http2StreamError:
    return Http2StreamError(ErrorCode.PROTOCOL_ERROR, why)
