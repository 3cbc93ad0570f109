"""The objects that a request to the messages API consists of, and no other fields.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from extproc.stand_in.question import Schema
from extproc.stand_in.reading import Shape

CallId = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9_-]+\Z")]
ToolName = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9_-]{1,128}\Z")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CacheControl(Shape):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Marked(Shape):
    """What may be the end of a prefix that is cached."""

    cache_control: CacheControl | None = None


class Text(Marked, tag_field="type", tag="text", kw_only=True):
    text: str
    citations: Any = None


class Base64(Shape, tag_field="type", tag="base64"):
    media_type: str
    data: str


class Url(Shape, tag_field="type", tag="url"):
    url: str


class Stored(Shape, tag_field="type", tag="file"):
    file_id: str


class PlainText(Shape, tag_field="type", tag="text"):
    media_type: Literal["text/plain"]
    data: str


class Chunked(Shape, tag_field="type", tag="content"):
    content: str | list[Text]


class Image(Marked, tag_field="type", tag="image", kw_only=True):
    source: Base64 | Url | Stored


class Document(Marked, tag_field="type", tag="document", kw_only=True):
    source: Base64 | Url | Stored | PlainText | Chunked
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    context: str | None = None
    citations: Any = None


class Thinking(Shape, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class Redacted(Shape, tag_field="type", tag="redacted_thinking"):
    data: str


class ToolUse(Marked, tag_field="type", tag="tool_use", kw_only=True):
    id: CallId
    name: ToolName
    input: dict[str, Any]
    caller: Any = None
    toolset_name: str | None = None


class SearchResult(Marked, tag_field="type", tag="search_result", kw_only=True):
    source: str
    title: str
    content: list[Text]
    citations: Any = None


class ToolResult(Marked, tag_field="type", tag="tool_result", kw_only=True):
    tool_use_id: CallId
    content: str | list[Text | Image | Document | SearchResult] | None = None
    is_error: bool | None = None
    toolset_name: str | None = None


Block = Text | Image | Document | Thinking | Redacted | ToolUse | ToolResult | SearchResult


class Message(Shape):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class InputSchema(msgspec.Struct, frozen=True):
    type: Literal["object"]


class Tool(Marked, kw_only=True):
    """A tool of the client's; those that Anthropic runs have another `type`."""

    name: ToolName
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    allowed_callers: Any = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: Any = None


class ToolKind(msgspec.Struct, frozen=True):
    type: str | None = None
    cache_control: CacheControl | None = None


class ToolChoice(Shape):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Shape):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(Shape):
    type: Literal["json_schema"]
    schema: Schema


class OutputConfig(Shape):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class Metadata(Shape):
    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class Countable(Shape):
    """What a count of tokens takes, which is part of what an answer takes."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: list[msgspec.Raw]
    system: str | list[Text] | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    speed: Any = None
    user_profile_id: Any = None
    workspace_id: Any = None


class Request(Countable, kw_only=True):
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: Any = None
    diagnostics: Any = None
    inference_geo: str | None = None
