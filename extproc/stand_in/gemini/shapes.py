"""The objects that a request to Gemini consists of, and no other fields.

Protobuf's JSON takes `snake_case` names as well as these; the reference knows only these.
https://ai.google.dev/api/generate-content and https://ai.google.dev/api/caching
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from extproc.stand_in.reading import CamelShape

FunctionName = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}\Z")]


class Blob(CamelShape):
    mime_type: str
    data: str
    display_name: str | None = None


class FileData(CamelShape):
    file_uri: str
    mime_type: str | None = None


class FunctionCall(CamelShape):
    name: str
    args: dict[str, Any] | None = None
    id: str | None = None


class FunctionResponse(CamelShape):
    name: str
    response: dict[str, Any]
    id: str | None = None
    parts: list[dict[str, Blob]] | None = None
    will_continue: bool | None = None
    scheduling: str | None = None


class Part(CamelShape):
    """Exactly one of the first seven, and what is said about it."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: Any = None
    code_execution_result: Any = None
    thought: bool | None = None
    thought_signature: str | None = None
    video_metadata: Any = None
    media_resolution: Any = None
    part_metadata: Any = None


class Content(CamelShape):
    parts: tuple[Part, ...] = ()
    role: str | None = None


class Schema(CamelShape):
    """OpenAPI's subset; JSON Schema has a field of its own."""

    type: str | None = None
    format: str | None = None
    title: str | None = None
    description: str | None = None
    nullable: bool | None = None
    enum: list[str] | None = None
    items: Schema | None = None
    max_items: int | str | None = None
    min_items: int | str | None = None
    properties: dict[str, Schema] | None = None
    required: list[str] | None = None
    min_properties: int | str | None = None
    max_properties: int | str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | str | None = None
    max_length: int | str | None = None
    pattern: str | None = None
    example: Any = None
    any_of: list[Schema] | None = None
    property_ordering: list[str] | None = None
    default: Any = None


class FunctionDeclaration(CamelShape):
    name: FunctionName
    description: str | None = None
    behavior: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | bool | None = None
    response: Schema | None = None
    response_json_schema: Any = None


class Tool(CamelShape):
    function_declarations: list[FunctionDeclaration] | None = None
    google_search: Any = None
    google_search_retrieval: Any = None
    code_execution: Any = None
    computer_use: Any = None
    url_context: Any = None
    file_search: Any = None
    google_maps: Any = None
    mcp_servers: Any = None


class FunctionCallingConfig(CamelShape):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: list[str] | None = None


class ToolConfig(CamelShape):
    function_calling_config: FunctionCallingConfig | None = None
    retrieval_config: Any = None
    include_server_side_tool_invocations: bool | None = None


class ThinkingConfig(CamelShape):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: (
        Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high"] | None
    ) = None


class GenerationConfig(CamelShape):
    stop_sequences: list[str] | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | bool | None = None
    response_modalities: list[str] | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    enable_enhanced_civic_answers: bool | None = None
    speech_config: Any = None
    thinking_config: ThinkingConfig | None = None
    image_config: Any = None
    media_resolution: str | None = None


class SafetySetting(CamelShape):
    category: str
    threshold: str


class Request(CamelShape):
    contents: tuple[msgspec.Raw, ...] = ()
    system_instruction: Content | None = None
    tools: list[Tool] | None = None
    tool_config: ToolConfig | None = None
    safety_settings: list[SafetySetting] | None = None
    generation_config: GenerationConfig | None = None
    cached_content: str | None = None
    model: str | None = None
    store: bool | None = None
    service_tier: str | None = None
