"""OpenAI responses: what routing reads of a request.

Only what routing needs is decoded; every other field stays bytes. Fields are those of the API
reference of POST /v1/responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from extproc.dialects.conversation import Demand
from extproc.dialects.members import Member, without
from extproc.dialects.openai_responses.items import (
    Found,
    Item,
    is_foreign_thinking,
    kind_of,
    look_at,
    texts_of,
)
from extproc.dialects.openai_responses.repetition import reject_repeated_types
from extproc.dialects.payload import Payload
from extproc.dialects.reading import (
    decoded,
    field,
    fields_of,
    fields_within,
    malformed,
    metadata_texts,
    output_limit,
    read_payload,
    reject,
    requested_model,
)
from extproc.dialects.repetition import reject_repeated_names
from extproc.feature import Feature
from extproc.text.tokens import measure_all
from extproc.vocabulary import Refusal

_STRUCTURED_FORMATS: Final = {"json_schema", "json_object"}
_FORMATS: Final = {"text", *_STRUCTURED_FORMATS}
_STORED: Final = ("previous_response_id", "conversation", "prompt")
_FUNCTION_CHOICES: Final = {"function", "allowed_tools"}
_LOGPROBS: Final = "message.output_text.logprobs"

_items = msgspec.json.Decoder(str | list[Item] | None)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_tools = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_text = msgspec.json.Decoder(str | None)
_flag = msgspec.json.Decoder(bool | None)
_count = msgspec.json.Decoder(int | None)
_strings = msgspec.json.Decoder(list[str] | None)

EMPTY_BODY: Final = malformed("The request body is empty; send a JSON object with `input`.")


def read(body: bytes) -> Payload | Refusal:
    """The payload in `body`, or why it can't be one (a 400)."""
    return read_payload(body, EMPTY_BODY, _payload)


def without_foreign_thinking(rest: bytes) -> bytes:
    """`rest` of a payload without the thinking of others in its `input`.

    OpenAI takes a reasoning item without encrypted content for one that it has stored, and answers
    that there is none of this id.
    """
    body = b"{" + rest
    fields = fields_of(body)
    items = field(fields, "input", _items)
    if not isinstance(items, list):
        return rest
    raws = _raws.decode(fields["input"].raw)
    kept = [raw for raw, item in zip(raws, items, strict=True) if not is_foreign_thinking(item)]
    head, tail = body[: fields["input"].end - len(fields["input"].raw)], body[fields["input"].end :]
    return (head + msgspec.json.encode(kept) + tail)[1:]


def _payload(body: bytes, fields: Mapping[str, Member]) -> Payload:
    stored = any(_is_given(fields, name) for name in _STORED)
    said = field(fields, "input", _items)
    if said is None and not stored:
        reject("input", "is required")
    if said == [] and not stored:
        reject("input", "needs at least one item")
    instructions = field(fields, "instructions", _items)
    told = _found(fields, "instructions", instructions)
    found = _found(fields, "input", said)
    tools = _tool_types(fields)
    effort = _inner(fields, "reasoning", "effort")
    format_raw, format_type = _format(fields)
    schemas = [fields["tools"].raw] if tools else []
    schemas += [format_raw] if format_raw else []
    parts = Counter(found.features + told.features)
    return Payload(
        requested_model=requested_model(fields),
        streaming=field(fields, "stream", _flag) or False,
        features=_features(parts, tools, format_type, effort),
        text=measure_all([text.encode() for text in told.texts + found.texts]),
        schemas=measure_all(schemas),
        messages=_messages(instructions) + _messages(said),
        parts=parts,
        output_tokens_max=output_limit(fields, "max_output_tokens"),
        reasoning_effort=effort,
        metadata=metadata_texts(fields),
        last_turn=_last_turn(said),
        rest=without(body, fields.get("model")),
        demands=frozenset(
            found.demands
            | told.demands
            | _demands_of_tools(fields, tools)
            | _demands_of_fields(fields, format_type)
            | ({Demand.STORED_STATE} if stored else set())
        ),
        unsigned_thinking=found.foreign_thinking,
    )


def _found(fields: Mapping[str, Member], name: str, items: str | Sequence[Item] | None) -> Found:
    if items is None:
        return Found()
    if isinstance(items, str):
        return Found(texts=[items])
    raw = fields[name].raw
    found = look_at(items, raw, name)
    reject_repeated_names(name, raw, roles=found.roles, contents=found.held, types=found.typed)
    return found


def _messages(items: str | Sequence[Item] | None) -> int:
    return 1 if isinstance(items, str) else len(items or ())


def _last_turn(said: str | Sequence[Item] | None) -> str:
    """What the user said last: where the classifier finds the task."""
    if isinstance(said, str):
        return said
    for item in reversed(said or ()):
        if item.role == "user" and kind_of(item, "input") == "message":
            return "\n".join(texts_of(item.content))
    return ""


def _features(
    parts: Mapping[Feature, int], tools: Sequence[str], format_type: str, effort: str | None
) -> frozenset[Feature]:
    needed = set(parts)
    if tools:
        needed.add(Feature.TOOLS)
    if format_type in _STRUCTURED_FORMATS:
        needed.add(Feature.STRUCTURED_OUTPUT)
    if (effort or "none") != "none":
        needed.add(Feature.REASONING)
    return frozenset(needed)


def _tool_types(fields: Mapping[str, Member]) -> list[str]:
    """The type of each tool."""
    tools = field(fields, "tools", _tools) or []
    if not tools:
        return []
    reject_repeated_types(fields["tools"].raw, tools, "tools")
    if not all("type" in tool for tool in tools):
        reject("tools", "holds a tool without a `type`")
    return [decoded(tool["type"], _text, "tools") or "" for tool in tools]


def _demands_of_tools(fields: Mapping[str, Member], tools: Sequence[str]) -> set[Demand]:
    types = set(tools) - {"function"}
    choice = fields.get("tool_choice")
    if choice and choice.raw.startswith(b"{"):
        chosen = _inner(fields, "tool_choice", "type") or ""
        types |= {chosen} - _FUNCTION_CHOICES
    custom = {Demand.CUSTOM_TOOLS} if "custom" in types else set()
    return custom | ({Demand.HOSTED_TOOLS} if types - {"custom"} else set())


def _demands_of_fields(fields: Mapping[str, Member], format_type: str) -> set[Demand]:
    demands = set()
    if field(fields, "background", _flag):
        demands.add(Demand.BACKGROUND)
    if field(fields, "top_logprobs", _count) or _LOGPROBS in (
        field(fields, "include", _strings) or ()
    ):
        demands.add(Demand.LOGPROBS)
    if format_type not in _FORMATS:
        demands.add(Demand.UNKNOWN_PARTS)
    return demands


def _format(fields: Mapping[str, Member]) -> tuple[bytes, str]:
    """`text.format` and its type."""
    if not _is_given(fields, "text"):
        return b"", "text"
    raw = fields_within(fields["text"].raw, "text").get("format")
    if raw is None or raw.raw == b"null":
        return b"", "text"
    inner = fields_within(raw.raw, "text").get("type")
    return raw.raw, (decoded(inner.raw, _text, "text") if inner else None) or "text"


def _inner(fields: Mapping[str, Member], name: str, inner: str) -> str | None:
    """The text `inner` of the object `name`."""
    if not _is_given(fields, name):
        return None
    member = fields_within(fields[name].raw, name).get(inner)
    return decoded(member.raw, _text, name) if member else None


def _is_given(fields: Mapping[str, Member], name: str) -> bool:
    return name in fields and fields[name].raw != b"null"
