"""A conversation as a request to Converse or ConverseStream.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from extproc.dialects.bedrock.blocks import Block, Blocks, Group
from extproc.dialects.bedrock.models import Traits, traits_of
from extproc.dialects.bedrock.options import inference, model_fields, thinking_of
from extproc.dialects.bedrock.tools import output_format, tool_config
from extproc.dialects.conversation import (
    BOUND,
    Conversation,
    Demand,
    Message,
    Role,
    UnreadableError,
    Wording,
)
from extproc.dialects.json_instruction import json_instruction
from extproc.dialects.tool_names import USUAL_CHARS_MAX, refuse_long_names
from extproc.vocabulary import Api, Target

LACKS: Final = BOUND | {
    Demand.SEVERAL_ANSWERS,
    Demand.LOGPROBS,
    Demand.AUDIO_OUTPUT,
    Demand.HOSTED_TOOLS,
    Demand.CUSTOM_TOOLS,
    Demand.LINKED_IMAGES,
    Demand.LINKED_DOCUMENTS,
    Demand.BACKGROUND,
    Demand.COUNT,
    Demand.EMBEDDINGS,
    Demand.UNKNOWN_PARTS,
}
"""What Converse has no counterpart for."""

FILLER: Final = "Continue."
"""What the user says where the client has nobody speak first, or an answer begun that no model is
to end: a conversation begins with a user, and with newer Claudes ends with one."""

BESIDE_DOCUMENTS: Final = "The document is attached."
"""A turn that holds a document must hold text too."""

_USER: Final = "user"
_ASSISTANT: Final = "assistant"


def lacks(target: Target) -> frozenset[Demand]:
    """`LACKS`, but that a Claude that thinks reads what any Claude signed, wherever it ran."""
    thinks = traits_of(target.upstream_model).thinking is not None
    return LACKS - {Demand.BOUND_THINKING} if thinks else LACKS


def write_request(conversation: Conversation, target: Target) -> Wording:
    """Raises `UnreadableError` for what a demand in `LACKS` should have kept away."""
    # As AWS's SDKs do, which sign the path as they send it: `:` and `/` are escaped too.
    model = quote(target.upstream_model, safe="")
    endpoint = f"/model/{model}/converse" + ("-stream" if conversation.stream else "")
    try:
        written = msgspec.json.encode(_request(conversation, target))
    except UnicodeEncodeError:
        raise UnreadableError("messages", "holds text that is not Unicode") from None
    return Wording(endpoint, "{", written[1:])


def _request(conversation: Conversation, target: Target) -> Block:
    refuse_long_names(conversation.tools, USUAL_CHARS_MAX, Api.BEDROCK)
    traits = traits_of(target.upstream_model)
    blocks = Blocks(traits)
    turns = _ended(_turns(conversation.messages, blocks), traits)
    thinking = thinking_of(conversation, target.model.output_tokens_max, traits)
    if thinking and thinking.budget_tokens and _resumes_without_thinking(turns):
        thinking = None
    answer = output_format(conversation.output_format, traits)
    fields: Block = {
        "messages": [{"role": role, "content": content} for role, content in turns],
        "system": _system(conversation, blocks, in_words=not answer),
        "inferenceConfig": inference(conversation, target, traits, thinking),
        "toolConfig": tool_config(conversation, traits, blocks),
        "outputConfig": answer
        | ({"effort": thinking.effort} if thinking and thinking.effort else {}),
        "additionalModelRequestFields": model_fields(conversation, traits, thinking),
        # The stop sequence that was met is told only where it is asked for.
        "additionalModelResponseFieldPaths": ["/stop_sequence"] if conversation.stop else [],
    }
    return {name: value for name, value in fields.items() if value}


def _system(conversation: Conversation, blocks: Blocks, *, in_words: bool) -> Group:
    """`in_words` says that the form of the answer has to be asked for here."""
    said = [block for text in conversation.system for block in blocks.of(text)]
    wanted = conversation.output_format
    return [*said, {"text": json_instruction(wanted.schema)}] if wanted and in_words else said


def _turns(messages: Iterable[Message], blocks: Blocks) -> list[tuple[str, Group]]:
    """Turns of user and assistant by turns, the user's first."""
    turns: list[tuple[str, list[Group]]] = []
    for message in messages:
        role = _ASSISTANT if message.role is Role.ASSISTANT else _USER
        groups = [group for part in message.parts if (group := blocks.of(part))]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(groups)
        elif groups:
            turns.append((role, groups))
    if not turns or turns[0][0] != _USER:
        turns.insert(0, (_USER, [[{"text": FILLER}]]))
    return [(role, _content(groups)) for role, groups in turns]


def _content(groups: Sequence[Group]) -> Group:
    """The blocks of one turn: results come first, as they must follow on their calls."""
    ordered = sorted(groups, key=lambda group: "toolResult" not in group[0])
    content = [block for group in ordered for block in group]
    holds_document = any("document" in block for block in content)
    if holds_document and not any("text" in block for block in content):
        content.append({"text": BESIDE_DOCUMENTS})
    return content


def _ended(turns: list[tuple[str, Group]], traits: Traits) -> list[tuple[str, Group]]:
    """The turns with an end that the model takes: Claude refuses a prefill that ends in space."""
    if turns[-1][0] == _USER:
        return turns
    if not traits.prefill:
        return [*turns, (_USER, [{"text": FILLER}])]
    last = next(block for block in reversed(turns[-1][1]) if "cachePoint" not in block)
    if "text" in last:
        last["text"] = str(last["text"]).rstrip()
    return turns


def _resumes_without_thinking(turns: Sequence[tuple[str, Group]]) -> bool:
    """With a budget, what is gone on from must have begun with thinking: calls, or a prefill.

    https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
    """
    if turns[-1][0] == _ASSISTANT:
        return "reasoningContent" not in turns[-1][1][0]
    if len(turns) < 2 or "toolResult" not in turns[-1][1][0]:
        return False
    return "reasoningContent" not in turns[-2][1][0]
