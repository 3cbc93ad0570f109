"""Gemini: what fits its shapes and is refused nevertheless.

https://ai.google.dev/gemini-api/docs/function-calling
https://ai.google.dev/gemini-api/docs/thought-signatures
https://ai.google.dev/gemini-api/docs/structured-output
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extproc.stand_in.errors import ApiError
from extproc.stand_in.gemini.shapes import Content, GenerationConfig, Part, Schema
from extproc.stand_in.reading import Place, brackets
from extproc.stand_in.signature import is_own

STOP_SEQUENCES_MAX: Final = 5
CANDIDATES_MAX: Final = 8

UNSIGNED_ON_PURPOSE: Final = frozenset(
    {"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"}
)
"""What the documentation allows in place of a signature, for calls that another model made."""

_DATA: Final = (
    "text",
    "inline_data",
    "file_data",
    "function_call",
    "function_response",
    "executable_code",
    "code_execution_result",
)
_TYPES: Final = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})
_FORMATS: Final = {
    "STRING": frozenset({"enum", "date-time"}),
    "NUMBER": frozenset({"float", "double"}),
    "INTEGER": frozenset({"int32", "int64"}),
}


def is_third(model: str) -> bool:
    """The models that want their signatures back."""
    return model.startswith("gemini-3")


def check_contents(contents: Sequence[Content], *, model: str, provider: str) -> None:
    if not contents:
        raise _refused("contents", "contents is not specified")
    for index, content in enumerate(contents):
        place = f"contents[{index}]"
        if not content.parts:
            raise _refused(f"{place}.parts", "contents.parts must not be empty.")
        if content.role not in ("user", "model", "function", None):
            raise ApiError(400, "Please use a valid role: user, model.")
        for number, part in enumerate(content.parts):
            _check_part(part, f"{place}.parts[{number}]", provider)
    _check_calls(contents)
    if is_third(model):
        _check_signatures(contents)


def _check_part(part: Part, place: str, provider: str) -> None:
    set_ones = [name for name in _DATA if getattr(part, name) is not None]
    if not set_ones and part.thought_signature is None:
        raise _refused(
            f"{place}.data", "required oneof field 'data' must have one initialized field"
        )
    if len(set_ones) > 1:
        message = f"Invalid value at '{place}' (oneof), oneof field 'data' is already set."
        raise ApiError(400, f"{message} Cannot set '{set_ones[1]}'")
    for one in (part.function_call, part.function_response):
        if one is not None and not one.name:
            raise _refused(f"{place}.{set_ones[0]}.name", "Name cannot be empty.")
    signature = part.thought_signature
    if signature not in (None, *UNSIGNED_ON_PURPOSE) and not is_own(provider, signature or ""):
        raise ApiError(400, "Thought signature is not valid.")


def _check_calls(contents: Sequence[Content]) -> None:
    """A turn of responses is directly after its turn of calls, one for each, of the same names."""
    called: list[str] = []
    for index, content in enumerate(contents):
        answered = [p.function_response.name for p in content.parts if p.function_response]
        calls = [part.function_call.name for part in content.parts if part.function_call]
        if answered and not called:
            raise ApiError(
                400,
                "Please ensure that function response turn comes immediately after a function "
                "call turn.",
            )
        if len(answered) != len(called):
            raise ApiError(
                400,
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn.",
            )
        if sorted(answered) != sorted(called):
            what = "function responses must have the names of the function calls."
            raise _refused(f"contents[{index}].parts", what)
        if calls and (content.role != "model" or index == 0):
            raise ApiError(
                400,
                "Please ensure that function call turn comes immediately after a user turn or "
                "after a function response turn.",
            )
        if answered and content.role == "model":
            raise ApiError(400, "Please use a valid role for a function response: user.")
        called = calls
    if called:
        what = "a function call turn must be followed by a function response turn."
        raise _refused(f"contents[{len(contents) - 1}]", what)


def _check_signatures(contents: Sequence[Content]) -> None:
    """The first call of each step since the last prompt; earlier turns are not looked at."""
    prompts = [
        index
        for index, content in enumerate(contents)
        if content.role != "model" and not any(part.function_response for part in content.parts)
    ]
    start = prompts[-1] if prompts else 0
    for index, content in enumerate(contents[start:], start):
        first = next((part for part in content.parts if part.function_call), None)
        if first and first.function_call and not first.thought_signature:
            raise ApiError(
                400,
                "Function call is missing a thought_signature in functionCall parts. This is "
                "required for tools to work correctly. Additional data, function call "
                f"`default_api:{first.function_call.name}`, position {index + 1}.",
            )


def check_config(config: GenerationConfig, *, has_tools: bool, model: str) -> None:
    _check_range("temperature", config.temperature, 0, 2)
    _check_range("top_p", config.top_p, 0, 1)
    _check_range("candidate_count", config.candidate_count, 1, CANDIDATES_MAX)
    _check_range("max_output_tokens", config.max_output_tokens, 1, 2**31)
    if len(config.stop_sequences or []) > STOP_SEQUENCES_MAX:
        raise _refused("generation_config.stop_sequences", f"at most {STOP_SEQUENCES_MAX}.")
    thinking = config.thinking_config
    if thinking and thinking.thinking_level and thinking.thinking_budget is not None:
        what = "You can only set only one of thinking budget and thinking level."
        raise ApiError(400, what)
    schemas = [config.response_schema, config.response_json_schema]
    if schemas.count(None) < len(schemas):
        if None not in schemas:
            what = "only one of response_schema and response_json_schema can be set."
            raise _refused("generation_config", what)
        if config.response_mime_type not in ("application/json", "text/x.enum"):
            what = "a response schema needs a response mime type of 'application/json'."
            raise _refused("generation_config.response_mime_type", what)
    if has_tools and config.response_mime_type == "application/json" and not is_third(model):
        what = "Function calling with a response mime type: 'application/json' is unsupported"
        raise ApiError(400, what)


def check_schema(schema: Schema, place: Place) -> None:
    kind = (schema.type or "").upper()
    if kind not in _TYPES and not (schema.type is None and schema.any_of):
        raise _refused(f"{brackets(place)}.type", "must be specified, and one of Type's values.")
    if kind == "OBJECT" and not schema.properties:
        raise _refused(f"{brackets(place)}.properties", "should be non-empty for OBJECT type")
    if kind == "ARRAY" and schema.items is None:
        raise _refused(f"{brackets(place)}.items", "missing field.")
    _check_values(schema, kind, brackets(place))
    properties = schema.properties or {}
    if not set(properties).issuperset(schema.required or []):
        raise _refused(f"{brackets(place)}.required", "property is not defined")
    for name, property_ in properties.items():
        check_schema(property_, (*place, "properties", name))
    for inner in [schema.items] if schema.items else schema.any_of or []:
        check_schema(inner, (*place, "items"))


def _check_values(schema: Schema, kind: str, place: str) -> None:
    if schema.enum and kind != "STRING":
        raise _refused(f"{place}.enum", "only allowed for STRING type")
    if schema.format and schema.format not in _FORMATS.get(kind, ()):
        raise _refused(f"{place}.format", f"not supported for {kind} type")


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise _refused(f"generation_config.{name}", f"must be in the range [{low}, {high}].")


def _refused(place: str, why: str) -> ApiError:
    return ApiError(400, f"* GenerateContentRequest.{place}: {why}")
