"""OpenAI responses: a request read in full, as a conversation in no dialect.

What has no counterpart there is dropped here, by the rules in docs/dialects.md, or was found by
`read` to be a demand; of the latter nothing should get here, and what does is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.arguments import is_object
from extproc.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Inline,
    JsonText,
    Linked,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Role,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UnreadableError,
)
from extproc.dialects.openai_responses.items import PARTS_BY_ROLE, RESULT_PARTS, TEXT_PARTS
from extproc.dialects.reading import OUTPUT_TOKENS_MAX

_ABSENT: Final = Raw()


class _Sound(Struct):
    data: str
    format: str


class _Part(Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    input_audio: _Sound | None = None


class _Item(Struct):
    type: str | None = None
    role: str | None = None
    content: str | list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[_Part] | None = None
    summary: list[_Part] | None = None


class _Tool(Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: Raw = _ABSENT
    strict: bool | None = None


class _Chosen(Struct):
    type: str
    name: str | None = None


class _ToolChoice(_Chosen):
    mode: str | None = None
    tools: list[_Chosen] | None = None


class _Format(Struct):
    type: str = "text"
    name: str | None = None
    description: str | None = None
    schema: Raw = _ABSENT
    strict: bool | None = None


class _TextConfig(Struct):
    format: _Format | None = None


class _Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Request(Struct):
    input: str | list[_Item] | None = None
    instructions: str | list[_Item] | None = None
    stream: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: _TextConfig | None = None
    max_output_tokens: int | None = None
    reasoning: _Reasoning | None = None
    temperature: float | None = None
    top_p: float | None = None
    safety_identifier: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None  # dropped, but a 400 where it is one at OpenAI


_decode = msgspec.json.Decoder(_Request).decode

_FIELD: Final = re.compile(r"`\$\.(\w+)")
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]+)*;base64,")

_EFFORTS: Final[Mapping[str, str]] = {
    **{effort: effort for effort in ("none", "minimal", "low", "medium", "high", "xhigh")},
    "max": "xhigh",  # the most that a conversation knows
}
_CHOICES: Final = {
    "auto": ToolChoice("auto"),
    "none": ToolChoice("none"),
    "required": ToolChoice("any"),
}
_MEDIA_TYPES_BY_SUFFIX: Final = {"pdf": "application/pdf", "txt": "text/plain"}


def read_request(body: bytes) -> Conversation:
    """The conversation in `body`. Raises `UnreadableError`."""
    try:
        request = _decode(body)
    except RecursionError:
        raise UnreadableError("input", "is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec's words name types and positions (`$.input[0].role`), never content.
        place = _FIELD.search(str(error))
        raise UnreadableError(place[1] if place else "input", f"is not right: {error}") from None
    turns = _Turns()
    for param, items in (("instructions", request.instructions), ("input", request.input)):
        _read_items(items, param, turns)
    tools = _tools(request.tools or ())
    choice = request.tool_choice
    if isinstance(choice, _ToolChoice) and choice.type == "allowed_tools":
        tools = _allowed(tools, choice)
    return Conversation(
        system=tuple(turns.system),
        messages=turns.messages(),
        stream=request.stream or False,
        tools=tools,
        tool_choice=_tool_choice(choice),
        parallel_calls=request.parallel_tool_calls,
        output_format=_output_format(request.text),
        output_tokens_max=_limit(request.max_output_tokens),
        reasoning=_reasoning(request.reasoning),
        temperature=request.temperature,
        top_p=request.top_p,
        user=request.safety_identifier or request.user,
    )


@dataclass(slots=True)
class _Turns:
    """Messages as they come together from items."""

    system: list[Text] = field(default_factory=list)
    turns: list[tuple[Role, list[Part]]] = field(default_factory=list)

    def add(self, role: Role, parts: Sequence[Part], *, joins: bool = False) -> None:
        """A turn of `role`, or more of the last one if it is of that role and this `joins` it."""
        if not parts:
            return
        if role is Role.SYSTEM and not self.turns:
            self.system += [part for part in parts if isinstance(part, Text)]
        elif joins and self.turns and self.turns[-1][0] is role:
            self.turns[-1][1].extend(parts)
        else:
            self.turns.append((role, [*parts]))

    def ends_in(self, kind: type[Part]) -> bool:
        return bool(self.turns) and isinstance(self.turns[-1][1][-1], kind)

    def messages(self) -> tuple[Message, ...]:
        if not self.turns:
            raise UnreadableError("input", "holds no message but the system's")
        return tuple(Message(role, tuple(parts)) for role, parts in self.turns)


_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}


def _read_items(items: str | Sequence[_Item] | None, param: str, turns: _Turns) -> None:
    if isinstance(items, str):
        role = Role.SYSTEM if param == "instructions" else Role.USER
        turns.add(role, [Text(items)])
        return
    for item in items or ():
        match item.type or ("message" if item.role else "item_reference"):
            case "message":
                _read_message(item, param, turns)
            case "function_call":
                turns.add(Role.ASSISTANT, [_call(item, param)], joins=True)
            case "function_call_output":
                turns.add(Role.USER, [_result(item, param)], joins=turns.ends_in(ToolResult))
            case "reasoning":
                turns.add(Role.ASSISTANT, _thinking(item), joins=True)
            case _:
                raise UnreadableError(param, "holds an item that only OpenAI's own API can read")


def _read_message(item: _Item, param: str, turns: _Turns) -> None:
    role = _ROLES.get(item.role or "")
    if role is None:
        raise UnreadableError(param, "holds a message whose `role` is not known here")
    if isinstance(item.content, str):
        parts: list[Part] = [Text(item.content)]
    else:
        known = PARTS_BY_ROLE[item.role or ""]
        parts = [_part(part, known, param) for part in item.content or ()]
    # A message between calls and their results is of the calls' turn: results have to follow it.
    joins = role is Role.ASSISTANT and not turns.ends_in(Text)
    turns.add(role, parts, joins=joins)


def _call(item: _Item, param: str) -> ToolCall:
    if not item.call_id or not item.name:
        raise UnreadableError(param, "holds a function call without a `call_id` or a `name`")
    arguments = item.arguments or ""
    if not arguments.strip():
        return ToolCall(item.call_id, item.name, "{}")
    if not is_object(arguments):
        raise UnreadableError(param, "holds `arguments` that are no JSON object")
    return ToolCall(item.call_id, item.name, arguments)


def _result(item: _Item, param: str) -> ToolResult:
    if not item.call_id:
        raise UnreadableError(param, "holds the output of a function without a `call_id`")
    if not isinstance(item.output, list):
        return ToolResult(item.call_id, (Text(item.output or ""),))
    parts = [_part(part, RESULT_PARTS, param) for part in item.output]
    return ToolResult(
        item.call_id, tuple(part for part in parts if isinstance(part, Text | Image | Document))
    )


def _thinking(item: _Item) -> list[Thinking]:
    text = "\n\n".join([part.text for part in item.summary or () if part.text])
    return [Thinking(text)] if text else []


def _part(part: _Part, known: frozenset[str], param: str) -> Part:
    if part.type not in known:
        raise UnreadableError(param, "holds content of a `type` that is not known here")
    if part.type in TEXT_PARTS:
        return Text(part.text or "")
    match part.type:
        case "refusal":
            return Text(part.refusal or "")
        case "input_image" if part.image_url:
            return Image(_source(part.image_url, param), part.detail)
        case "input_file" if part.file_url:
            return Document(_source(part.file_url, param), part.filename)
        case "input_file" if part.file_data:
            return Document(_file(part.file_data, part.filename, param), part.filename)
        case "input_audio" if part.input_audio:
            return Audio(part.input_audio.format, part.input_audio.data)
        case _:
            raise UnreadableError(param, f"holds an `{part.type}` without its data")


def _source(url: str, param: str) -> Source:
    """What stands at `url`, which may be the data itself."""
    if not url.startswith("data:"):
        return Linked(url)
    head = _DATA_URL.match(url)
    if head is None:
        raise UnreadableError(param, "holds a data URL that is not one of a media type in base64")
    return Inline(head[1], url[head.end() :])


def _file(data: str, name: str | None, param: str) -> Source:
    """A file's bytes: in a data URL or, of a type that its name tells, in plain base64."""
    if data.startswith("data:"):
        return _source(data, param)
    media_type = _MEDIA_TYPES_BY_SUFFIX.get((name or "").lower().rpartition(".")[2])
    if media_type is None:
        raise UnreadableError(param, "holds a file of which neither data nor name tell the type")
    return Inline(media_type, data)


def _tools(tools: Iterable[_Tool]) -> tuple[Tool, ...]:
    found = []
    for tool in tools:
        if tool.type != "function":
            raise UnreadableError("tools", "holds a tool that is no function")
        if not tool.name:
            raise UnreadableError("tools", "holds a function without a `name`")
        schema = _schema(tool.parameters, "tools")
        found.append(Tool(tool.name, tool.description, schema, tool.strict))
    return tuple(found)


def _schema(raw: Raw, param: str) -> JsonText | None:
    written = bytes(raw).decode()
    if written in ("", "null"):
        return None
    if not written.startswith("{"):
        raise UnreadableError(param, "holds a schema that is no object")
    return written


def _allowed(tools: Iterable[Tool], choice: _ToolChoice) -> tuple[Tool, ...]:
    """The tools that `choice` leaves: no other API has tools that may not be called."""
    names = {chosen.name for chosen in choice.tools or () if chosen.type == "function"}
    return tuple(tool for tool in tools if tool.name in names)


def _tool_choice(choice: str | _ToolChoice | None) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, _ToolChoice):
        if choice.type == "function" and choice.name:
            return ToolChoice("named", choice.name)
        choice = choice.mode if choice.type == "allowed_tools" else None
    found = _CHOICES.get(choice or "")
    if found is None:
        raise UnreadableError("tool_choice", "is none of those that are known here")
    return found


def _output_format(text: _TextConfig | None) -> OutputFormat | None:
    wanted = text.format if text else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return OutputFormat()
    schema = _schema(wanted.schema, "text")
    if wanted.type != "json_schema" or schema is None:
        raise UnreadableError("text", "wants a format that is not known here, or lacks its schema")
    return OutputFormat(schema, wanted.name, wanted.description, wanted.strict)


def _reasoning(reasoning: _Reasoning | None) -> Reasoning | None:
    if reasoning is None:
        return None
    effort = reasoning.effort
    if effort is not None and effort not in _EFFORTS:
        raise UnreadableError("reasoning", "has an `effort` that is not known here")
    shown = True if reasoning.summary or reasoning.generate_summary else None
    return Reasoning(effort and _EFFORTS[effort], shown=shown)


def _limit(tokens: int | None) -> int | None:
    return None if tokens is None else min(tokens, OUTPUT_TOKENS_MAX)
