"""Anthropic messages: what routing reads of a request.

Only what routing needs is decoded; every other field stays bytes. Fields are those of the API
reference of POST /v1/messages and POST /v1/messages/count_tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.anthropic.blocks import (
    DOCUMENT,
    RESULT,
    Block,
    Seen,
    Source,
    Turn,
    inner_text,
    reject_repeated_in_messages,
    reject_repeated_in_system,
    seen_in,
    system_text,
    turns,
)
from extproc.dialects.anthropic.reasoning import (
    effort_of,
    output_config_field,
    reasoning_of,
    thinking_field,
)
from extproc.dialects.conversation import Demand
from extproc.dialects.members import Member, without
from extproc.dialects.payload import Payload
from extproc.dialects.reading import (
    OUTPUT_TOKENS_MAX,
    field,
    fields_within,
    malformed,
    metadata_texts,
    read_payload,
    reject,
    reject_repeated_fields,
    requested_model,
)
from extproc.feature import Feature
from extproc.text.tokens import measure_all
from extproc.vocabulary import Refusal


class _Tool(Struct):
    type: str | None = None


class _Format(Struct):
    type: str = ""


_PART_FEATURES: Final = {"image": Feature.VISION, "document": Feature.DOCUMENTS}
_SCHEMAS: Final = ("tools", "tool_choice", "output_config", "output_format")
_SOURCES: Final = {
    "image": {"base64", "url", "file"},
    "document": {"base64", "text", "content", "url", "file"},
}
_KNOWN: Final = {
    "": {"text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"},
    RESULT: {"text", "image", "document"},
    DOCUMENT: {"text", "image"},
}
_LINKS: Final = {"image": Demand.LINKED_IMAGES, "document": Demand.LINKED_DOCUMENTS}

_flag = msgspec.json.Decoder(bool | None)
_count = msgspec.json.Decoder(int | None)
_raw_tools = msgspec.json.Decoder(list[msgspec.Raw] | None)
_tool = msgspec.json.Decoder(_Tool)
_format = msgspec.json.Decoder(_Format | None)
_any = msgspec.json.Decoder(msgspec.Raw)

EMPTY_BODY: Final = malformed("The request body is empty; send a JSON object with `messages`.")


def read(body: bytes) -> Payload | Refusal:
    """The payload in `body`, or why it can't be one (a 400)."""
    return read_payload(body, EMPTY_BODY, partial(_payload, counting=False))


def read_count(body: bytes) -> Payload | Refusal:
    """The same of a request to count tokens, which has no `max_tokens`."""
    return read_payload(body, EMPTY_BODY, partial(_payload, counting=True))


def _payload(body: bytes, fields: Mapping[str, Member], *, counting: bool) -> Payload:
    limit = None if counting else _output_limit(fields)
    messages, seen = _messages(fields)
    system = _system(fields)
    tools = _tools(fields)
    effort = _effort(fields)
    parts = _parts(seen)
    texts = [*_system_texts(system), *_texts(messages, seen)]
    return Payload(
        requested_model=requested_model(fields),
        streaming=field(fields, "stream", _flag) or False,
        features=_features(fields, parts, effort, tools),
        text=measure_all([text.encode("utf-8", "replace") for text in texts]),
        schemas=measure_all([fields[name].raw for name in _SCHEMAS if name in fields]),
        messages=len(messages),
        parts=parts,
        output_tokens_max=limit,
        reasoning_effort=effort,
        metadata=metadata_texts(fields),
        last_turn=_last_turn(messages),
        rest=without(body, fields.get("model")),
        demands=_demands(fields, seen, tools) | ({Demand.COUNT} if counting else set()),
        unsigned_thinking=any(is_unsigned(block) for block, _, _ in seen),
    )


def is_unsigned(block: Block) -> bool:
    """Whether it is thinking that Anthropic didn't sign, as in answers that were translated."""
    return block.type == "thinking" and not block.signature


def _output_limit(fields: Mapping[str, Member]) -> int:
    limit: int | None = field(fields, "max_tokens", _count)
    if limit is None:
        reject("max_tokens", "is required")
    if limit < 0:
        reject("max_tokens", "is below 0")
    # None at all only fills the prompt cache; that is Anthropic's own, elsewhere it is one.
    return min(max(limit, 1), OUTPUT_TOKENS_MAX)


def _messages(fields: Mapping[str, Member]) -> tuple[Sequence[Turn], Sequence[Seen]]:
    if "messages" not in fields:
        reject("messages", "is required")
    messages = field(fields, "messages", turns)
    if not messages:
        reject("messages", "needs at least one message")
    seen = seen_in(messages)
    reject_repeated_in_messages(fields["messages"].raw, messages, seen)
    return messages, seen


def _system(fields: Mapping[str, Member]) -> str | Sequence[Block] | None:
    system = field(fields, "system", system_text)
    if system:
        reject_repeated_in_system(fields["system"].raw, system)
    return system


def _tools(fields: Mapping[str, Member]) -> Sequence[_Tool]:
    found = []
    for raw in field(fields, "tools", _raw_tools) or ():
        fields_within(bytes(raw), "tools")  # a second `type` would hide a tool of the provider's
        try:
            found.append(_tool.decode(raw))
        except msgspec.DecodeError as error:
            reject("tools", "is not right: " + str(error).replace("`$", "`tools[]"))
    return found


def _effort(fields: Mapping[str, Member]) -> str | None:
    thinking = field(fields, "thinking", thinking_field)
    config = field(fields, "output_config", output_config_field)
    for name in ("thinking", "output_config", "output_format"):
        reject_repeated_fields(fields, name)
    reasoning = reasoning_of(thinking, config)
    return effort_of(reasoning) if reasoning else None


def _parts(seen: Iterable[Seen]) -> Mapping[Feature, int]:
    found = [_PART_FEATURES[block.type] for block, _, _ in seen if block.type in _PART_FEATURES]
    return Counter(found) if found else {}


def _features(
    fields: Mapping[str, Member],
    parts: Mapping[Feature, int],
    effort: str | None,
    tools: Sequence[_Tool],
) -> frozenset[Feature]:
    needed = set(parts)
    if tools:
        needed.add(Feature.TOOLS)
    if _wants_schema(fields):
        needed.add(Feature.STRUCTURED_OUTPUT)
    if (effort or "none") != "none":
        needed.add(Feature.REASONING)
    return frozenset(needed)


def _wants_schema(fields: Mapping[str, Member]) -> bool:
    written = field(fields, "output_format", _format)
    config = field(fields, "output_config", output_config_field)
    if written is None and config and bytes(config.format):
        try:
            written = _format.decode(config.format)
        except msgspec.DecodeError as error:
            reject("output_config", "is not right: " + str(error))
    return written is not None and written.type == "json_schema"


def _demands(
    fields: Mapping[str, Member], seen: Iterable[Seen], tools: Iterable[_Tool]
) -> frozenset[Demand]:
    found = {demand for each in seen for demand in _block_demands(*each)}
    hosted = any((tool.type or "custom") != "custom" for tool in tools)
    for name in ("mcp_servers", "container"):
        value = field(fields, name, _any)
        hosted |= value is not None and bytes(value) not in {b"null", b"[]"}
    return frozenset(found | {Demand.HOSTED_TOOLS} if hosted else found)


def _block_demands(block: Block, source: Source | None, inside: str) -> Iterable[Demand]:
    if block.type not in _KNOWN[inside]:
        yield Demand.UNKNOWN_PARTS
    elif block.type in _SOURCES:
        kind = source.type if source else ""
        if kind not in _SOURCES[block.type]:
            yield Demand.UNKNOWN_PARTS
        elif kind == "url":
            yield _LINKS[block.type]
        elif kind == "file":
            yield Demand.STORED_FILES
        if block.type == "image" and inside == RESULT:
            yield Demand.IMAGES_IN_RESULTS
    elif block.type == "redacted_thinking" or (block.type == "thinking" and block.signature):
        yield Demand.BOUND_THINKING


def _system_texts(system: str | Sequence[Block] | None) -> Iterable[str]:
    if isinstance(system, str):
        return [system]
    return [block.text for block in system or () if block.text]


def _texts(messages: Iterable[Turn], seen: Iterable[Seen]) -> Iterable[str]:
    yield from (turn.content for turn in messages if isinstance(turn.content, str))
    for block, source, _ in seen:
        yield from filter(None, (block.text, block.thinking))
        if block.type == "tool_use":
            yield from (block.name or "", bytes(block.input).decode())
        elif block.type == RESULT:
            yield inner_text(block.content)
        if source and source.type in {"text", "content"}:
            yield from (inner_text(source.data), inner_text(source.content))


def _last_turn(messages: Sequence[Turn]) -> str:
    """What the user said last, results of tools aside: where the classifier finds the task."""
    for turn in reversed(messages):
        if turn.role != "user":
            continue
        if isinstance(turn.content, str):
            return turn.content
        said = [block for block in turn.content if block.type != RESULT]
        if said:
            return "\n".join([block.text for block in said if block.text])
    return ""
