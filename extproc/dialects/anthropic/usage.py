"""Tokens as Anthropic counts them: `input_tokens` leaves out what the prompt cache has a part in.

Docs: platform.claude.com/docs/en/build-with-claude/prompt-caching (tracking cache performance).
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict

from extproc.dialects.answer import UsageTold


class _OutputDetails(Struct):
    thinking_tokens: int | None = None


class Usage(Struct):
    """Cumulative in a stream: what comes later stands for what came before."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None

    def merged(self, later: Usage) -> Usage:
        told = {name: value for name, value in asdict(later).items() if value is not None}
        return Usage(**(asdict(self) | told))

    def told(self) -> UsageTold:
        known = self.input_tokens is not None
        cached = (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        details = self.output_tokens_details
        return UsageTold(
            input_tokens=(self.input_tokens or 0) + cached if known else None,
            output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_input_tokens,
            cache_write_tokens=self.cache_creation_input_tokens,
            reasoning_tokens=details.thinking_tokens if details else None,
        )


def written_usage(told: UsageTold) -> dict[str, object]:
    """Numbers that nobody told are 0 where Anthropic's schema wants one, else absent."""
    read, write = told.cache_read_tokens or 0, told.cache_write_tokens or 0
    usage: dict[str, object] = {
        "input_tokens": max((told.input_tokens or 0) - read - write, 0),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": told.output_tokens or 0,
    }
    if told.reasoning_tokens is not None:
        usage["output_tokens_details"] = {"thinking_tokens": told.reasoning_tokens}
    return usage
