"""What a chat completion tells of the tokens that it took."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from extproc.dialects.answer import UsageTold
from extproc.dialects.openai_chat import answer_shape as shape
from extproc.dialects.openai_chat.written import lenient

_TOKENS_MAX: Final = 2**53
"""More is no count of tokens."""


def usage_told(written: Raw) -> UsageTold | None:
    """None where nothing is told, or nothing that can be read.

    `prompt_tokens` counts what was read from the cache or written to it, `completion_tokens` what
    was thought, as does `UsageTold`. Cache writes: `prompt_tokens_details.cache_write_tokens` of
    OpenAI and OpenRouter, `cache_creation_input_tokens` of LiteLLM.
    """
    usage = lenient(shape.usage, written)
    if usage is None:
        return None
    prompt = usage.prompt_tokens_details or shape.PromptDetails()
    completion = usage.completion_tokens_details or shape.CompletionDetails()
    told = UsageTold(
        input_tokens=_count(usage.prompt_tokens),
        output_tokens=_count(usage.completion_tokens),
        cache_read_tokens=_first(prompt.cached_tokens, usage.prompt_cache_hit_tokens),
        cache_write_tokens=_first(prompt.cache_write_tokens, usage.cache_creation_input_tokens),
        reasoning_tokens=_count(completion.reasoning_tokens),
    )
    return None if told == UsageTold() else told


def _first(*written: float | None) -> int | None:
    return next((_count(number) for number in written if number is not None), None)


def _count(written: float | None) -> int | None:
    return int(written) if written is not None and 0 <= written <= _TOKENS_MAX else None
