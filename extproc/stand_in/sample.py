"""An example value for a JSON schema: the smallest that shows every property.

Covers what structured outputs cover: types, enums, bounds, formats, `anyOf`, local `$ref` and
recursion (https://platform.openai.com/docs/guides/structured-outputs), but for `pattern`; of
an `allOf` only the first part counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from extproc.stand_in.errors import ApiError

Schema = Mapping[str, Any]
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]

FULL_DEPTH_MAX = 6
"""Below this depth only what is required is shown; ends a recursive schema at its first way out."""
DEPTH_MAX = 64
VALUES_MAX = 10_000
"""References can double at every level; a schema of a kilobyte must not make a gigabyte."""

_FORMATS = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
}


def sample(schema: object) -> Json:
    """Raises `ApiError` (400) for what is no schema; one that is absent, or `true`, is `{}`."""
    root = schema if isinstance(schema, Mapping) else {}
    try:
        return _Sampler(root).value(root, 0)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        raise ApiError(400, "Invalid schema.", code="invalid_json_schema") from None


class _Sampler:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._values_left = VALUES_MAX

    def value(self, schema: object, depth: int) -> Json:
        self._values_left -= 1
        if not isinstance(schema, Mapping) or depth > DEPTH_MAX or self._values_left < 0:
            return None
        values: list[Json] = [schema["const"]] if "const" in schema else schema.get("enum", [])
        if values:
            return values[0]
        if "$ref" in schema:
            return self.value(self._referred(str(schema["$ref"])), depth + 1)
        if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            return self.value(_option(options, depth), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Schema, depth: int) -> Json:
        match _type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return _string(schema)
            case "integer" | "number" as kind:
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: Schema, depth: int) -> Json:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        return {
            name: self.value(properties.get(name, {"type": "string"}), depth + 1)
            for name in dict.fromkeys([*properties, *required])
            if depth < FULL_DEPTH_MAX or name in required
        }

    def _array(self, schema: Schema, depth: int) -> Json:
        wanted = schema.get("minItems") or int(depth < FULL_DEPTH_MAX)
        items = list(schema.get("prefixItems") or [])
        count = max(len(items), min(wanted, schema.get("maxItems", wanted), VALUES_MAX))
        items += [schema.get("items", {"type": "string"})] * (count - len(items))
        return [self.value(item, depth + 1) for item in items]

    def _referred(self, reference: str) -> object:
        found: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step and isinstance(found, Mapping):
                found = found.get(step.replace("~1", "/").replace("~0", "~"))
        return found


def _option(options: list[Schema], depth: int) -> Schema:
    """The first option that says something; deep down, the first that ends."""
    if depth < FULL_DEPTH_MAX:
        return next((one for one in options if one.get("type") != "null"), options[0])
    return next((one for one in options if "$ref" not in one), options[0])


def _type(schema: Schema) -> str:
    match schema.get("type"):
        case str(name):
            return name.lower()  # Gemini writes them in capitals
        case [*names]:
            return next((str(name).lower() for name in names if name != "null"), "null")
        case _ if "items" in schema:
            return "array"
        case _:
            return "object"


def _string(schema: Schema) -> str:
    if text := _FORMATS.get(str(schema.get("format"))):
        return text
    shortest = min(schema.get("minLength", 0), VALUES_MAX)
    return "sample".ljust(shortest, "-")[: schema.get("maxLength")]


def _number(schema: Schema, *, whole: bool) -> float:
    """The first of a few likely numbers that keeps every bound."""
    low, above = schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf)
    high, below = schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf") or int(whole)
    floor, ceiling = max(low, above), min(high, below)
    likely = [1, floor, floor + 1, ceiling, ceiling - 1, (floor + ceiling) / 2]
    likely = [number for number in likely if math.isfinite(number)]
    if step:
        likely = [(number // step + more) * step for number in likely for more in (0, 1)]
    fitting = (one for one in likely if low <= one <= high and above < one < below)
    number = next(fitting, 1)
    return int(number) if whole else number
