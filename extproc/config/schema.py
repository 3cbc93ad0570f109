"""The JSON Schema of the config file, for editors: `config/schema.json` is this, printed."""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from extproc.config.file import ConfigFile

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Keys in camelCase, as editors should complete them."""
    return {"$schema": _DIALECT, **ConfigFile.model_json_schema(schema_generator=_Untitled)}


class _Untitled(GenerateJsonSchema):
    """Without a title for every key that repeats its name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  its signature
        return False
