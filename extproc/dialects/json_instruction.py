"""How JSON is asked for in words: a model has no field for it, or can't be held to a schema."""

from __future__ import annotations

from typing import Final

from extproc.dialects.arguments import is_object
from extproc.dialects.conversation import JsonText

_ANY_OBJECT: Final = "Answer with one JSON object and with nothing else, no code fence either."
_OF_SCHEMA: Final = (
    "Answer with one JSON value that is valid by this JSON Schema, and with nothing else, "
    "no code fence either:\n"
)


def json_instruction(schema: JsonText | None) -> str:
    """For the system prompt; of something that is no schema, any object will do."""
    return _ANY_OBJECT if schema is None or not is_object(schema) else _OF_SCHEMA + schema
