"""Envoy's messages as JSON values, in which they are compared, joined and written."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from betterproto2 import Casing

if TYPE_CHECKING:
    from betterproto2 import Message

Json = dict[str, Any]


def as_json(message: Message) -> Json:
    """Not to be changed: the next message that says the same gets the same value."""
    return _rendered(type(message), bytes(message))


@lru_cache(maxsize=4096)  # a reload changes little, and 120 ms for a listener are many requests
def _rendered(kind: type[Message], content: bytes) -> Json:
    """Envoy reads both spellings; snake case is that of its documentation."""
    return kind.parse(content).to_dict(casing=Casing.SNAKE)


def to_json(value: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
