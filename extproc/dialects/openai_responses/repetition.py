"""OpenAI responses: no type may stand twice in one of the tools.

Parsers differ in which of two they take, so what was checked might not be what a provider reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from extproc.dialects.reading import fields_within
from extproc.dialects.repetition import has_escaped_letter

_raws = msgspec.json.Decoder(list[Raw])


def reject_repeated_types(raw: bytes, tools: Sequence[Mapping[str, Raw]], param: str) -> None:
    """Refuses tools, decoded from `raw`, of which one has its type twice. Raises `FieldError`.

    Schemas are full of types, so those inside of what a tool's fields hold are counted off.
    """
    inside = sum(bytes(value).count(b'"type"') for tool in tools for value in tool.values())
    if raw.count(b'"type"') - inside > len(tools) or has_escaped_letter(raw):
        for tool in _raws.decode(raw):
            fields_within(bytes(tool), param)
