"""OpenAI responses: no role, content or type may stand twice in one object of `input`.

Parsers differ in which of two they take, so what was checked might not be what a provider reads.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from extproc.dialects.members import MalformedError, Member, members
from extproc.dialects.openai_responses.items import Found
from extproc.dialects.reading import reject

_CRITICAL_NAMES: Final = {"role", "content", "type"}

# An ASCII letter needs no escape, so a name written with one means to look like another.
_ESCAPED: Final = b"\\u00"
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")

_raws = msgspec.json.Decoder(list[Raw])


def reject_repeated_names(raw: bytes, found: Found, param: str) -> None:
    """Refuses items in `raw` of which one holds a critical name twice. Raises `FieldError`.

    msgspec keeps the last of two and does not tell. Inside JSON's strings a quote is escaped, so
    counting quoted names finds whether any can stand twice; only then is every name looked at.
    """
    if (
        raw.count(b'"role"') <= found.roles
        and raw.count(b'"content"') <= found.held
        and raw.count(b'"type"') <= found.typed
        and not _has_escaped_letter(raw)
    ):
        return

    def unrepeated(pairs: list[tuple[str, object]]) -> None:
        names = Counter(name for name, _ in pairs if name in _CRITICAL_NAMES)
        for name, times in names.items():
            if times > 1:
                reject(param, f"holds an object with {name!r} more than once")

    try:
        # Numbers as text: Python refuses to convert one of thousands of digits.
        json.loads(raw, object_pairs_hook=unrepeated, parse_int=str)
    except RecursionError:
        reject(param, "is nested too deeply")


def reject_repeated_types(raw: bytes, tools: Sequence[Mapping[str, Raw]], param: str) -> None:
    """Refuses tools, decoded from `raw`, of which one has its type twice. Raises `FieldError`.

    Schemas are full of types, so those inside of what a tool's fields hold are counted off.
    """
    inside = sum(bytes(value).count(b'"type"') for tool in tools for value in tool.values())
    if raw.count(b'"type"') - inside > len(tools) or _has_escaped_letter(raw):
        for tool in _raws.decode(raw):
            fields_within(bytes(tool), param)


def fields_within(raw: bytes, param: str) -> dict[str, Member]:
    """The fields of an object inside of the field `param`, none of which stands twice."""
    try:
        return members(raw)
    except MalformedError as error:
        reject(param, f"is not right: {error}")


def _has_escaped_letter(raw: bytes) -> bool:
    return _ESCAPED in raw and _ESCAPED_LETTER.search(raw) is not None
