"""Whether a schema is one that a model can be held to: its objects are closed.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.stand_in.reading import Place

SCHEMAS_MAX = 10_000


def open_object(schema: object, *, all_required: bool = False) -> Place | None:
    """Where an object is not `additionalProperties: false`, or not all of it required."""
    left: list[tuple[Place, object]] = [((), schema)]
    for _ in range(SCHEMAS_MAX):
        if not left:
            return None
        place, one = left.pop()
        if isinstance(one, Mapping):
            if _is_open(one, all_required=all_required):
                return place
            left += [((*place, *step), inner) for step, inner in _inner(one)]
    return None


def _is_open(schema: Mapping[str, Any], *, all_required: bool) -> bool:
    properties = schema.get("properties")
    if schema.get("type") != "object" and not isinstance(properties, Mapping):
        return False
    required = schema.get("required")
    named = set(map(str, required)) if isinstance(required, list) else set()
    lacks_some = isinstance(properties, Mapping) and not named.issuperset(properties)
    return schema.get("additionalProperties") is not False or (all_required and lacks_some)


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[Place, object]]:
    for name in ("properties", "$defs", "definitions"):
        if isinstance(named := schema.get(name), Mapping):
            yield from (((name, key), one) for key, one in named.items())
    for name in ("anyOf", "allOf", "oneOf"):
        if isinstance(listed := schema.get(name), list):
            yield from (((name, index), one) for index, one in enumerate(listed))
    yield ("items",), schema.get("items")
