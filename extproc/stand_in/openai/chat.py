"""Chat completions: what is asked. Fields of a known name that change nothing are not looked into.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai import chat_messages as messages
from extproc.stand_in.openai.chat_answer import ChatWriter
from extproc.stand_in.openai.manners import check_strict, decoded, invalid, missing
from extproc.stand_in.question import Asked, Function, Question, Schema
from extproc.stand_in.reading import Shape

TOOLS_MAX = 128
IGNORE_UNKNOWN = frozenset({"anthropic"})
"""https://docs.anthropic.com/en/api/openai-sdk: most unsupported fields are silently ignored."""

_REASONS = re.compile(r"o[134]\b|gpt-5(?!-chat)")
"""The models that want `max_completion_tokens`, because not all of them are seen."""

Tokens = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9_-]{1,64}\Z")]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)] | None
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]


class Declared(Shape):
    name: Name
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None


class Tool(Shape):
    """`type` and what it names; only functions are called."""

    type: str = "function"
    function: Declared | None = None
    custom: Any = None


class Named(Shape):
    name: str


class ToolChoice(Shape):
    type: str = "function"
    function: Named | None = None
    custom: Named | None = None
    allowed_tools: Any = None


class JsonSchema(Shape):
    name: Name
    description: str | None = None
    schema: Schema | None = None
    strict: bool | None = None


class ResponseFormat(Shape):
    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(Shape):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Request(Shape):
    model: str = ""
    messages: tuple[msgspec.Raw, ...] = ()
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    tools: Annotated[list[Tool], msgspec.Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=4)] | None = None
    seed: Any = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    store: bool | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None
    verbosity: str | None = None
    audio: Any = None
    function_call: Any = None
    functions: Any = None
    logit_bias: Any = None
    moderation: Any = None
    prediction: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    web_search_options: Any = None


class LenientRequest(Request, forbid_unknown_fields=False):
    """At those providers that skip what they do not know."""


def read(asked: Asked, *, filters: bool = False) -> tuple[Question, ChatWriter]:
    """`filters` is Azure's habit of saying that nothing was filtered. Raises `ApiError` (400)."""
    lenient = asked.provider in IGNORE_UNKNOWN
    request = decoded(asked.body, LenientRequest if lenient else Request)
    model = asked.model or request.model
    if not model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if not request.messages:
        raise missing("messages")
    _check(request, model)
    told = messages.read(request.messages)
    form = request.response_format
    schema = form.json_schema.schema if form and form.json_schema else None
    question = Question(
        model=model,
        prompt_bytes=sum(len(bytes(message)) for message in request.messages),
        stream=bool(request.stream),
        last_text=told.last_text,
        told=told.told,
        media=told.media,
        functions=_functions(request),
        several_calls=request.parallel_tool_calls is not False,
        wants_json=form is not None and form.type == "json_object",
        schema=(schema or {}) if form and form.type == "json_schema" else None,
        tokens_max=request.max_completion_tokens or request.max_tokens,
        thinks=request.reasoning_effort not in (None, "none"),
    )
    options = request.stream_options
    return question, ChatWriter(bool(options and options.include_usage), filters)


def _check(request: Request, model: str) -> None:
    if request.stream_options and not request.stream:
        raise ApiError(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    if request.max_tokens and _REASONS.match(model):
        raise ApiError(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    if request.max_tokens and request.max_completion_tokens:
        raise ApiError(
            400,
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
        )
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("top_logprobs", "it needs 'logprobs'.")
    _check_tools(request)
    _check_format(request)


def _check_tools(request: Request) -> None:
    if not request.tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if getattr(request, name) not in (None, "none"):
                what = f"Invalid value for '{name}': it is only allowed when 'tools' are specified."
                raise ApiError(400, what, param=name)
    if isinstance(request.tool_choice, str) and request.tool_choice not in (
        "none",
        "auto",
        "required",
    ):
        raise invalid("tool_choice", "supported values are: 'none', 'auto', and 'required'.")


def _check_format(request: Request) -> None:
    form = request.response_format
    if form and form.type not in ("text", "json_object", "json_schema"):
        raise invalid("response_format.type", "not a type.")
    if form and (form.type == "json_schema") != (form.json_schema is not None):
        raise missing("response_format.json_schema")
    if form and form.json_schema and form.json_schema.strict:
        check_strict(form.json_schema.schema, form.json_schema.name, "response_format")


def _functions(request: Request) -> tuple[Function, ...]:
    for index, tool in enumerate(request.tools or []):
        if tool.type == "function" and tool.function is None:
            raise missing(f"tools[{index}].function")
        if tool.function and tool.function.strict:
            name = tool.function.name
            check_strict(tool.function.parameters, name, f"tools[{index}].function.parameters")
    declared = [tool.function for tool in request.tools or [] if tool.function]
    choice = request.tool_choice
    if choice == "none":
        return ()
    if isinstance(choice, ToolChoice) and (wanted := choice.function):
        declared = [one for one in declared if one.name == wanted.name]
        if not declared:
            message = f"Tool choice '{wanted.name}' not found in 'tools'."
            raise ApiError(400, message, param="tool_choice")
    return tuple(Function(one.name, one.parameters) for one in declared)
