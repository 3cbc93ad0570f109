"""OpenAI chat completions: what routing reads of a request, and how the router itself answers.

Only what routing needs is decoded; every other field stays bytes. Fields are those of the API
reference of POST /v1/chat/completions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Never, TypeVar

import msgspec
from msgspec import Struct

from extproc.dialects.members import MalformedError, Member, members, without
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.text.tokens import measure_all
from extproc.vocabulary import ModelName, ProviderName, Refusal, RequestedModel

_T = TypeVar("_T")

ENDPOINT: Final = "/chat/completions"
"""Where a provider takes this dialect, below its base path."""

_REQUESTED_MODEL_CHARS_MAX: Final = 256
_METADATA_FIELDS_MAX: Final = 64
_OUTPUT_TOKENS_MAX: Final = 2**53
"""Any more is counted as this: no model writes as much, and every number type holds it."""


class _Part(Struct):
    type: str
    text: str | None = None


class _Message(Struct):
    role: str
    content: str | list[_Part] | msgspec.UnsetType | None = msgspec.UNSET
    tool_calls: list[msgspec.Raw] | None = None


class _ResponseFormat(Struct):
    type: str = "text"


_PART_FEATURES: Final = {
    "image_url": Feature.VISION,
    "input_audio": Feature.AUDIO,
    "file": Feature.DOCUMENTS,
}
_STRUCTURED_FORMATS: Final = {"json_schema", "json_object"}
_SCHEMAS: Final = ("tools", "functions", "response_format")
_CRITICAL_NAMES: Final = {"role", "content", "type"}

# An ASCII letter needs no escape, so a name written with one means to look like another.
_ESCAPED: Final = b"\\u00"
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")

_messages = msgspec.json.Decoder(list[_Message])
_tools = msgspec.json.Decoder(list[msgspec.Raw] | None)
_text = msgspec.json.Decoder(str | None)
_flag = msgspec.json.Decoder(bool | None)
_count = msgspec.json.Decoder(int | None)
_strings = msgspec.json.Decoder(list[str] | None)
_format = msgspec.json.Decoder(_ResponseFormat | None)
_metadata = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


def _malformed(message: str) -> Refusal:
    return Refusal("invalid_request", 400, "invalid_body", message)


EMPTY_BODY: Final = _malformed("The request body is empty; send a JSON object with `messages`.")


def read(body: bytes) -> Payload | Refusal:
    """The payload in `body`, or why it can't be one (a 400)."""
    if not body.strip():
        return EMPTY_BODY
    try:
        fields = members(body)
    except MalformedError as error:
        return _malformed(f"The request body is not usable: {error}.")
    try:
        return _payload(body, fields)
    except _FieldError as error:
        return error.refusal


def _payload(body: bytes, fields: Mapping[str, Member]) -> Payload:
    if "messages" not in fields:
        _reject("messages", "is required")
    messages = _field(fields, "messages", _messages) or []
    if not messages:
        _reject("messages", "needs at least one message")
    _reject_repeated_names(fields["messages"].raw, messages)
    model = _field(fields, "model", _text)
    if model is not None and len(model) > _REQUESTED_MODEL_CHARS_MAX:
        _reject("model", f"is longer than {_REQUESTED_MODEL_CHARS_MAX} characters")
    if model is not None and not model.isprintable():
        _reject("model", "holds control characters")
    parts = _parts(messages)
    effort = _field(fields, "reasoning_effort", _text)
    return Payload(
        requested_model=RequestedModel(model) if model is not None else None,
        streaming=_field(fields, "stream", _flag) or False,
        features=_features(fields, parts, effort),
        text=measure_all([text.encode("utf-8", "replace") for text in _texts(messages)]),
        schemas=measure_all([fields[name].raw for name in _SCHEMAS if name in fields]),
        messages=len(messages),
        parts=parts,
        output_tokens_max=_output_limit(fields),
        reasoning_effort=effort,
        metadata=_metadata_texts(fields),
        last_turn=_last_turn(messages),
        rest=without(body, fields.get("model")),
    )


def _parts(messages: Iterable[_Message]) -> Mapping[Feature, int]:
    """How many parts need each feature."""
    found = [
        _PART_FEATURES[part.type]
        for message in messages
        if isinstance(message.content, list)
        for part in message.content
        if part.type in _PART_FEATURES
    ]
    return Counter(found) if found else {}


def _output_limit(fields: Mapping[str, Member]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        limit: int | None = _field(fields, name, _count)
        if limit is not None and limit < 1:
            _reject(name, "is below 1")
        if limit is not None:
            return min(limit, _OUTPUT_TOKENS_MAX)
    return None


def _features(
    fields: Mapping[str, Member], parts: Mapping[Feature, int], effort: str | None
) -> frozenset[Feature]:
    needed = set(parts)
    if _field(fields, "tools", _tools) or _field(fields, "functions", _tools):
        needed.add(Feature.TOOLS)
    response_format = _field(fields, "response_format", _format)
    _reject_repeated_fields(fields, "response_format")
    if response_format and response_format.type in _STRUCTURED_FORMATS:
        needed.add(Feature.STRUCTURED_OUTPUT)
    if "audio" in (_field(fields, "modalities", _strings) or ()):
        needed.add(Feature.AUDIO)
    if (effort or "none") != "none":
        needed.add(Feature.REASONING)
    return frozenset(needed)


def _texts(messages: Iterable[_Message]) -> Iterable[str]:
    for message in messages:
        if isinstance(message.content, str):
            yield message.content
        elif isinstance(message.content, list):
            yield from (part.text for part in message.content if part.text)
        # A call's arguments are text to the model, inside JSON that is nearly all of them.
        yield from (bytes(call).decode() for call in message.tool_calls or ())


def _last_turn(messages: Sequence[_Message]) -> str:
    """What the user said last: where the classifier finds the task."""
    for message in reversed(messages):
        if message.role == "user":
            return "\n".join(_texts([message]))
    return ""


def _reject_repeated_names(raw: bytes, messages: Sequence[_Message]) -> None:
    """A role, content or type given twice is read differently by different parsers.

    msgspec keeps the last of two and does not tell. Inside JSON's strings a quote is escaped, so
    counting quoted names finds whether any can stand twice; only then is every name looked at.
    """
    held = sum(message.content is not msgspec.UNSET for message in messages)
    typed = sum(
        sum(b'"type"' in bytes(call) for call in message.tool_calls or ())
        + (len(message.content) if isinstance(message.content, list) else 0)
        for message in messages
    )
    if (
        raw.count(b'"role"') <= len(messages)
        and raw.count(b'"content"') <= held
        and raw.count(b'"type"') <= typed
        and not (_ESCAPED in raw and _ESCAPED_LETTER.search(raw))
    ):
        return
    try:
        # Numbers as text: Python refuses to convert one of thousands of digits.
        json.loads(raw, object_pairs_hook=_unrepeated, parse_int=str)
    except RecursionError:
        _reject("messages", "is nested too deeply")


def _unrepeated(pairs: list[tuple[str, object]]) -> None:
    names = Counter(name for name, _ in pairs if name in _CRITICAL_NAMES)
    for name, times in names.items():
        if times > 1:
            _reject("messages", f"holds an object with {name!r} more than once")


def _reject_repeated_fields(fields: Mapping[str, Member], name: str) -> None:
    if name not in fields or not fields[name].raw.startswith(b"{"):
        return
    try:
        members(fields[name].raw)
    except MalformedError as error:
        _reject(name, f"is not right: {error}")


def _metadata_texts(fields: Mapping[str, Member]) -> dict[str, str]:
    """The payload's own `metadata`, those of its values that are text."""
    found = _field(fields, "metadata", _metadata) or {}
    _reject_repeated_fields(fields, "metadata")
    if len(found) > _METADATA_FIELDS_MAX:
        _reject("metadata", f"has more than {_METADATA_FIELDS_MAX} fields")
    return {
        name: msgspec.json.decode(value, type=str)
        for name, value in found.items()
        if bytes(value).startswith(b'"')
    }


def _field(fields: Mapping[str, Member], name: str, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    member = fields.get(name)
    if member is None:
        return None
    try:
        return decoder.decode(member.raw)
    except RecursionError:
        _reject(name, "is nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec's words name types and positions (`$[0].role`), never content.
        _reject(name, "is not right: " + str(error).replace("`$", f"`{name}"))


class _FieldError(Exception):
    """Carries a refusal out of the depths of reading one payload; never leaves this module."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def _reject(param: str, what: str) -> Never:
    message = f"The field `{param}` {what}."
    raise _FieldError(Refusal("invalid_request", 400, "invalid_value", message, param))


def render_refusal(refusal: Refusal) -> bytes:
    """The error body that OpenAI's SDKs read."""
    error = {
        "message": refusal.message,
        "type": "server_error" if refusal.status >= 500 else "invalid_request_error",
        "param": refusal.param,
        "code": refusal.code,
    }
    return msgspec.json.encode({"error": error})


def render_model(name: ModelName, owner: ProviderName) -> bytes:
    """The answer to GET /v1/models/{model}."""
    return msgspec.json.encode(_model(name, owner))


def render_models(models: Iterable[tuple[ModelName, ProviderName]]) -> bytes:
    """The answer to GET /v1/models."""
    data = [_model(name, owner) for name, owner in models]
    return msgspec.json.encode({"object": "list", "data": data})


def _model(name: ModelName, owner: ProviderName) -> dict[str, str | int]:
    # `created` is required by the schema; when a model was made is not known here.
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
