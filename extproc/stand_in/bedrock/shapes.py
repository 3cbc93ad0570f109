"""The objects that a Converse request consists of, and no other fields.

Where the reference says union, exactly one field is set.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from extproc.stand_in.question import Schema
from extproc.stand_in.reading import CamelShape

CallId = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9_.:-]{1,64}\Z")]
ToolName = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9_-]{1,64}\Z")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class CachePoint(CamelShape):
    type: Literal["default"]
    ttl: Literal["5m", "1h"] | None = None


class S3Location(CamelShape):
    uri: str
    bucket_owner: str | None = None


class DocumentText(CamelShape):
    text: str


class Source(CamelShape):
    """A union; `text` and `content` are for documents only."""

    bytes: str | None = None
    s3_location: S3Location | None = None
    text: str | None = None
    content: list[DocumentText] | None = None


class Image(CamelShape):
    format: Literal["png", "jpeg", "gif", "webp"]
    source: Source


class Document(CamelShape):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    source: Source
    format: Literal["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"] | None = None
    context: str | None = None
    citations: Any = None


class ToolUse(CamelShape):
    tool_use_id: CallId
    name: ToolName
    input: dict[str, Any]
    type: str | None = None


class ResultContent(CamelShape):
    """A union."""

    text: str | None = None
    json: Any = None
    image: Image | None = None
    document: Document | None = None
    video: Any = None
    search_result: Any = None


class ToolResult(CamelShape):
    tool_use_id: CallId
    content: list[ResultContent]
    status: Literal["success", "error"] | None = None
    type: str | None = None


class ReasoningText(CamelShape):
    text: str
    signature: str | None = None


class ReasoningContent(CamelShape):
    """A union."""

    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class Block(CamelShape):
    """A union."""

    text: str | None = None
    image: Image | None = None
    document: Document | None = None
    video: Any = None
    audio: Any = None
    tool_use: ToolUse | None = None
    tool_result: ToolResult | None = None
    guard_content: Any = None
    cache_point: CachePoint | None = None
    reasoning_content: ReasoningContent | None = None
    citations_content: Any = None
    search_result: Any = None


class Message(CamelShape):
    role: Literal["user", "assistant"]
    content: list[Block]


class SystemBlock(CamelShape):
    """A union."""

    text: str | None = None
    guard_content: Any = None
    cache_point: CachePoint | None = None


class InputSchema(CamelShape):
    json: Schema


class ToolSpec(CamelShape):
    name: ToolName
    input_schema: InputSchema
    description: NonEmpty | None = None
    strict: bool | None = None


class Tool(CamelShape):
    """A union."""

    tool_spec: ToolSpec | None = None
    cache_point: CachePoint | None = None
    system_tool: Any = None


class Empty(CamelShape):
    pass


class Named(CamelShape):
    name: ToolName


class ToolChoice(CamelShape):
    """A union."""

    auto: Empty | None = None
    any: Empty | None = None
    tool: Named | None = None


class ToolConfig(CamelShape):
    tools: Annotated[list[Tool], msgspec.Meta(min_length=1)]
    tool_choice: ToolChoice | None = None


class InferenceConfig(CamelShape):
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    stop_sequences: Annotated[list[NonEmpty], msgspec.Meta(max_length=2500)] | None = None


class JsonSchema(CamelShape):
    """`schema` is the text of one, not an object."""

    schema: str
    name: str | None = None
    description: str | None = None


class Structure(CamelShape):
    json_schema: JsonSchema


class TextFormat(CamelShape):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(CamelShape):
    text_format: TextFormat | None = None
    effort: str | None = None


class Request(CamelShape):
    messages: tuple[msgspec.Raw, ...] = ()
    system: list[SystemBlock] | None = None
    inference_config: InferenceConfig | None = None
    tool_config: ToolConfig | None = None
    output_config: OutputConfig | None = None
    guardrail_config: Any = None
    additional_model_request_fields: dict[str, Any] | None = None
    additional_model_response_field_paths: list[str] | None = None
    prompt_variables: Any = None
    request_metadata: dict[str, str] | None = None
    performance_config: Any = None
    service_tier: Any = None
