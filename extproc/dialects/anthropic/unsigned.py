"""A request on its way to Anthropic itself, less the thinking that it would refuse.

Answers of other providers reach the client as messages whose thinking nobody signed, and clients
send them back as history. All else stays as it was written, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.anthropic.blocks import Block
from extproc.dialects.anthropic.payload import is_unsigned
from extproc.dialects.anthropic.reasoning import thinking_field
from extproc.dialects.members import Member
from extproc.dialects.reading import FieldError, field, fields_of


class _Typed(Struct):
    type: str = ""


_messages = msgspec.json.Decoder(list[dict[str, Raw]])
_raw_blocks = msgspec.json.Decoder(list[Raw])
_block = msgspec.json.Decoder(Block)
_typed = msgspec.json.Decoder(_Typed)

_DISABLED: Final = b'{"type":"disabled"}'
_THOUGHTS: Final = {"thinking", "redacted_thinking"}


def without_unsigned(rest: bytes) -> bytes:
    """`rest` of a payload without its unsigned thinking; as it is, if it can't be read.

    An assistant's message that held nothing else is left out. A budget to think with is turned off
    where the calls that are to be gone on from then stand without the thinking before them, which
    Anthropic refuses.
    """
    body = b"{" + rest
    try:
        fields = fields_of(body)
        messages = field(fields, "messages", _messages) or []
        kept = [message for message in map(_signed, messages) if message is not None]
        if not kept:
            return rest
        replaced = {"messages": msgspec.json.encode(kept)}
        if _has_budget(fields) and _acts_unthinking(kept):
            replaced["thinking"] = _DISABLED
    except (FieldError, msgspec.DecodeError, RecursionError):
        return rest
    for name, value in sorted(replaced.items(), key=lambda item: -fields[item[0]].end):
        end = fields[name].end
        body = body[: end - len(fields[name].raw)] + value + body[end:]
    return body[1:]


def _signed(message: Mapping[str, Raw]) -> Mapping[str, Raw] | None:
    content = message.get("content", Raw())
    if not bytes(content).startswith(b"[") or b'"thinking"' not in bytes(content):
        return message
    blocks = _raw_blocks.decode(content)
    kept = [raw for raw in blocks if not is_unsigned(_block.decode(raw))]
    if not kept and blocks:
        return None
    return {**message, "content": Raw(msgspec.json.encode(kept))}


def _has_budget(fields: Mapping[str, Member]) -> bool:
    thinking = field(fields, "thinking", thinking_field)
    return thinking is not None and thinking.type == "enabled"


def _acts_unthinking(messages: Sequence[Mapping[str, Raw]]) -> bool:
    """Whether the last assistant's message calls tools without having begun with its thinking."""
    for message in reversed(messages):
        if bytes(message.get("role", Raw())) == b'"assistant"':
            content = message.get("content", Raw())
            if not bytes(content).startswith(b"["):
                return False
            types = [_typed.decode(raw).type for raw in _raw_blocks.decode(content)]
            return "tool_use" in types and types[0] not in _THOUGHTS
    return False
