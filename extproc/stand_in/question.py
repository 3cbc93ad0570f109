"""What a chat-completions request asks, read as OpenAI reads it; fields without effect are skipped.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from extproc.stand_in.errors import ApiError

Tokens = Annotated[int, msgspec.Meta(ge=1)]
Schema = dict[str, Any] | bool
T = TypeVar("T")


class Function(msgspec.Struct, frozen=True):
    name: str
    parameters: Schema | None = None


class Tool(msgspec.Struct, frozen=True):
    function: Function | None = None  # absent in the other kinds of tool, which are never called


class Part(msgspec.Struct, frozen=True):
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class JsonSchema(msgspec.Struct, frozen=True):
    schema: Schema | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request that can be answered; `read` is the only place that makes one."""

    model: str = ""
    messages: list[msgspec.Raw] = []  # only the last is read: a prompt may be megabytes
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None
    response_format: ResponseFormat | None = None

    @property
    def tokens_max(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def prompt_bytes(self) -> int:
        return sum(len(bytes(message)) for message in self.messages)

    def last_message(self) -> Message:
        return _decode(bytes(self.messages[-1]), Message)

    def called_function(self) -> Function | None:
        """The function that an obliging model would call: the one that was named, else the first.

        Raises `ApiError` if the named one is not among the tools.
        """
        functions = [tool.function for tool in self.tools or [] if tool.function]
        if isinstance(self.tool_choice, Tool) and (wanted := self.tool_choice.function):
            functions = [one for one in functions if one.name == wanted.name]
            if not functions:
                raise ApiError(
                    400, f"Tool choice '{wanted.name}' not found in 'tools'.", param="tool_choice"
                )
        return functions[0] if functions and self.tool_choice != "none" else None


def read(body: bytes) -> Question:
    """Read one payload; raises `ApiError` (400) for what OpenAI would refuse as well."""
    question = _decode(body, Question)
    if not question.model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if not question.messages:
        raise ApiError(
            400,
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if question.stream_options and not question.stream:
        raise ApiError(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return question


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ApiError(400, str(error), code="invalid_type") from None
    except (ValueError, RecursionError):
        raise ApiError(400, "We could not parse the JSON body of your request.") from None
