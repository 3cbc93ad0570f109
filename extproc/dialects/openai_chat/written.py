"""JSON values that stay as they were written until somebody needs them."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec import Raw

_T = TypeVar("_T")

NULL: Final = Raw(b"null")


def starts(written: Raw, head: bytes) -> bool:
    """Copies nothing: a picture may be megabytes."""
    return memoryview(written)[: len(head)] == head


def is_null(written: Raw) -> bool:
    return starts(written, b"null")


def lenient(decoder: msgspec.json.Decoder[_T], written: Raw | bytes | None) -> _T | None:
    """What it holds; None where it is nothing of the kind."""
    if written is None:
        return None
    try:
        return decoder.decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
