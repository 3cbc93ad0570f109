"""Responses: what is asked. Nothing is stored, so what refers to stored things is not found.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai import responses_items as items
from extproc.stand_in.openai.manners import check_strict, decoded, invalid, missing
from extproc.stand_in.openai.responses_answer import ResponsesWriter
from extproc.stand_in.question import Asked, Function, Question, Schema
from extproc.stand_in.reading import Shape
from extproc.stand_in.sample import Object

OUTPUT_TOKENS_MIN = 16
Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9_-]{1,64}\Z")]

_MOVED = {
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
}
"""Chat's parameters, which this API calls otherwise."""


class Declared(Shape):
    """A function, flat: its name stands beside its type."""

    type: str
    name: Name
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class Kind(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None


class Format(Shape):
    type: str = "text"
    name: Name | None = None
    description: str | None = None
    schema: Schema | None = None
    strict: bool | None = None


class TextConfig(Shape):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Shape):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class Request(Shape):
    model: str = ""
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: dict[str, bool] | None = None
    max_output_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: str | Kind | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    user: str | None = None
    truncation: str | None = None
    background: bool | None = None
    service_tier: str | None = None
    max_tool_calls: int | None = None
    access_programs: Any = None
    background_options: Any = None
    context_management: Any = None
    image: Any = None
    moderation: Any = None
    prompt: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None


def read(asked: Asked) -> tuple[Question, ResponsesWriter]:
    request = _request(asked.body)
    model = asked.model or request.model
    if not model:
        raise missing("model")
    _check(request)
    told = items.read(request.input or [], asked.provider)
    form = request.text.format if request.text else None
    schema = form.schema if form and form.type == "json_schema" else None
    reasoning = request.reasoning
    question = Question(
        model=model,
        prompt_bytes=_prompt_bytes(request),
        stream=bool(request.stream),
        last_text=told.last_text,
        told=told.told,
        media=told.media,
        functions=_functions(request),
        several_calls=request.parallel_tool_calls is not False,
        wants_json=form is not None and form.type == "json_object",
        schema=schema,
        tokens_max=request.max_output_tokens,
        thinks=reasoning is not None and reasoning.effort != "none",
    )
    writer = ResponsesWriter(
        echo=_echo(asked.body),
        with_summary=bool(reasoning and (reasoning.summary or reasoning.generate_summary)),
        with_encrypted="reasoning.encrypted_content" in (request.include or []),
    )
    return question, writer


def _request(body: bytes) -> Request:
    try:
        return decoded(body, Request)
    except ApiError as error:
        if moved := _MOVED.get(error.param or ""):
            error.message = (
                f"Unsupported parameter: '{error.param}'. In the Responses API, this parameter "
                f"has moved to '{moved}'."
            )
            error.code = "unsupported_parameter"
        raise


def _check(request: Request) -> None:
    if not request.input:
        raise missing("input")
    if request.max_output_tokens is not None and request.max_output_tokens < OUTPUT_TOKENS_MIN:
        why = (
            f"integer below minimum value. Expected a value >= {OUTPUT_TOKENS_MIN}, "
            f"but got {request.max_output_tokens} instead."
        )
        raise invalid("max_output_tokens", why, "integer_below_min_value")
    if stored := request.previous_response_id:
        raise ApiError(
            400,
            f"Previous response with id '{stored}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if request.conversation is not None:
        raise ApiError(404, "Conversation not found.", param="conversation")
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options", "it is only allowed when 'stream' is enabled.")
    if form := request.text.format if request.text else None:
        _check_format(form)


def _check_format(form: Format) -> None:
    if form.type not in ("text", "json_object", "json_schema"):
        raise invalid("text.format.type", "not a type.")
    if form.type == "json_schema":
        for name in ("name", "schema"):
            if getattr(form, name) is None:
                raise missing(f"text.format.{name}")
        if form.strict:
            check_strict(form.schema, form.name or "", "text.format.schema")


def _functions(request: Request) -> tuple[Function, ...]:
    declared = []
    for index, tool in enumerate(request.tools or []):
        if decoded(tool, Kind, ("tools", index)).type == "function":
            one = decoded(tool, Declared, ("tools", index))
            if one.strict:
                check_strict(one.parameters, one.name, f"tools[{index}].parameters")
            declared.append(one)
    choice = request.tool_choice
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise invalid("tool_choice", "supported values are: 'none', 'auto', and 'required'.")
    if choice == "required" and not request.tools:
        raise invalid("tool_choice", "it is 'required', and there are no 'tools'.")
    if choice == "none":
        return ()
    if isinstance(choice, Kind) and choice.type == "function":
        if choice.name is None:
            raise missing("tool_choice.name")
        declared = [one for one in declared if one.name == choice.name]
        if not declared:
            message = "Tool choice 'function' not found in 'tools' parameter."
            raise ApiError(400, message, param="tool_choice")
    return tuple(Function(one.name, one.parameters) for one in declared)


def _prompt_bytes(request: Request) -> int:
    said = request.input or ""
    if isinstance(said, str):
        return len(said.encode())
    return sum(len(bytes(item)) for item in said)


def _echo(body: bytes) -> Object:
    """What the answer repeats, or says of the default."""
    request: Object = msgspec.json.decode(body)
    defaults: Object = {
        "background": False,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
    return {
        name: value if (told := request.get(name)) is None else told
        for name, value in defaults.items()
    }
