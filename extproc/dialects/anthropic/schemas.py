"""JSON Schemas as Anthropic takes them, for tools and for answers.

Docs: platform.claude.com/docs/en/build-with-claude/structured-outputs (JSON Schema limitations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.dialects.conversation import JsonText

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
_OF_SCHEMAS: Final = ("properties", "$defs", "definitions")
_SCHEMA_LISTS: Final = ("anyOf", "allOf", "oneOf")


def input_schema(parameters: JsonText | None) -> msgspec.Raw:
    """The parameters as an object schema; of something that is no schema, one that takes nothing.

    A schema without a `type` gets that of an object, which Anthropic requires.
    """
    schema = _fields(parameters)
    if parameters is None or schema is None:
        return _NO_PARAMETERS
    if "type" in schema:
        return msgspec.Raw(parameters.encode())
    return msgspec.Raw(msgspec.json.encode({"type": "object", **schema}))


def answer_schema(written: JsonText) -> msgspec.Raw | None:
    """The schema of an answer, None if it is no object.

    Anthropic refuses objects that don't forbid further fields, which is the default elsewhere. So
    those that name their fields are closed: what is valid then, is so by the original too.
    """
    if _fields(written) is None:
        return None
    if '"properties"' not in written:
        return msgspec.Raw(written.encode())
    try:
        return msgspec.Raw(msgspec.json.encode(_closed(msgspec.json.decode(written))))
    except (msgspec.DecodeError, RecursionError):
        return msgspec.Raw(written.encode())  # numbers or depths that only Anthropic may judge


def _closed(schema: object) -> object:
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for name in _OF_SCHEMAS:
        if isinstance(schema.get(name), dict):
            closed[name] = {key: _closed(inner) for key, inner in schema[name].items()}
    for name in _SCHEMA_LISTS:
        if isinstance(schema.get(name), list):
            closed[name] = [_closed(inner) for inner in schema[name]]
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if schema.get("properties"):
        closed.setdefault("additionalProperties", False)
    return closed


def _fields(written: JsonText | None) -> Mapping[str, msgspec.Raw] | None:
    if written is None:
        return None
    try:
        return _object.decode(written)
    except (msgspec.DecodeError, RecursionError):
        return None
