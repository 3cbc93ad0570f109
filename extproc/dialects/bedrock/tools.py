"""Tools, and the form of an answer, as Converse takes them.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.dialects.anthropic.schemas import enforceable
from extproc.dialects.bedrock.blocks import Block, Blocks
from extproc.dialects.bedrock.models import Traits
from extproc.dialects.conversation import (
    Conversation,
    JsonText,
    OutputFormat,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

_ANYTHING: Final = b'{"type":"object","properties":{}}'

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def tool_config(conversation: Conversation, traits: Traits, blocks: Blocks) -> Block:
    """Empty where there are no tools, or none are to be called.

    A history with calls is refused without tools, so then they stand there all the same.
    """
    tools, choice = conversation.tools, conversation.tool_choice
    unwanted = choice is not None and choice.mode == "none"
    if not tools or unwanted:
        if not _has_calls(conversation):
            return {}
        tools = tools or _called(conversation)
    specified = [block for tool in tools for block in _tool(tool, traits, blocks)]
    if not specified:
        return {}
    return {"tools": specified} | ({"toolChoice": chosen} if (chosen := _choice(choice)) else {})


def output_format(wanted: OutputFormat | None, traits: Traits) -> Block:
    """Empty where no schema is given or can be enforced: then JSON is asked for in words."""
    held = enforceable(wanted.schema) if wanted and wanted.schema and traits.schemas else None
    if not wanted or held is None:
        return {}
    described: Block = {"schema": bytes(held).decode()}  # the schema's text, as a string
    if wanted.name:
        described["name"] = wanted.name
    if wanted.description:
        described["description"] = wanted.description
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": described}}}


def _has_calls(conversation: Conversation) -> bool:
    return any(
        isinstance(part, ToolCall | ToolResult)
        for message in conversation.messages
        for part in message.parts
    )


def _called(conversation: Conversation) -> tuple[Tool, ...]:
    """Tools of which nothing but the name is known any more."""
    names = dict.fromkeys(
        part.name
        for message in conversation.messages
        for part in message.parts
        if isinstance(part, ToolCall)
    )
    return tuple(Tool(name) for name in names)


def _tool(tool: Tool, traits: Traits, blocks: Blocks) -> list[Block]:
    """Never `strict`: some models refuse it, others much of what a schema may say beside it.

    https://github.com/vercel/ai/issues/18199, https://github.com/BerriAI/litellm/pull/39115
    """
    specification: Block = {"name": tool.name}
    if tool.description and tool.description.strip():
        specification["description"] = tool.description
    specification["inputSchema"] = {"json": _schema(tool.parameters)}
    cached = blocks.cache_point(tool.cache) if traits.caching == "everywhere" else []
    return [{"toolSpec": specification}, *cached]


def _schema(text: JsonText | None) -> msgspec.Raw | str:
    """`type` must be said, and be `object`; OpenAI lets it be left out."""
    written = (text or "").strip().encode()
    if not written:
        return msgspec.Raw(_ANYTHING)
    try:
        fields = _object.decode(written)
    except msgspec.ValidationError:
        return msgspec.Raw(written)  # not an object: for Bedrock to refuse
    except (msgspec.DecodeError, RecursionError):
        return text or ""  # not even JSON: it too is refused, and nothing else in the body is hurt
    if "type" in fields:
        return msgspec.Raw(written)
    separator = b"," if fields else b""
    return msgspec.Raw(b'{"type":"object"' + separator + written[1:])


def _choice(choice: ToolChoice | None) -> Block | None:
    """None where the model is free to choose, which is what happens anyway."""
    if choice is None or choice.mode in ("auto", "none"):
        return None
    if choice.mode == "any":
        return {"any": {}}
    return {"tool": {"name": choice.name}}
