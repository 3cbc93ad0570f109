"""The fields of POST /v1/chat/completions that another API's request can be made of.

Types are as wide as clients write them. No literals and no tagged unions: msgspec would quote what
it found instead.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.openai_chat.written import NULL


class CacheControl(Struct):
    """Anthropic's mark, which clients of OpenRouter and LiteLLM put into this dialect."""

    ttl: str | None = None


class ImageUrl(Struct):
    url: str
    detail: str | None = None


class InputAudio(Struct):
    data: str
    format: str


class File(Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | ImageUrl | None = None
    input_audio: InputAudio | None = None
    file: File | None = None
    cache_control: CacheControl | None = None


class Named(Struct):
    name: str


class CalledFunction(Struct):
    name: str
    arguments: str = ""


class Google(Struct):
    thought_signature: str | None = None


class ExtraContent(Struct):
    """Of Gemini's OpenAI-compatible API: https://ai.google.dev/gemini-api/docs/openai."""

    google: Google | None = None


class Call(Struct):
    id: str
    type: str = "function"
    function: CalledFunction | None = None
    extra_content: ExtraContent | None = None


class Message(Struct):
    role: str
    content: str | list[Part] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: CalledFunction | None = None
    tool_call_id: str | None = None
    name: str | None = None
    audio: Raw = NULL
    cache_control: CacheControl | None = None


class Function(Struct):
    name: str
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None
    cache_control: CacheControl | None = None


class Tool(Struct):
    type: str = "function"
    function: Function | None = None
    cache_control: CacheControl | None = None


class AllowedTool(Struct):
    function: Named | None = None


class AllowedTools(Struct):
    mode: str
    tools: list[AllowedTool]


class ToolChoice(Struct):
    type: str = "function"
    function: Named | None = None
    allowed_tools: AllowedTools | None = None


class JsonSchema(Struct):
    name: str | None = None
    description: str | None = None
    schema: Raw = NULL
    strict: bool | None = None


class ResponseFormat(Struct):
    type: str = "text"
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class Request(Struct):
    """What is not here is either dropped or refused; docs/dialects.md has the list."""

    messages: list[Message]
    stream: bool | None = None
    tools: list[Tool] | None = None
    functions: list[Function] | None = None
    tool_choice: str | ToolChoice | None = None
    function_call: str | Named | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    n: float | None = None
    logprobs: bool | None = None
    top_logprobs: float | None = None
    modalities: list[str] | None = None
    web_search_options: Raw = NULL
    moderation: Raw = NULL


request = msgspec.json.Decoder(Request)
