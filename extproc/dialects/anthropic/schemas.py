"""JSON Schemas as a model can be held to them, and as Anthropic takes them for tools.

Docs: platform.claude.com/docs/en/build-with-claude/structured-outputs (JSON Schema limitations).
What is not taken there is not taken by Bedrock either, of any model:
docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import msgspec

from extproc.dialects.conversation import JsonText

Schema = dict[str, Any]

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
_CLOSED_TO_ALL: Final = msgspec.Raw(
    b'{"type":"object","properties":{},"additionalProperties":false}'
)

_DEFINITIONS: Final = ("$defs", "definitions")
_OF_SCHEMAS: Final = ("properties", *_DEFINITIONS)
_CHOICES: Final = ("anyOf", "oneOf", "allOf")
_KEPT: Final = {"type", "title", "description", "default", "required", "$ref"}
_SAYS_NOTHING: Final = {"$schema", "$id", "$comment"}
_FORMATS: Final = {
    *("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
}
_LEAST_ITEMS: Final = {0, 1}

# Lookaround, back references, `\b` and large repetitions are refused, and what else there is of
# regular expressions is not listed; so only what is listed counts as taken.
_PLAIN_PATTERN: Final = re.compile(
    r"(?:[^\\({]|\\[dwsDWS\W]|\((?!\?)|\{[0-9](?:,[0-9]?)?\})*", re.ASCII
)


class _UnenforceableError(ValueError):
    """A model can't be held to this schema; never leaves this module."""


def input_schema(parameters: JsonText | None) -> msgspec.Raw:
    """The parameters as an object schema; of something that is no schema, one that takes nothing.

    A schema without a `type` gets that of an object, which Anthropic requires. Keywords that a
    strict tool may not have are taken in any other, and ignored.
    """
    schema = _fields(parameters)
    if parameters is None or schema is None:
        return _NO_PARAMETERS
    if "type" in schema:
        return msgspec.Raw(parameters.encode())
    return msgspec.Raw(msgspec.json.encode({"type": "object", **schema}))


def strict_input_schema(parameters: JsonText | None) -> msgspec.Raw | None:
    """The same for a strict tool, None if a model can't be held to it."""
    if parameters is None:
        return _CLOSED_TO_ALL
    return enforceable(bytes(input_schema(parameters)).decode())


def enforceable(written: JsonText) -> msgspec.Raw | None:
    """The schema as a model can be held to it, None if it can't be or if it is no object.

    What is valid by it is valid by the original, but for the keywords that are refused: these the
    descriptions tell instead, as Anthropic's own SDKs have it. Objects must forbid further fields,
    which is not the default elsewhere, so those that name their fields are closed. What would come
    to mean something else is left to words: objects of any fields, what refers to itself, `allOf`,
    numbers and depths that can't be read here.
    """
    try:
        schema = msgspec.json.decode(written)
        if not isinstance(schema, dict):
            return None
        bent = _bent(schema)
        _check_references(bent)
        return msgspec.Raw(msgspec.json.encode(bent))
    except (msgspec.DecodeError, RecursionError, CycleError, _UnenforceableError):
        return None


def _bent(schema: Schema) -> Schema:
    kept: Schema = {}
    told: Schema = {}
    for name, value in schema.items():
        if name in _OF_SCHEMAS and isinstance(value, dict):
            kept[name] = {key: _inner(inner) for key, inner in value.items()}
        elif name == "items" and isinstance(value, dict):
            kept[name] = _bent(value)
        elif _is_taken(name, value):
            kept[name] = value
        elif name not in {*_CHOICES, *_SAYS_NOTHING, "additionalProperties"}:
            told[name] = value
    kept |= _choice(schema)
    if _is_object(schema):
        kept["additionalProperties"] = _closed(schema)
    if told:
        kept["description"] = _description(schema, told)
    return _apart(kept)


def _inner(schema: object) -> object:
    return _bent(schema) if isinstance(schema, dict) else schema


def _is_taken(name: str, value: object) -> bool:
    match name, value:
        case "enum", list():
            return not any(isinstance(one, dict | list) for one in value)
        case "const", _:
            return not isinstance(value, dict | list)
        case "format", str():
            return value in _FORMATS
        case "minItems", int():
            return value in _LEAST_ITEMS
        case "pattern", str():
            return _PLAIN_PATTERN.fullmatch(value) is not None
    return name in _KEPT


def _choice(schema: Schema) -> Schema:
    """The one choice of a schema as `anyOf`: of `oneOf` it asks less, and of one it is `allOf`."""
    given = [name for name in _CHOICES if name in schema]
    if not given:
        return {}
    among = schema[given[0]]
    if len(given) > 1 or not isinstance(among, list) or ("allOf" in schema and len(among) > 1):
        raise _UnenforceableError
    return {"anyOf": [_inner(one) for one in among]}


def _apart(schema: Schema) -> Schema:
    """A reference without neighbours: Anthropic's SDKs leave it none."""
    if "$ref" not in schema or not schema.keys() - {"$ref", *_DEFINITIONS}:
        return schema
    if "anyOf" in schema:
        raise _UnenforceableError
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    return beside | {"anyOf": [{"$ref": schema["$ref"]}]}


def _is_object(schema: Schema) -> bool:
    types = schema.get("type")
    named = isinstance(schema.get("properties"), dict)
    return named or "object" in (types if isinstance(types, list) else [types])


def _closed(schema: Schema) -> bool:
    """Whether further fields are allowed, which they never are: that is the only form taken."""
    further, named = schema.get("additionalProperties", True), schema.get("properties")
    open_beyond_names = further in (True, {}) and isinstance(named, dict) and bool(named)
    if "patternProperties" in schema or not (further is False or open_beyond_names):
        raise _UnenforceableError
    return False


def _description(schema: Schema, told: Schema) -> str:
    keywords = [f"{name}: {msgspec.json.encode(value).decode()}" for name, value in told.items()]
    said = schema.get("description")
    return (f"{said}\n\n" if said else "") + "{" + ", ".join(keywords) + "}"


def _check_references(schema: Schema) -> None:
    """Only to the schema's own definitions, and never in circles."""
    definitions = {
        f"#/{place}/{name}": definition
        for place in _DEFINITIONS
        for name, definition in schema.get(place, {}).items()
    }
    if not definitions.keys() >= set(_references(schema)):
        raise _UnenforceableError
    circles = {name: set(_references(inner)) for name, inner in definitions.items()}
    TopologicalSorter(circles).prepare()


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _fields(written: JsonText | None) -> Mapping[str, msgspec.Raw] | None:
    if written is None:
        return None
    try:
        return _object.decode(written)
    except (msgspec.DecodeError, RecursionError):
        return None
