"""Anthropic messages: a whole request, read for translation.

Fields without a counterpart in `Conversation` are left out (docs/dialects.md lists them). Blocks
and tools without one are `Demand`s in the payload, so nothing with them should get here: they are
refused, never dropped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.anthropic.blocks import (
    DOCUMENT,
    Block,
    Source,
    inner_blocks,
    inner_text,
    source_of,
    system_text,
    turns,
)
from extproc.dialects.anthropic.reasoning import (
    output_config_field,
    reasoning_of,
    thinking_field,
)
from extproc.dialects.conversation import (
    CacheMark,
    Conversation,
    Document,
    Image,
    Inline,
    Linked,
    Message,
    OutputFormat,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UnreadableError,
)
from extproc.dialects.members import Member
from extproc.dialects.reading import (
    OUTPUT_TOKENS_MAX,
    FieldError,
    decoded,
    field,
    fields_of,
    reject,
)


class _CacheControl(Struct):
    ttl: str | None = None


class _Tool(Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Raw = Raw()
    strict: bool | None = None
    cache_control: Raw = Raw()


class _ToolChoice(Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Format(Struct):
    type: str = ""
    schema: Raw = Raw()


class _Metadata(Struct):
    user_id: str | None = None


_ROLES: Final = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_CHOICES: Final[Mapping[str, Literal["auto", "none", "any", "named"]]] = {
    "auto": "auto",
    "none": "none",
    "any": "any",
    "tool": "named",
}
_NO_PART: Final = "holds a block that can't be translated"

_cache_control = msgspec.json.Decoder(_CacheControl | None)
_data = msgspec.json.Decoder(str)
_tools = msgspec.json.Decoder(list[_Tool] | None)
_tool_choice = msgspec.json.Decoder(_ToolChoice | None)
_format = msgspec.json.Decoder(_Format | None)
_user = msgspec.json.Decoder(_Metadata | None)
_flag = msgspec.json.Decoder(bool | None)
_count = msgspec.json.Decoder(int | None)
_number = msgspec.json.Decoder(float | None)
_strings = msgspec.json.Decoder(list[str] | None)


def read_request(body: bytes) -> Conversation:
    """All of the request in `body` but its model. Raises `UnreadableError`."""
    try:
        return _conversation(fields_of(body))
    except FieldError as error:
        param = error.refusal.param or "body"
        what = error.refusal.message.removeprefix(f"The field `{param}` ")
        what = what.removeprefix("The request body ").removesuffix(".")
        raise UnreadableError(param, what) from None


def _conversation(fields: Mapping[str, Member]) -> Conversation:
    system, messages = _told(fields)
    thinking = field(fields, "thinking", thinking_field)
    config = field(fields, "output_config", output_config_field)
    choice = field(fields, "tool_choice", _tool_choice)
    metadata = field(fields, "metadata", _user)
    limit = field(fields, "max_tokens", _count)
    return Conversation(
        system=system,
        messages=messages,
        stream=field(fields, "stream", _flag) or False,
        tools=tuple(_tool(tool) for tool in field(fields, "tools", _tools) or ()),
        tool_choice=_choice(choice) if choice else None,
        parallel_calls=False if choice and choice.disable_parallel_tool_use else None,
        output_format=_output_format(fields, config.format if config else Raw()),
        output_tokens_max=None if limit is None else min(max(limit, 1), OUTPUT_TOKENS_MAX),
        reasoning=reasoning_of(thinking, config),
        stop=tuple(field(fields, "stop_sequences", _strings) or ()),
        temperature=field(fields, "temperature", _number),
        top_p=field(fields, "top_p", _number),
        top_k=field(fields, "top_k", _count),
        user=metadata.user_id if metadata else None,
    )


def _told(fields: Mapping[str, Member]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """The system prompt, with those system messages that lead, and the other messages."""
    written = field(fields, "system", system_text)
    system = list(_system(written))
    messages: list[Message] = []
    for turn in field(fields, "messages", turns) or ():
        if turn.role not in _ROLES:
            reject("messages", "holds a role that is not `user`, `assistant` or `system`")
        content = turn.content
        parts = (Text(content),) if isinstance(content, str) else tuple(_parts(content))
        if turn.role == "system" and not messages:
            system += [part for part in parts if isinstance(part, Text)]
        else:
            messages.append(Message(_ROLES[turn.role], parts))
    return tuple(system), tuple(messages)


def _system(written: str | Sequence[Block] | None) -> Iterable[Text]:
    if isinstance(written, str):
        return [Text(written)] if written else []
    return [Text(block.text, _cache(block.cache_control)) for block in written or () if block.text]


def _parts(blocks: Iterable[Block]) -> Iterable[Part]:
    for block in blocks:
        match block.type:
            case "thinking":
                yield Thinking(block.thinking or "", block.signature or None)
            case "redacted_thinking":
                yield Thinking("", redacted=block.data or "")
            case "tool_use":
                yield _call(block)
            case "tool_result":
                yield _result(block)
            case _:
                yield from _content(block)


def _call(block: Block) -> ToolCall:
    if block.id is None or block.name is None:
        reject("messages", "holds a `tool_use` without `id` or `name`")
    arguments = bytes(block.input).decode() or "{}"
    return ToolCall(block.id, block.name, arguments, cache=_cache(block.cache_control))


def _result(block: Block) -> ToolResult:
    if block.tool_use_id is None:
        reject("messages", "holds a `tool_result` without `tool_use_id`")
    text = inner_text(block.content)
    parts = [Text(text)] if text else []
    inner = [part for each in inner_blocks(block.content) for part in _content(each)]
    return ToolResult(
        block.tool_use_id,
        (*parts, *inner),
        failed=block.is_error or False,
        cache=_cache(block.cache_control),
    )


def _content(block: Block) -> Iterable[Text | Image | Document]:
    """What may stand in a result, too."""
    cache = _cache(block.cache_control)
    source = source_of(block)
    if block.type == "text":
        return [Text(block.text or "", cache)]
    if source is None or block.type not in {"image", DOCUMENT}:
        reject("messages", _NO_PART)
    if block.type == "image":
        return [Image(_outer_source(source), cache=cache)]
    return _document(source, block.title, cache)


def _outer_source(source: Source) -> Inline | Linked:
    if source.type == "base64" and source.media_type:
        return Inline(source.media_type, decoded(source.data, _data, "messages"))
    if source.type != "url" or not source.url:
        reject("messages", _NO_PART)
    return Linked(source.url)


def _document(
    source: Source, title: str | None, cache: CacheMark | None
) -> Iterable[Document | Image]:
    if source.type == "text":
        return [Document(_plain(decoded(source.data, _data, "messages")), title, cache)]
    if source.type != "content":
        return [Document(_outer_source(source), title, cache)]
    # A document of blocks: its text as plain text, and the images of it after that.
    inner = inner_blocks(source.content)
    texts = [inner_text(source.content), *(block.text or "" for block in inner)]
    images = [part for block in inner if block.type != "text" for part in _content(block)]
    return [
        Document(_plain("\n".join(filter(None, texts))), title, cache),
        *(image for image in images if isinstance(image, Image)),
    ]


def _plain(text: str) -> Inline:
    return Inline("text/plain", base64.b64encode(text.encode()).decode())


def _tool(tool: _Tool) -> Tool:
    if (tool.type or "custom") != "custom":
        reject("tools", "holds a tool of Anthropic's own")
    schema = bytes(tool.input_schema).decode()
    return Tool(
        tool.name,
        tool.description,
        schema if schema not in {"", "null"} else None,
        tool.strict,
        _cache(tool.cache_control),
    )


def _choice(choice: _ToolChoice) -> ToolChoice:
    if choice.type not in _CHOICES:
        reject("tool_choice", "has a `type` that is not known")
    if choice.type == "tool" and choice.name is None:
        reject("tool_choice", "needs a `name`")
    return ToolChoice(_CHOICES[choice.type], choice.name if choice.type == "tool" else None)


def _output_format(fields: Mapping[str, Member], in_config: Raw) -> OutputFormat | None:
    """`output_format` is what the field was called in its beta."""
    written = field(fields, "output_format", _format)
    if written is None and bytes(in_config):
        written = decoded(in_config, _format, "output_config")
    if written is None:
        return None
    if written.type != "json_schema" or not bytes(written.schema):
        reject("output_config", "has a `format` that is not a `json_schema` with its `schema`")
    return OutputFormat(schema=bytes(written.schema).decode())


def _cache(raw: Raw) -> CacheMark | None:
    mark = decoded(raw, _cache_control, "messages") if bytes(raw) else None
    return CacheMark(mark.ttl) if mark else None
