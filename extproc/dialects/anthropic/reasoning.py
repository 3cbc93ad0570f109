"""How Anthropic says how much to think, and what that is in OpenAI's words.

Docs: platform.claude.com/docs/en/build-with-claude/extended-thinking, …/adaptive-thinking and
…/effort.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.conversation import Reasoning

BUDGET_TOKENS_MIN: Final = 1024
"""Of thinking; less is refused."""

TOP_P_MIN_THINKING: Final = 0.95
"""Less is refused while a model thinks."""

BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768}
"""Tokens to think with, by effort, for models that are given a budget."""


class Thinking(Struct):
    type: str = ""
    budget_tokens: int | None = None
    display: str | None = None


class OutputConfig(Struct):
    effort: str | None = None
    format: msgspec.Raw = msgspec.Raw()


_OFF: Final = {"disabled", "between_tools"}

_EFFORTS: Final = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
_DEFAULT_EFFORT: Final = "high"

_BUDGETS_FROM: Final = ((32_768, "xhigh"), (16_384, "high"), (4_096, "medium"))

thinking_field = msgspec.json.Decoder(Thinking | None)
output_config_field = msgspec.json.Decoder(OutputConfig | None)


def reasoning_of(thinking: Thinking | None, config: OutputConfig | None) -> Reasoning | None:
    """What both fields say together. An effort without `thinking` is taken for one to think."""
    effort = _EFFORTS.get((config and config.effort) or "")
    if thinking and thinking.type in _OFF:
        return Reasoning("none")
    if thinking and thinking.type == "enabled":
        return Reasoning(effort, thinking.budget_tokens, shown=thinking.display != "omitted")
    if thinking and thinking.type == "adaptive":
        return Reasoning(effort or _DEFAULT_EFFORT, shown=thinking.display != "omitted")
    return Reasoning(effort) if effort else None


def effort_of(reasoning: Reasoning) -> str | None:
    """The effort, or the one nearest to the budget."""
    if reasoning.effort or reasoning.budget_tokens is None:
        return reasoning.effort
    budget = reasoning.budget_tokens
    return next((effort for least, effort in _BUDGETS_FROM if budget >= least), "low")


def budget_of(reasoning: Reasoning) -> int:
    """The budget, or what stands for the effort; 0 for none."""
    if reasoning.budget_tokens is not None:
        return max(reasoning.budget_tokens, BUDGET_TOKENS_MIN)
    return BUDGETS.get(reasoning.effort or "", 0)
