"""OpenAI chat completions: a client's request as a conversation in no dialect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from extproc.dialects.conversation import (
    Conversation,
    JsonText,
    OutputFormat,
    Reasoning,
    Tool,
    ToolChoice,
    UnreadableError,
)
from extproc.dialects.openai_chat import request_shape as shape
from extproc.dialects.openai_chat.message_reader import cache_mark, read_messages
from extproc.dialects.openai_chat.written import is_null
from extproc.dialects.reading import OUTPUT_TOKENS_MAX

_WHERE = re.compile(r"`\$\.?([^`]*)`")
_EFFORTS: Final = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
_INTEGER_MAX: Final = 2**63 - 1
"""What every API's number type and msgspec's writer hold."""


def read_request(body: bytes) -> Conversation:
    """All of `body` but its model. Raises `UnreadableError`."""
    request = _decoded(body)
    _refuse_what_no_conversation_holds(request)
    system, messages = read_messages(request.messages)
    tools = (*_tools(request.tools or ()), *map(_tool, request.functions or ()))
    choice, allowed = _tool_choice(request)
    return Conversation(
        system=system,
        messages=messages,
        stream=request.stream or False,
        tools=tuple([tool for tool in tools if allowed is None or tool.name in allowed]),
        tool_choice=choice,
        parallel_calls=_parallel_calls(request),
        output_format=_output_format(request.response_format),
        output_tokens_max=_output_tokens_max(request),
        reasoning=_reasoning(request.reasoning_effort),
        stop=_stop(request.stop),
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=_integer("top_k", request.top_k),
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=_integer("seed", request.seed),
        user=request.safety_identifier or request.user,
    )


def _decoded(body: bytes) -> shape.Request:
    try:
        body.decode()  # what stays bytes is not looked at by msgspec
        return shape.request.decode(body)
    except RecursionError:
        raise UnreadableError("body", "is nested too deeply") from None
    except UnicodeDecodeError:
        raise UnreadableError("body", "is not UTF-8") from None
    except msgspec.ValidationError as error:
        # msgspec's words name types and positions, never content.
        words, where = str(error), _WHERE.search(str(error))
        param = where[1] if where else "body"
        raise UnreadableError(param, "is not right: " + words.partition(" - at")[0]) from None
    except msgspec.DecodeError:
        raise UnreadableError("body", "is not valid JSON") from None


def _refuse_what_no_conversation_holds(request: shape.Request) -> None:
    """Each is a `Demand`, so that no such request is ever translated; none may get lost here."""
    for field, is_wanted in (
        ("n", request.n is not None and request.n > 1),
        ("logprobs", request.logprobs),
        ("top_logprobs", request.top_logprobs),
        ("modalities", "audio" in (request.modalities or ())),
        ("web_search_options", not is_null(request.web_search_options)),
        ("moderation", not is_null(request.moderation)),
    ):
        if is_wanted:
            raise UnreadableError(field, "asks for what this provider's API does not have")


def _tools(written: Sequence[shape.Tool]) -> Sequence[Tool]:
    for i, tool in enumerate(written):
        if tool.type != "function" or not tool.function:
            raise UnreadableError(f"tools[{i}]", "is no function")
    return [_tool(tool.function, tool.cache_control) for tool in written if tool.function]


def _tool(function: shape.Function, cache: shape.CacheControl | None = None) -> Tool:
    return Tool(
        function.name,
        function.description,
        _schema("tools.function.parameters", function.parameters),
        function.strict,
        cache_mark(cache or function.cache_control),
    )


def _schema(field: str, written: Raw) -> JsonText | None:
    if is_null(written):
        return None
    text = bytes(written).decode()
    if not text.startswith("{"):
        raise UnreadableError(field, "is no JSON object")
    return text


def _tool_choice(request: shape.Request) -> tuple[ToolChoice | None, frozenset[str] | None]:
    """The choice, and the names that it is among where it says so.

    No other API has `allowed_tools`; a request of those tools alone comes to the same.
    """
    choice = request.tool_choice if request.tool_choice is not None else request.function_call
    if choice is None:
        return None, None
    if isinstance(choice, str):
        return _mode("tool_choice", choice), None
    if isinstance(choice, shape.Named):
        return ToolChoice("named", choice.name), None
    if choice.type == "function" and choice.function:
        return ToolChoice("named", choice.function.name), None
    if choice.type == "allowed_tools" and choice.allowed_tools:
        allowed = choice.allowed_tools
        names = frozenset([tool.function.name for tool in allowed.tools if tool.function])
        return _mode("tool_choice.allowed_tools.mode", allowed.mode), names
    raise UnreadableError("tool_choice", "is none that is known here")


def _mode(field: str, word: str) -> ToolChoice:
    match word:
        case "auto":
            return ToolChoice("auto")
        case "none":
            return ToolChoice("none")
        case "required" | "any":  # the latter is Mistral's word
            return ToolChoice("any")
        case _:
            raise UnreadableError(field, "is none that is known here")


def _parallel_calls(request: shape.Request) -> bool | None:
    if request.functions and not request.tools:
        return False  # an answer to `functions` has room for one call
    return request.parallel_tool_calls


def _output_format(written: shape.ResponseFormat | None) -> OutputFormat | None:
    match written:
        case None | shape.ResponseFormat(type="text"):
            return None
        case shape.ResponseFormat(type="json_object"):
            return OutputFormat()
        case shape.ResponseFormat(type="json_schema", json_schema=shape.JsonSchema() as wanted):
            schema = _schema("response_format.json_schema.schema", wanted.schema)
            return OutputFormat(schema, wanted.name, wanted.description, wanted.strict)
        case _:
            raise UnreadableError("response_format", "is none that is known here")


def _stop(written: str | Sequence[str] | None) -> tuple[str, ...]:
    """An empty one would never be met."""
    stops = [written] if isinstance(written, str) else written or ()
    return tuple([stop for stop in stops if stop])


def _output_tokens_max(request: shape.Request) -> int | None:
    for name, limit in (
        ("max_completion_tokens", request.max_completion_tokens),
        ("max_tokens", request.max_tokens),
    ):
        if limit is not None:
            if limit < 1:
                raise UnreadableError(name, "is below 1")
            return min(limit, OUTPUT_TOKENS_MAX)
    return None


def _reasoning(effort: str | None) -> Reasoning | None:
    if effort is None:
        return None
    if effort not in _EFFORTS:
        raise UnreadableError("reasoning_effort", "is none that is known here")
    return Reasoning(_EFFORTS[effort])


def _integer(name: str, value: int | None) -> int | None:
    if value is not None and abs(value) > _INTEGER_MAX:
        raise UnreadableError(name, "is too large")
    return value
