"""The JSON Schema of the config file, for editors: `config/schema.json` is this, printed."""

from __future__ import annotations

from typing import Any, Final

from pydantic.alias_generators import to_snake
from pydantic.json_schema import GenerateJsonSchema

from extproc.config.file import ConfigFile
from extproc.feature import Feature

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Keys in camelCase, as editors should complete them; in snake_case they are valid too."""
    schema = ConfigFile.model_json_schema(schema_generator=_Untitled)
    sections: dict[str, Any] = schema["$defs"]
    _spell_twice(schema, "#")
    for name, section in sections.items():
        _spell_twice(section, f"#/$defs/{name}")
    others = [to_snake(feature) for feature in Feature if to_snake(feature) != feature]
    sections["Feature"] = {"anyOf": [sections["Feature"], _any_of(others)]}
    return {"$schema": _DIALECT, **schema}


def _spell_twice(section: dict[str, Any], at: str) -> None:
    """Let its keys be written in snake_case. Editors complete `properties`, but no patterns."""
    snake = {key: to_snake(key) for key in section.get("properties", ())}
    twice = {key: other for key, other in snake.items() if key != other}
    if not twice:
        return
    section["patternProperties"] = {
        f"^{other}$": {"$ref": f"{at}/properties/{key}"} for key, other in twice.items()
    }
    required = section.pop("required", [])
    if once := [key for key in required if key not in twice]:
        section["required"] = once
    if either := [key for key in required if key in twice]:
        section["allOf"] = [
            {"anyOf": [{"required": [key]}, {"required": [twice[key]]}]} for key in either
        ]


def _any_of(words: list[str]) -> dict[str, Any]:
    return {"pattern": f"^({'|'.join(words)})$", "type": "string"}


class _Untitled(GenerateJsonSchema):
    """Without a title for every key that repeats its name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  its signature
        return False
