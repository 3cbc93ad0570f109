"""What a request asks, in no dialect: as much of it as an answer depends on."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any] | bool
MediaKind = Literal["image", "document", "recording"]

URL_CHARS_MAX = 200
"""As much of an address as an answer repeats."""


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    parameters: Schema | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """Something other than text that came along; `what` is its type and size, or its address."""

    kind: MediaKind
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that can be answered.

    `told` is what the tools said, if that is where the conversation stands. `functions` are those
    that may be called, so only the one that is named, and none if none is to be called.
    `is_silent` wants nothing said: an embedding, a count of tokens.
    """

    model: str
    prompt_bytes: int
    stream: bool = False
    last_text: str = ""
    told: str | None = None
    media: tuple[Media, ...] = ()
    functions: tuple[Function, ...] = ()
    several_calls: bool = True
    wants_json: bool = False
    schema: Schema | None = None
    tokens_max: int | None = None
    thinks: bool = False
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request before it is read. `model` is the path's, percent-decoded; empty if it has none."""

    provider: str
    model: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


def inline(kind: MediaKind, media_type: str, base64: str) -> Media:
    """Raises `ValueError` if it is not base64, or empty."""
    data = binascii.a2b_base64(base64, strict_mode=True)
    if not data:
        raise ValueError
    return Media(kind, f"{media_type}, {len(data)} bytes")


def linked(kind: MediaKind, url: str) -> Media:
    return Media(kind, url[:URL_CHARS_MAX])


def data_url(kind: MediaKind, url: str) -> Media:
    """Raises `ValueError` for a `data:` URL that is not `data:TYPE;base64,…`."""
    head, comma, data = url.partition(",")
    media_type, base64, _ = head.removeprefix("data:").partition(";base64")
    if not (comma and base64 and media_type):
        raise ValueError
    return inline(kind, media_type, data)
