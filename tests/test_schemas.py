"""JSON Schemas, bent until a model can be held to them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.anthropic.schemas import enforceable

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
NUMBER = {"type": "number"}


def held(schema: object) -> object:
    bent = enforceable(json.dumps(schema))
    return json.loads(bytes(bent)) if bent is not None else None


def within(schema: object) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        {"type": "object", "properties": {}, "additionalProperties": False},
        {"anyOf": [CLOSED, {"type": "null"}]},
        within({"type": ["string", "null"], "enum": ["x", None], "default": "x", "title": "t"}),
        within({"type": "array", "items": CLOSED, "minItems": 1}),
        within({"type": "string", "format": "date-time"}),
        within({"type": "string", "pattern": r"^[A-Z]{3}-\d{1,4}(x|y)+\.$"}),
        within({"const": 1}),
        {"$ref": "#/$defs/a", "$defs": {"a": CLOSED, "b": within({"$ref": "#/$defs/a"})}},
    ],
)
def test_what_can_be_enforced_stays_as_it_is(schema: object) -> None:
    assert held(schema) == schema


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "{minimum: 1, maximum: 9}"),
        ({"type": "string", "minLength": 1, "maxLength": 5}, "{minLength: 1, maxLength: 5}"),
        ({"type": "array", "minItems": 2, "uniqueItems": True}, "{minItems: 2, uniqueItems: true}"),
        ({"type": "number", "multipleOf": 0.5}, "{multipleOf: 0.5}"),
        ({"type": "string", "format": "color"}, '{format: "color"}'),
        ({"type": "string", "pattern": "^(?=a)"}, '{pattern: "^(?=a)"}'),
        ({"type": "string", "pattern": r"\bword"}, r'{pattern: "\\bword"}'),
        ({"type": "string", "pattern": r"(a)\1"}, r'{pattern: "(a)\\1"}'),
        ({"type": "string", "pattern": "a{1,500}"}, '{pattern: "a{1,500}"}'),
        ({"not": {"const": 1}}, '{not: {"const":1}}'),
        ({"enum": [{"a": 1}]}, '{enum: [{"a":1}]}'),
        ({"type": "array", "items": [NUMBER]}, '{items: [{"type":"number"}]}'),
    ],
)
def test_what_cannot_be_enforced_is_told(keywords: dict[str, object], told: str) -> None:
    kept = {"type": keywords["type"]} if "type" in keywords else {}
    assert held(within(keywords)) == within(kept | {"description": told})
    described = within(kept | {"description": f"A thing.\n\n{told}"})
    assert held(within(keywords | {"description": "A thing."})) == described


@pytest.mark.parametrize(
    ("schema", "bent"),
    [
        (OPEN, CLOSED),
        (OPEN | {"additionalProperties": True}, CLOSED),
        (OPEN | {"additionalProperties": {}}, CLOSED),
        (OPEN | {"$schema": "s", "$id": "i", "$comment": "c"}, CLOSED),
        (within({"items": OPEN}), within({"items": CLOSED})),
        (
            {"$defs": {"properties": OPEN}, "anyOf": [OPEN]},
            {"$defs": {"properties": CLOSED}, "anyOf": [CLOSED]},
        ),
        ({"oneOf": [OPEN, NUMBER]}, {"anyOf": [CLOSED, NUMBER]}),
        ({"allOf": [OPEN]}, {"anyOf": [CLOSED]}),
        (
            {"$defs": {"a": OPEN}, "$ref": "#/$defs/a", "description": "d"},
            {"$defs": {"a": CLOSED}, "anyOf": [{"$ref": "#/$defs/a"}], "description": "d"},
        ),
        # Names and values are no keywords.
        (within({"enum": ["minimum"]}), within({"enum": ["minimum"]})),
        (
            {"type": "object", "properties": {"minimum": NUMBER, "allOf": NUMBER, "$ref": NUMBER}},
            {
                "type": "object",
                "properties": {"minimum": NUMBER, "allOf": NUMBER, "$ref": NUMBER},
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_schema_is_bent_into_one_that_allows_no_more(schema: object, bent: object) -> None:
    assert held(schema) == bent


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": ["object", "null"]},
        {"type": "object", "additionalProperties": NUMBER},
        OPEN | {"additionalProperties": NUMBER},
        OPEN | {"patternProperties": {"^x": NUMBER}},
        within({"type": "object", "properties": {}}),
        {"allOf": [OPEN, OPEN]},
        {"anyOf": [OPEN], "oneOf": [NUMBER]},
        {"anyOf": OPEN},
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/gone", "$defs": {}},
        {"$ref": "#/$defs/a", "$defs": {"a": within({"$ref": "#/$defs/a"})}},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": within({"$ref": "#/$defs/b"}), "b": within({"$ref": "#/$defs/a"})},
        },
        {"$ref": "#/$defs/a", "anyOf": [NUMBER], "$defs": {"a": NUMBER}},
        True,
        [],
    ],
)
def test_what_would_come_to_mean_something_else_is_not_enforced(schema: object) -> None:
    assert held(schema) is None


@pytest.mark.parametrize(
    "written", ["", "{", '{"maximum":1e999}', '{"items":' * 5000 + "{}" + "}" * 5000]
)
def test_what_cannot_be_read_is_not_enforced(written: str) -> None:
    assert enforceable(written) is None


names = st.sampled_from(
    [
        *("type", "properties", "items", "anyOf", "allOf", "oneOf", "$ref", "$defs", "enum"),
        *("const", "description", "additionalProperties", "pattern", "minItems", "format", "not"),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "string", "#/$defs/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=5))
@settings(deadline=None, max_examples=200, database=None)
def test_whatever_is_bent_is_not_bent_any_more(schema: dict[str, object]) -> None:
    bent = held(schema)
    assert bent is None or held(bent) == bent
