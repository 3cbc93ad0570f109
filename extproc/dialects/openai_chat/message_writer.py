"""OpenAI chat completions: turns of a conversation as the messages of this API.

Content that is text alone goes out as one string: servers that take only that are many (DeepSeek's
among them), and the text is the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Final

from extproc.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Inline,
    Message,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from extproc.dialects.openai_chat.data_url import data_url

CALL_ID_CHARS_MAX: Final = 40
"""OpenAI refuses longer ones: "string too long. Expected a string with maximum length 40"."""

OF_A_RESULT: Final = "From the result of tool call {}:"
"""Stands before pictures and files of a result, which only a user's message can hold."""
ELSEWHERE: Final = "The result is in the user's message below."

_BETWEEN_TEXTS: Final = "\n\n"
_NAME: Final = "document"

_Json = Mapping[str, object]


def write_messages(conversation: Conversation, *, signed: bool) -> Sequence[_Json]:
    """`signed` says that the model checks the signatures on calls, and that its server takes them.

    Every call wants its result right behind the message that made it, so results come first among
    what a user's turns in a row hold.
    """
    written: list[_Json] = []
    if conversation.system:
        written.append({"role": "system", "content": _text(conversation.system, _BETWEEN_TEXTS)})
    for role, group in groupby(conversation.messages, lambda message: message.role):
        messages = tuple(group)
        match role:
            case Role.USER:
                written += _users(messages)
            case Role.ASSISTANT:
                written += [_assistants(message, signed=signed) for message in messages]
            case Role.SYSTEM:
                texts = [_text(message.parts, _BETWEEN_TEXTS) for message in messages]
                written += [{"role": "system", "content": text} for text in texts]
    return [message for message in written if message]


def _users(messages: Sequence[Message]) -> Iterator[_Json]:
    results = [p for message in messages for p in message.parts if isinstance(p, ToolResult)]
    for result in results:
        yield _result(result)
    moved = [part for result in results for part in _beyond_text(result)]
    for message in messages:
        parts = [*moved, *[p for p in message.parts if not isinstance(p, ToolResult)]]
        moved = []
        if parts:
            yield {"role": "user", "content": _content(parts)}


def _result(result: ToolResult) -> _Json:
    text = _text(result.parts, _BETWEEN_TEXTS)
    if not text and any(not isinstance(part, Text) for part in result.parts):
        text = ELSEWHERE
    return {"role": "tool", "tool_call_id": _call_id(result.call_id), "content": text}


def _beyond_text(result: ToolResult) -> Sequence[Part]:
    parts = [part for part in result.parts if not isinstance(part, Text)]
    return [Text(OF_A_RESULT.format(_call_id(result.call_id))), *parts] if parts else ()


def _assistants(message: Message, *, signed: bool) -> _Json:
    """Empty where nothing is left: a turn of thinking alone."""
    text = _text(message.parts, "")
    calls = [_call(part, signed=signed) for part in message.parts if isinstance(part, ToolCall)]
    written: dict[str, object] = {"role": "assistant", "content": text or None}
    if calls:
        written["tool_calls"] = calls
    return written if text or calls else {}


def _call(call: ToolCall, *, signed: bool) -> _Json:
    written: dict[str, object] = {
        "id": _call_id(call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments or "{}"},
    }
    if signed and call.signature is not None:
        written["extra_content"] = {"google": {"thought_signature": call.signature}}
    return written


def _call_id(call_id: str) -> str:
    """The same short one for a call and its result, in this request and in those after it."""
    if len(call_id) <= CALL_ID_CHARS_MAX:
        return call_id
    return "call_" + sha256(call_id.encode("utf-8", "replace")).hexdigest()[:32]


def _text(parts: Iterable[Part], between: str) -> str:
    return between.join([part.text for part in parts if isinstance(part, Text)])


def _content(parts: Sequence[Part]) -> str | Sequence[_Json]:
    if all(isinstance(part, Text) for part in parts):
        return _text(parts, _BETWEEN_TEXTS)
    return [written for part in parts for written in _part(part)]


def _part(part: Part) -> Iterator[_Json]:
    match part:
        case Text(text):
            yield {"type": "text", "text": text}
        case Image(source, detail):
            url = data_url(source) if isinstance(source, Inline) else source.url
            hint = {"detail": detail} if detail else {}
            yield {"type": "image_url", "image_url": {"url": url} | hint}
        case Audio(form, data):
            yield {"type": "input_audio", "input_audio": {"data": data, "format": form}}
        case Document():
            yield _document(part)
        case Thinking() | ToolCall() | ToolResult():
            return


def _document(document: Document) -> _Json:
    """A file; but plain text as what it is, which every server takes."""
    source = document.source
    if isinstance(source, Inline) and source.media_type == "text/plain":
        text = _decoded(source.data)
        if text is not None:
            head = (document.name,) if document.name else ()
            return {"type": "text", "text": _BETWEEN_TEXTS.join((*head, text))}
    data = data_url(source) if isinstance(source, Inline) else source.url
    # OpenAI refuses data without a name.
    file = {"filename": document.name or _NAME, "file_data": data}
    return {"type": "file", "file": file}


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
