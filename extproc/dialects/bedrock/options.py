"""What a request sets beside its content: limits, sampling, and how much to think."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.dialects.anthropic.reasoning import (
    BUDGET_TOKENS_MIN,
    BUDGETS,
    TOP_P_MIN_THINKING,
    effort_of,
)
from extproc.dialects.bedrock.blocks import Block
from extproc.dialects.bedrock.models import Traits
from extproc.dialects.conversation import Conversation, Reasoning
from extproc.vocabulary import Target

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
_TEMPERATURE_MAX: Final = 1.0


@dataclass(frozen=True, slots=True)
class Thought:
    """How thinking is asked for: with a budget or, without one, adaptive with an effort."""

    budget_tokens: int | None = None
    effort: str | None = None
    display: str | None = None


def thinking_of(
    conversation: Conversation, output_tokens_max: int | None, traits: Traits
) -> Thought | None:
    """None where nothing is asked or the model can't: other families think as they please."""
    wanted = conversation.reasoning
    if not wanted or not traits.thinking or not _is_wanted(wanted):
        return None
    choice = conversation.tool_choice
    if choice and choice.mode in ("any", "named"):
        return None  # "Tool choice" of the page on extended thinking: the two exclude each other
    if traits.thinking == "adaptive":
        return _adaptive(wanted, traits)
    budget = _budget(wanted, _output_limit(conversation, output_tokens_max))
    return Thought(budget_tokens=budget) if budget else None


def _is_wanted(reasoning: Reasoning) -> bool:
    return reasoning.budget_tokens is not None or reasoning.effort not in (None, "none")


def _adaptive(wanted: Reasoning, traits: Traits) -> Thought:
    shown = {None: None, True: "summarized", False: "omitted"}[wanted.shown]
    return Thought(
        effort=_EFFORTS.get(effort_of(wanted) or "", "xhigh" if traits.late else "high"),
        display=shown if traits.late else None,
    )


def _budget(wanted: Reasoning, limit: int | None) -> int | None:
    """Tokens to think with, which count as output; None where the limit leaves too few.

    An effort takes at most half of the limit, so that an answer fits too.
    """
    if wanted.budget_tokens is not None:
        budget, most = wanted.budget_tokens, limit - 1 if limit else None
    else:
        budget, most = (
            BUDGETS.get(wanted.effort or "", BUDGETS["high"]),
            limit // 2 if limit else None,
        )
    budget = max(budget, BUDGET_TOKENS_MIN)
    if most is not None:
        budget = min(budget, most)
    return budget if budget >= BUDGET_TOKENS_MIN else None


def _output_limit(conversation: Conversation, most: int | None) -> int | None:
    wanted = conversation.output_tokens_max
    return wanted if most is None or (wanted and wanted < most) else most


def inference(
    conversation: Conversation, target: Target, traits: Traits, thinking: Thought | None
) -> Block:
    temperature, top_p = conversation.temperature, conversation.top_p
    if thinking or traits.sampling == "none":
        temperature = None
    if traits.sampling == "none" or (traits.sampling == "one" and temperature is not None):
        top_p = None
    if thinking and top_p is not None and top_p < TOP_P_MIN_THINKING:
        top_p = None
    limit = _output_limit(conversation, target.model.output_tokens_max)
    fields: Block = {
        # Without it, Converse lets the model answer with as much as it can.
        "maxTokens": limit if conversation.output_tokens_max is not None else None,
        "temperature": temperature if temperature is None else min(temperature, _TEMPERATURE_MAX),
        "topP": top_p,
        "stopSequences": [stop for stop in conversation.stop if stop] or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def model_fields(conversation: Conversation, traits: Traits, thinking: Thought | None) -> Block:
    """What goes to the model as it is, in the words of its own API."""
    fields: Block = {}
    if thinking and thinking.budget_tokens:
        fields["thinking"] = {"type": "enabled", "budget_tokens": thinking.budget_tokens}
    elif thinking:
        display = {"display": thinking.display} if thinking.display else {}
        fields["thinking"] = {"type": "adaptive"} | display
    if conversation.top_k is not None and traits.top_k and not thinking:
        fields["top_k"] = conversation.top_k
    return fields
