"""OpenAI chat completions: what routing reads of a request.

Only what routing needs is decoded; every other field stays bytes. Fields are those of the API
reference of POST /v1/chat/completions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.members import Member, without
from extproc.dialects.openai_chat.demands import Message, Part, demands_of
from extproc.dialects.payload import Payload
from extproc.dialects.reading import (
    field,
    malformed,
    metadata_texts,
    output_limit,
    read_payload,
    reject,
    reject_repeated_fields,
    requested_model,
)
from extproc.dialects.repetition import reject_repeated_names
from extproc.feature import Feature
from extproc.text.tokens import measure_all
from extproc.vocabulary import Refusal


class _ResponseFormat(Struct):
    type: str = "text"


_PART_FEATURES: Final = {
    "image_url": Feature.VISION,
    "input_audio": Feature.AUDIO,
    "file": Feature.DOCUMENTS,
}
_STRUCTURED_FORMATS: Final = {"json_schema", "json_object"}
_SCHEMAS: Final = ("tools", "functions", "response_format")

_messages = msgspec.json.Decoder(list[Message])
_tools = msgspec.json.Decoder(list[msgspec.Raw] | None)
_text = msgspec.json.Decoder(str | None)
_flag = msgspec.json.Decoder(bool | None)
_strings = msgspec.json.Decoder(list[str] | None)
_format = msgspec.json.Decoder(_ResponseFormat | None)


EMPTY_BODY: Final = malformed("The request body is empty; send a JSON object with `messages`.")


def read(body: bytes) -> Payload | Refusal:
    """The payload in `body`, or why it can't be one (a 400)."""
    return read_payload(body, EMPTY_BODY, _payload)


def _payload(body: bytes, fields: Mapping[str, Member]) -> Payload:
    if "messages" not in fields:
        reject("messages", "is required")
    messages = field(fields, "messages", _messages) or []
    if not messages:
        reject("messages", "needs at least one message")
    _reject_repeated_names(fields["messages"].raw, messages)
    listed = [
        part
        for message in messages
        if isinstance(message.content, list)
        for part in message.content
    ]
    parts = _parts(listed)
    effort = field(fields, "reasoning_effort", _text)
    return Payload(
        requested_model=requested_model(fields),
        streaming=field(fields, "stream", _flag) or False,
        features=_features(fields, parts, effort),
        text=measure_all([text.encode("utf-8", "replace") for text in _texts(messages)]),
        schemas=measure_all([fields[name].raw for name in _SCHEMAS if name in fields]),
        messages=len(messages),
        parts=parts,
        output_tokens_max=output_limit(fields, "max_completion_tokens", "max_tokens"),
        reasoning_effort=effort,
        metadata=metadata_texts(fields),
        last_turn=_last_turn(messages),
        rest=without(body, fields.get("model")),
        demands=demands_of(fields, messages, listed),
    )


def _parts(listed: Iterable[Part]) -> Mapping[Feature, int]:
    """How many parts need each feature."""
    found = [_PART_FEATURES[part.type] for part in listed if part.type in _PART_FEATURES]
    return Counter(found) if found else {}


def _features(
    fields: Mapping[str, Member], parts: Mapping[Feature, int], effort: str | None
) -> frozenset[Feature]:
    needed = set(parts)
    if field(fields, "tools", _tools) or field(fields, "functions", _tools):
        needed.add(Feature.TOOLS)
    response_format = field(fields, "response_format", _format)
    reject_repeated_fields(fields, "response_format")
    if response_format and response_format.type in _STRUCTURED_FORMATS:
        needed.add(Feature.STRUCTURED_OUTPUT)
    if "audio" in (field(fields, "modalities", _strings) or ()):
        needed.add(Feature.AUDIO)
    if (effort or "none") != "none":
        needed.add(Feature.REASONING)
    return frozenset(needed)


def _texts(messages: Iterable[Message]) -> Iterable[str]:
    for message in messages:
        if isinstance(message.content, str):
            yield message.content
        elif isinstance(message.content, list):
            yield from (part.text for part in message.content if part.text)
        # A call's arguments are text to the model, inside JSON that is nearly all of them.
        yield from (bytes(call).decode() for call in message.tool_calls or ())


def _last_turn(messages: Sequence[Message]) -> str:
    """What the user said last: where the classifier finds the task."""
    for message in reversed(messages):
        if message.role == "user":
            return "\n".join(_texts([message]))
    return ""


def _reject_repeated_names(raw: bytes, messages: Sequence[Message]) -> None:
    types = sum(
        sum(b'"type"' in bytes(call) for call in message.tool_calls or ())
        + (len(message.content) if isinstance(message.content, list) else 0)
        for message in messages
    )
    contents = sum(message.content is not msgspec.UNSET for message in messages)
    reject_repeated_names("messages", raw, roles=len(messages), contents=contents, types=types)
