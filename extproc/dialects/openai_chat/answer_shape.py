"""The fields of a chat completion, whole or in chunks, as OpenAI and those like it write them.

Whatever may come in more than one shape stays bytes here, and is read leniently by who needs it.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.openai_chat.written import NULL


class Function(Struct):
    name: str | None = None
    arguments: Raw = NULL


class Call(Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Raw = NULL


class Delta(Struct):
    """`content` may be a list of parts (Mistral's reasoning models)."""

    content: Raw = NULL
    refusal: str | None = None
    reasoning_content: Raw = NULL
    reasoning: Raw = NULL
    tool_calls: list[Call] | None = None
    function_call: Function | None = None


class Choice(Struct):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    error: Raw = NULL


class Answer(Struct):
    """A whole answer, or one chunk."""

    object: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Raw = NULL
    error: Raw = NULL


class PromptDetails(Struct):
    cached_tokens: float | None = None
    cache_write_tokens: float | None = None


class CompletionDetails(Struct):
    reasoning_tokens: float | None = None


class Usage(Struct):
    """Beside OpenAI's: DeepSeek's name for what was read from its cache, LiteLLM's for writes."""

    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: float | None = None
    cache_creation_input_tokens: float | None = None


class ContentPart(Struct):
    """Of Mistral's content: https://docs.mistral.ai/capabilities/reasoning/."""

    type: str = "text"
    text: str | None = None
    thinking: str | list[ContentPart] | None = None


answer = msgspec.json.Decoder(Answer)
usage = msgspec.json.Decoder(Usage)
content_parts = msgspec.json.Decoder(list[ContentPart])
text = msgspec.json.Decoder(str)
