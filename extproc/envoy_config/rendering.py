"""Envoy's messages as JSON values, in which they are compared, joined and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from betterproto2 import Casing

if TYPE_CHECKING:
    from betterproto2 import Message

Json = dict[str, Any]


def as_json(message: Message) -> Json:
    """Envoy reads both spellings; snake case is that of its documentation."""
    return message.to_dict(casing=Casing.SNAKE)


def to_json(value: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
