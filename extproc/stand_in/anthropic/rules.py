"""The messages API: what fits its shapes and is refused nevertheless.

https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use
https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from extproc.stand_in.anthropic.shapes import (
    Block,
    Countable,
    Message,
    Redacted,
    Request,
    Text,
    Thinking,
    ToolKind,
    ToolResult,
    ToolUse,
)
from extproc.stand_in.errors import ApiError
from extproc.stand_in.signature import CLAUDE, is_own, sign
from extproc.stand_in.strict import open_object

BUDGET_TOKENS_MIN: Final = 1024
MARKS_MAX: Final = 4
THINKING_TOP_P_MIN: Final = 0.95

_EITHER_SAMPLING: Final = re.compile(r"claude-(opus-4-[1-9]\b|(sonnet|haiku)-4-[5-9]\b)")
"""Models since Opus 4.1, which take a temperature or a top_p and not both."""


def check_turns(turns: Sequence[Message], *, thinks: bool) -> None:
    if not turns:
        raise ApiError(400, "messages: at least one message is required")
    if turns[0].role != "user":
        raise ApiError(400, 'messages: first message must use the "user" role')
    for index, turn in enumerate(turns):
        is_prefill = index == len(turns) - 1 and turn.role == "assistant"
        if not turn.content and not is_prefill:
            what = "all messages must have non-empty content except for the optional final"
            raise ApiError(400, f"messages.{index}: {what} assistant message")
        for number, block in enumerate(_blocks(turn)):
            _check_block(block, turn.role, f"messages.{index}.content.{number}")
    _check_calls(turns)
    _check_last(turns, thinks=thinks)


def _check_block(block: Block, role: str, place: str) -> None:
    allowed = isinstance(block, Text) or (
        role != "system"
        and isinstance(block, Thinking | Redacted | ToolUse) == (role == "assistant")
    )
    if not allowed:
        kind = type(block).__struct_config__.tag
        raise ApiError(400, f"{place}: `{kind}` blocks are not allowed in `{role}` messages")
    match block:
        case Text(text=""):
            raise ApiError(400, "messages: text content blocks must be non-empty")
        case Text(text=text) if not text.strip():
            raise ApiError(400, "messages: text content blocks must contain non-whitespace text")
        case Thinking(thinking=thought, signature=signature) if not _is_signed(thought, signature):
            raise ApiError(400, f"{place}: Invalid `signature` in `thinking` block")
        case Redacted():
            raise ApiError(400, f"{place}: Invalid `data` in `redacted_thinking` block")
        case ToolResult(content=[*parts]) if any(
            isinstance(part, Text) and not part.text for part in parts
        ):
            raise ApiError(400, "messages: text content blocks must be non-empty")


def _is_signed(thought: str, signature: str) -> bool:
    """Thought that was not shown comes back empty, with the signature of what it was."""
    return is_own(CLAUDE, signature) if not thought else signature == sign(CLAUDE, thought)


def _check_calls(turns: Sequence[Message]) -> None:
    """Results stand first in the turn directly after their calls, one for each."""
    called: list[str] = []
    merged = _merged(turns)
    for index, turn in enumerate(merged):
        place = f"messages.{index}"
        answered = _leading_results(turn)
        everywhere = [block.tool_use_id for block in turn if isinstance(block, ToolResult)]
        for number, one in enumerate(everywhere):
            if one not in called:
                raise ApiError(
                    400,
                    f"{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {one}. Each `tool_result` block must have a corresponding "
                    "`tool_use` block in the previous message.",
                )
        if len(set(everywhere)) < len(everywhere):
            what = "each tool_use must have a single result. Found multiple `tool_result` blocks"
            raise ApiError(400, f"{place}.content: {what}")
        if left := [one for one in called if one not in answered]:
            raise _unanswered(index - 1, left)
        called = [block.id for block in turn if isinstance(block, ToolUse)]
        if len(set(called)) < len(called):
            raise ApiError(400, f"{place}.content: `tool_use` ids must be unique")
        if called and index == len(merged) - 1:
            raise _unanswered(index, called)


def _unanswered(index: int, ids: Sequence[str]) -> ApiError:
    return ApiError(
        400,
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` "
        "block in the next message.",
    )


def _check_last(turns: Sequence[Message], *, thinks: bool) -> None:
    last = turns[-1]
    if last.role == "assistant":
        if thinks:
            what = "a prefilled assistant message is not supported when thinking is enabled"
            raise ApiError(400, f"messages: {what}")
        text = last.content if isinstance(last.content, str) else _final_text(last.content)
        if text != text.rstrip():
            what = "final assistant content cannot end with trailing whitespace"
            raise ApiError(400, f"messages: {what}")
    if thinks and any(isinstance(block, ToolResult) for block in _blocks(last)):
        _check_thought_before(turns)


def _check_thought_before(turns: Sequence[Message]) -> None:
    """Within a loop of calls, what led to them must come back."""
    index = max(i for i, turn in enumerate(turns) if turn.role == "assistant")
    blocks = _blocks(turns[index])
    if blocks and not isinstance(blocks[0], Thinking | Redacted):
        raise ApiError(
            400,
            f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block "
            "(preceding the lastmost set of `tool_use` and `tool_result` blocks).",
        )


def check_system(request: Countable) -> None:
    system = request.system
    if isinstance(system, list) and not all(block.text.strip() for block in system):
        raise ApiError(400, "system: text content blocks must be non-empty")


def check_marks(request: Countable) -> None:
    """At most four, and those that are kept for an hour before those that are not."""
    system = request.system if isinstance(request.system, list) else []
    tools = [msgspec.json.decode(bytes(raw), type=ToolKind) for raw in request.tools or []]
    marks: list[str | None]
    marks = [tool.cache_control.ttl for tool in tools if tool.cache_control]
    marks += [block.cache_control.ttl for block in system if block.cache_control]
    marks += _marks([msgspec.json.decode(bytes(raw)) for raw in request.messages])
    marks += [request.cache_control.ttl] if request.cache_control else []
    if len(marks) > MARKS_MAX:
        what = f"A maximum of {MARKS_MAX} blocks with cache_control may be provided."
        raise ApiError(400, f"{what} Found {len(marks)}.")
    hours = [mark == "1h" for mark in marks]
    if hours != sorted(hours, reverse=True):
        what = "a ttl='1h' cache_control block must not come after a ttl='5m' one"
        raise ApiError(400, f"cache_control: {what}")


def _marks(value: Any) -> Iterator[str | None]:  # noqa: ANN401  any JSON
    """Where content may have a mark: not in a call's input."""
    if isinstance(value, list):
        for one in value:
            yield from _marks(one)
    elif isinstance(value, dict):
        if isinstance(value.get("content"), list):
            yield from _marks(value["content"])
        if mark := value.get("cache_control"):
            yield mark.get("ttl")


def check_strict(schema: object, place: str) -> None:
    found = open_object(schema)
    if found is not None:
        what = "For 'object' type, 'additionalProperties' must be explicitly set to false"
        raise ApiError(400, f"{place}: {what}")


def check_choice(request: Countable, names: Sequence[str]) -> None:
    choice = request.tool_choice
    if choice is None:
        return
    if not request.tools:
        raise ApiError(400, "tool_choice: may only be specified while providing tools")
    if (choice.type == "tool") != (choice.name is not None):
        raise ApiError(400, "tool_choice.tool.name: Field required, and only there")
    if choice.name is not None and choice.name not in names:
        raise ApiError(400, f"tool_choice.tool.name: Tool '{choice.name}' not found in tools")


def check_thinking(request: Request) -> None:
    thinking = request.thinking
    if thinking is None or thinking.type == "disabled":
        return
    if thinking.type == "enabled":
        budget = thinking.budget_tokens
        if budget is None:
            raise ApiError(400, "thinking.enabled.budget_tokens: Field required")
        if budget < BUDGET_TOKENS_MIN:
            what = f"Input should be greater than or equal to {BUDGET_TOKENS_MIN}"
            raise ApiError(400, f"thinking.enabled.budget_tokens: {what}")
        if budget >= request.max_tokens:
            what = "`max_tokens` must be greater than `thinking.budget_tokens`"
            raise ApiError(400, what)
    elif thinking.budget_tokens is not None:
        raise ApiError(
            400, f"thinking.{thinking.type}.budget_tokens: Extra inputs are not permitted"
        )
    if request.tool_choice and request.tool_choice.type in ("any", "tool"):
        raise ApiError(400, "Thinking may not be enabled when tool_choice forces tool use.")
    _check_thinking_sampling(request)


def _check_thinking_sampling(request: Request) -> None:
    if request.temperature not in (None, 1):
        raise ApiError(400, "`temperature` may only be set to 1 when thinking is enabled.")
    if request.top_k is not None:
        raise ApiError(400, "`top_k` must be unset when thinking is enabled.")
    if request.top_p is not None and request.top_p < THINKING_TOP_P_MIN:
        what = "must be greater than or equal to 0.95 or unset when thinking is enabled"
        raise ApiError(400, f"`top_p` {what}.")


def check_removed(request: Countable, turns: Sequence[Message]) -> None:
    """What API version 2026-10-21 no longer takes, not even at its default.

    https://platform.claude.com/docs/en/api/versioning
    """
    for name in ("temperature", "top_p", "top_k"):
        if getattr(request, name, None) is not None:
            raise ApiError(400, f"{name}: Extra inputs are not permitted")
    for index, turn in enumerate(turns):
        for number, block in enumerate(_blocks(turn)):
            if turn.role == "user" and isinstance(block, Text) and block.citations:
                place = f"messages.{index}.content.{number}.text.citations"
                raise ApiError(400, f"{place}: Extra inputs are not permitted")


def check_sampling(request: Request) -> None:
    if (
        request.temperature is not None
        and request.top_p is not None
        and _EITHER_SAMPLING.search(request.model)
    ):
        what = "`temperature` and `top_p` cannot both be specified for this model."
        raise ApiError(400, f"{what} Please use only one.")
    for index, one in enumerate(request.stop_sequences or []):
        if not one.strip():
            what = "each stop sequence must contain non-whitespace"
            raise ApiError(400, f"stop_sequences.{index}: {what}")


def _blocks(turn: Message) -> Sequence[Block]:
    return () if isinstance(turn.content, str) else turn.content


def _merged(turns: Sequence[Message]) -> list[list[Block]]:
    """Turns of one role in a row are one."""
    merged: list[list[Block]] = []
    role = ""
    for turn in turns:
        blocks = [Text(text=turn.content)] if isinstance(turn.content, str) else turn.content
        if turn.role == role:
            merged[-1] += blocks
        else:
            merged.append([*blocks])
        role = turn.role
    return merged


def _leading_results(blocks: Sequence[Block]) -> set[str]:
    found = set()
    for block in blocks:
        if not isinstance(block, ToolResult):
            break
        found.add(block.tool_use_id)
    return found


def _final_text(blocks: Sequence[Block]) -> str:
    return blocks[-1].text if blocks and isinstance(blocks[-1], Text) else ""
