"""What a decision is made from: one request, as read from the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from extproc.dialects.payload import Payload
from extproc.vocabulary import Surface


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` are lower case, a repeated header joined by commas; `path` has no query."""

    path: str
    headers: Mapping[str, str]
    payload: Payload
    surface: Surface = Surface.CHAT
