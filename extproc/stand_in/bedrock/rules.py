"""Converse: what fits its shapes and is refused nevertheless.

https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from extproc.stand_in.bedrock.shapes import (
    Block,
    Document,
    InferenceConfig,
    Message,
    Request,
    SystemBlock,
)
from extproc.stand_in.errors import ApiError
from extproc.stand_in.signature import CLAUDE, sign
from extproc.stand_in.strict import open_object

DOCUMENTS_MAX: Final = 5
IMAGES_MAX: Final = 20
BUDGET_TOKENS_MIN: Final = 1024

_DOCUMENT_NAME: Final = re.compile(r"(?!.*\s\s)[a-zA-Z0-9\s\-()\[\]]+")
_ADDITIONAL: Final = frozenset(
    {"thinking", "top_k", "anthropic_beta", "output_config", "reasoning_config", "reasoning_effort"}
)
"""What the models' own requests have and Converse has no field for."""


def check_turns(turns: Sequence[Message], *, has_tools: bool) -> None:
    if not turns or turns[0].role != "user":
        raise ApiError(
            400,
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message.",
        )
    for index, turn in enumerate(turns):
        if index and turn.role == turns[index - 1].role:
            raise ApiError(
                400,
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again.",
            )
        if not turn.content:
            raise ApiError(
                400,
                f"The content field in the Message object at messages.{index} is empty. Add a "
                "ContentBlock object to the content field and try again.",
            )
        for number, block in enumerate(turn.content):
            _check_block(block, turn.role, f"messages.{index}.content.{number}")
        _check_documents(turn)
    _check_calls(turns, has_tools=has_tools)


def check_union(value: msgspec.Struct, place: str) -> None:
    told = msgspec.structs.asdict(value)
    count = sum(one is not None for one in told.values())
    if count != 1:
        raise ApiError(400, f"The union at {place} must have exactly one member, and has {count}.")


def _check_block(block: Block, role: str, place: str) -> None:
    check_union(block, place)
    if block.text is not None and not block.text.strip():
        raise ApiError(
            400,
            f"The text field in the ContentBlock object at {place} is blank. Add text to the text "
            "field, and try again.",
        )
    of_assistant = block.tool_use or block.reasoning_content or block.citations_content
    of_user = block.tool_result or block.image or block.document
    if of_assistant if role == "user" else of_user:
        raise ApiError(400, f"The ContentBlock object at {place} is not allowed for the {role}.")
    if block.tool_result:
        for number, part in enumerate(block.tool_result.content):
            check_union(part, f"{place}.toolResult.content.{number}")
    if thought := block.reasoning_content:
        check_union(thought, f"{place}.reasoningContent")
        text = thought.reasoning_text
        if text is None or text.signature != sign(CLAUDE, text.text):
            raise ApiError(400, f"{place}: Invalid `signature` in `thinking` block")


def _check_documents(turn: Message) -> None:
    """A document needs a text beside it, and a name that is harmless and its own."""
    documents = [block.document for block in turn.content if block.document]
    for document in documents:
        _check_name(document)
    if len({document.name for document in documents}) < len(documents):
        raise ApiError(400, "Messages cannot contain multiple documents with the same name.")
    if documents and not any(block.text for block in turn.content):
        message = "A text block is required in a message that contains a document."
        raise ApiError(400, message)
    if (
        len(documents) > DOCUMENTS_MAX
        or sum(b.image is not None for b in turn.content) > IMAGES_MAX
    ):
        what = (
            f"At most {DOCUMENTS_MAX} documents and {IMAGES_MAX} images are allowed in a message."
        )
        raise ApiError(400, what)


def _check_name(document: Document) -> None:
    if not _DOCUMENT_NAME.fullmatch(document.name):
        raise ApiError(
            400,
            "The document file name can only contain alphanumeric characters, whitespace "
            "characters, hyphens, parentheses, and square brackets. The name can't contain more "
            "than one consecutive whitespace character.",
        )


def _check_calls(turns: Sequence[Message], *, has_tools: bool) -> None:
    called: list[str] = []
    for index, turn in enumerate(turns):
        answered = [block.tool_result.tool_use_id for block in turn.content if block.tool_result]
        calls = [block.tool_use.tool_use_id for block in turn.content if block.tool_use]
        if (answered or calls) and not has_tools:
            raise ApiError(
                400,
                "The toolConfig field must be defined when using toolUse and toolResult content "
                "blocks.",
            )
        if left := [one for one in called if one not in answered]:
            what = f"Expected toolResult blocks at messages.{index}.content for the following Ids"
            raise ApiError(400, f"{what}: {', '.join(left)}")
        if len(answered) > len(called):
            raise ApiError(
                400,
                f"The number of toolResult blocks at messages.{index}.content exceeds the number "
                "of toolUse blocks of previous turn.",
            )
        if len(set(calls)) < len(calls):
            raise ApiError(400, f"The toolUseIds at messages.{index}.content must be unique.")
        called = calls
    if called:
        what = f"Expected toolResult blocks at messages.{len(turns)}.content for the following Ids"
        raise ApiError(400, f"{what}: {', '.join(called)}")


def check_system(blocks: Sequence[SystemBlock]) -> None:
    for index, block in enumerate(blocks):
        check_union(block, f"system.{index}")
        if block.text is not None and not block.text.strip():
            what = f"The text field in the SystemContentBlock object at system.{index} is blank."
            raise ApiError(400, what)


def check_strict(schema: object, place: str) -> None:
    """As https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html has it."""
    if open_object(schema) is not None:
        what = "For 'object' type, 'additionalProperties' must be explicitly set to false"
        raise ApiError(400, f"The schema of {place} is not supported: {what}.")


def check_additional(
    fields: Mapping[str, Any], inference: InferenceConfig, request: Request
) -> bool:
    """Whether thinking is asked for, by the rules of the models that think: Anthropic's.

    https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
    """
    if unknown := sorted(set(fields) - _ADDITIONAL):
        message = f"Malformed input request: extraneous key [{unknown[0]}] is not permitted"
        raise ApiError(400, f"{message}, please reformat your input and try again.")
    thinking = fields.get("thinking") or fields.get("reasoning_config")
    if not isinstance(thinking, Mapping) or thinking.get("type") not in ("enabled", "adaptive"):
        return False
    budget = thinking.get("budget_tokens")
    if thinking["type"] == "enabled":
        if not isinstance(budget, int) or budget < BUDGET_TOKENS_MIN:
            what = f"Input should be greater than or equal to {BUDGET_TOKENS_MIN}"
            raise ApiError(400, f"thinking.enabled.budget_tokens: {what}")
        if inference.max_tokens is not None and budget >= inference.max_tokens:
            what = "`max_tokens` must be greater than `thinking.budget_tokens`."
            raise ApiError(400, what)
    choice = request.tool_config.tool_choice if request.tool_config else None
    if choice and (choice.any or choice.tool):
        raise ApiError(400, "Thinking may not be enabled when tool_choice forces tool use.")
    if inference.temperature not in (None, 1):
        raise ApiError(400, "`temperature` may only be set to 1 when thinking is enabled.")
    return True
