"""Anthropic messages: a request, written for a provider that speaks them natively.

Docs: platform.claude.com/docs/en/api/messages. What a model of which generation takes is in
`models`; what is left out or bent to fit is listed in docs/dialects.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from extproc.dialects.anthropic.models import Ways, ways_of
from extproc.dialects.anthropic.reasoning import (
    BUDGET_TOKENS_MIN,
    TOP_P_MIN_THINKING,
    budget_of,
    effort_of,
)
from extproc.dialects.anthropic.schemas import enforceable, input_schema, strict_input_schema
from extproc.dialects.anthropic.turns import (
    Block,
    Turn,
    bars_thinking,
    called_names,
    drop_first_marks,
    marked,
    system_blocks,
    turns_of,
)
from extproc.dialects.conversation import (
    Conversation,
    Demand,
    OutputFormat,
    Reasoning,
    Tool,
    Wording,
)
from extproc.dialects.json_instruction import json_instruction
from extproc.dialects.payload import endpoint_of, model_prefix
from extproc.vocabulary import Model, Surface, Target

OUTPUT_TOKENS_DEFAULT: Final = 4096
"""Where neither the client nor the config says how much a model may answer; Anthropic must know."""

USER_CHARS_MAX: Final = 256
"""Of `metadata.user_id`."""

LACKS: Final = frozenset(Demand) - {
    Demand.LINKED_IMAGES,
    Demand.LINKED_DOCUMENTS,
    Demand.IMAGES_IN_RESULTS,
}

_CHOICES: Final = {"auto": "auto", "any": "any", "named": "tool", "none": "none"}
_NEAREST_EFFORT: Final = {"minimal": "low", "xhigh": "high"}


@dataclass(frozen=True, slots=True)
class _Thought:
    """How a request says how much to think, and what room an answer then needs."""

    max_tokens: int
    thinking: Block | None = None
    effort: str | None = None

    @property
    def on(self) -> bool:
        return self.thinking is not None and self.thinking["type"] != "disabled"


@dataclass(frozen=True, slots=True)
class _Format:
    """How an answer in JSON is asked for: by a field, or in words where a model can't be held."""

    field: Block | None = None
    instruction: str | None = None


def write_request(conversation: Conversation, target: Target) -> Wording:
    """The request as `target` is to be asked."""
    ways = ways_of(target.upstream_model)
    turns = turns_of(conversation.messages, prefill=ways.prefill)
    output_format = _format(conversation.output_format, ways)
    thought = _thought(conversation, ways, turns, target.model)
    system = system_blocks(conversation.system, output_format.instruction)
    tools = _tools(conversation.tools, ways) or _bare_tools(turns)
    drop_first_marks([*tools, *system, *_with_inner(turns)])
    body: dict[str, object] = {"max_tokens": thought.max_tokens}
    if conversation.stream:
        body["stream"] = True
    if system:
        body["system"] = system
    if tools:
        body["tools"] = tools
        body |= _tool_choice(conversation, ways)
    body |= _output_config(output_format, thought)
    body |= _sampling(conversation, ways, thinking=thought.on)
    if conversation.user and len(conversation.user) <= USER_CHARS_MAX:
        body["metadata"] = {"user_id": conversation.user}
    body["messages"] = [{"role": role, "content": blocks} for role, blocks in turns]
    endpoint = endpoint_of(target, Surface.MESSAGES)
    return Wording(endpoint, model_prefix(target.upstream_model), msgspec.json.encode(body)[1:])


def _with_inner(turns: Sequence[Turn]) -> list[Block]:
    """Every block in the order of the prompt: what a result holds comes before its own mark."""
    found: list[Block] = []
    for _, blocks in turns:
        for block in blocks:
            content = block.get("content")
            found += content if isinstance(content, list) else ()
            found.append(block)
    return found


def _tools(tools: Sequence[Tool], ways: Ways) -> list[Block]:
    return [marked(_tool(tool, ways), tool.cache) for tool in tools]


def _tool(tool: Tool, ways: Ways) -> Block:
    block: Block = {"name": tool.name}
    if tool.description:
        block["description"] = tool.description
    held = strict_input_schema(tool.parameters) if tool.strict and ways.schemas else None
    block["input_schema"] = held or input_schema(tool.parameters)
    if held:
        block["strict"] = True
    return block


def _bare_tools(turns: Sequence[Turn]) -> list[Block]:
    """Anthropic refuses calls in the history of a request that defines no tools."""
    return [{"name": name, "input_schema": input_schema(None)} for name in called_names(turns)]


def _forces_call(conversation: Conversation) -> bool:
    choice = conversation.tool_choice
    return bool(conversation.tools) and choice is not None and choice.mode in {"any", "named"}


def _tool_choice(conversation: Conversation, ways: Ways) -> Mapping[str, Block]:
    if not conversation.tools:
        return {"tool_choice": {"type": "none"}}
    choice = conversation.tool_choice
    mode = choice.mode if choice else "auto"
    if _forces_call(conversation) and not ways.forced_calls:
        mode = "auto"
    written: Block = {"type": _CHOICES[mode]}
    if choice and mode == "named":
        written["name"] = choice.name
    if conversation.parallel_calls is False and mode != "none":
        written["disable_parallel_tool_use"] = True
    return {"tool_choice": written} if written != {"type": "auto"} else {}


def _format(wanted: OutputFormat | None, ways: Ways) -> _Format:
    if wanted is None:
        return _Format()
    held = enforceable(wanted.schema) if wanted.schema and ways.schemas else None
    if held:
        return _Format(field={"type": "json_schema", "schema": held})
    return _Format(instruction=json_instruction(wanted.schema))


def _output_config(output_format: _Format, thought: _Thought) -> Mapping[str, Block]:
    config: Block = {}
    if thought.effort:
        config["effort"] = thought.effort
    if output_format.field:
        config["format"] = output_format.field
    written = {"output_config": config} if config else {}
    return written | ({"thinking": thought.thinking} if thought.thinking else {})


def _thought(
    conversation: Conversation, ways: Ways, turns: Sequence[Turn], model: Model
) -> _Thought:
    reasoning = conversation.reasoning
    given, most = conversation.output_tokens_max, model.output_tokens_max
    room = min(given, most) if given and most else given or most or OUTPUT_TOKENS_DEFAULT
    if _forces_call(conversation) and ways.forced_calls:
        return _at_rest(room, ways)  # to force a call is refused while thinking
    if reasoning is None or ways.thinking == "none":
        return _Thought(room)
    if effort_of(reasoning) == "none":
        return _at_rest(room, ways)
    if ways.thinking == "adaptive":
        return _adaptive(reasoning, room, ways)
    budget = budget_of(reasoning)
    if not budget or bars_thinking(turns):
        return _Thought(room)
    if given is None:
        wanted = budget + OUTPUT_TOKENS_DEFAULT
        room = max(room, min(wanted, most or wanted))
    return _budgeted(budget, room)


def _at_rest(room: int, ways: Ways) -> _Thought:
    if ways.at_rest == "lowest":
        return _Thought(room, effort="low")
    disabled: Block | None = {"type": "disabled"} if ways.at_rest == "disabled" else None
    return _Thought(room, disabled)


def _adaptive(reasoning: Reasoning, room: int, ways: Ways) -> _Thought:
    effort = effort_of(reasoning)
    if effort is None and ways.at_rest == "silence":
        return _Thought(room)
    thinking: Block = {"type": "adaptive"}
    if reasoning.shown is not None:
        thinking["display"] = "summarized" if reasoning.shown else "omitted"
    return _Thought(room, thinking, _known_effort(effort, ways))


def _known_effort(effort: str | None, ways: Ways) -> str | None:
    if effort is None or effort in ways.efforts:
        return effort
    return _NEAREST_EFFORT.get(effort)


def _budgeted(budget: int, room: int) -> _Thought:
    """A budget has to be below `max_tokens`: one that isn't gets half of the room, or nothing."""
    if budget >= room:
        budget = max(room // 2, BUDGET_TOKENS_MIN)
    if budget >= room:
        return _Thought(room)
    return _Thought(room, {"type": "enabled", "budget_tokens": budget})


def _sampling(conversation: Conversation, ways: Ways, *, thinking: bool) -> Mapping[str, object]:
    """Temperature from 0 to 1, or else top_p: newer models refuse both at once."""
    written: dict[str, object] = {}
    stop = [text for text in conversation.stop if text.strip()]
    if stop:
        written["stop_sequences"] = stop
    if not ways.sampling:
        return written
    top_p = conversation.top_p
    if thinking:
        if top_p is not None and TOP_P_MIN_THINKING <= top_p <= 1:
            written["top_p"] = top_p
        return written
    if conversation.temperature is not None:
        written["temperature"] = min(max(conversation.temperature, 0.0), 1.0)
    elif top_p is not None:
        written["top_p"] = top_p
    if conversation.top_k is not None:
        written["top_k"] = conversation.top_k
    return written
