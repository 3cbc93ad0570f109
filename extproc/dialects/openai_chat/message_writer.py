"""OpenAI chat completions: turns of a conversation as the messages of this API.

Content that is text alone goes out as one string: servers that take only that are many (DeepSeek's
among them), and the text is the same.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from extproc.vocabulary import ChatForm

CALL_ID_CHARS_MAX: Final = 40
"""OpenAI refuses longer ones: "string too long. Expected a string with maximum length 40"."""

_SHORT_CALL_ID: Final = re.compile(r"[A-Za-z0-9]{9}")

ACKNOWLEDGED: Final = "Done."
"""The assistant's answer to results, where the user may not be next."""

OF_A_RESULT: Final = "From the result of tool call {}:"
"""Stands before pictures and files of a result, which only a user's message can hold."""
ELSEWHERE: Final = "The result is in the user's message below."

_BETWEEN_TEXTS: Final = "\n\n"
_NAME: Final = "document"

_Json = Mapping[str, object]
_CallId = Callable[[str], str]


def write_messages(conversation: Conversation, form: ChatForm, *, signed: bool) -> Sequence[_Json]:
    """`signed` says that the model checks the signatures on calls, and that its server takes them.

    Every call wants its result right behind the message that made it, so results come first among
    what a user's turns in a row hold.
    """
    call_id = _nine if form.short_call_ids else _bounded
    written: list[_Json] = []
    if conversation.system:
        written.append({"role": "system", "content": _text(conversation.system, _BETWEEN_TEXTS)})
    for role, group in groupby(conversation.messages, lambda message: message.role):
        messages = tuple(group)
        match role:
            case Role.USER:
                written += _users(messages, call_id)
            case Role.ASSISTANT:
                written += [_assistants(message, call_id, signed=signed) for message in messages]
            case Role.SYSTEM:
                texts = [_text(message.parts, _BETWEEN_TEXTS) for message in messages]
                role_then = "user" if form.strict_turns else "system"
                written += [{"role": role_then, "content": text} for text in texts]
    said = [message for message in written if message]
    return list(_acknowledging(said)) if form.strict_turns else said


def _acknowledging(messages: Sequence[_Json]) -> Iterator[_Json]:
    """The same, with a word of the assistant's between results and the user."""
    before = ""
    for message in messages:
        if (before, message["role"]) == ("tool", "user"):
            yield {"role": "assistant", "content": ACKNOWLEDGED}
        yield message
        before = str(message["role"])


def _users(messages: Sequence[Message], call_id: _CallId) -> Iterator[_Json]:
    results = [p for message in messages for p in message.parts if isinstance(p, ToolResult)]
    for result in results:
        yield _result(result, call_id)
    moved = [part for result in results for part in _beyond_text(result, call_id)]
    for message in messages:
        parts = [*moved, *[p for p in message.parts if not isinstance(p, ToolResult)]]
        moved = []
        if parts:
            yield {"role": "user", "content": _content(parts)}


def _result(result: ToolResult, call_id: _CallId) -> _Json:
    text = _text(result.parts, _BETWEEN_TEXTS)
    if not text and any(not isinstance(part, Text) for part in result.parts):
        text = ELSEWHERE
    return {"role": "tool", "tool_call_id": call_id(result.call_id), "content": text}


def _beyond_text(result: ToolResult, call_id: _CallId) -> Sequence[Part]:
    parts = [part for part in result.parts if not isinstance(part, Text)]
    return [Text(OF_A_RESULT.format(call_id(result.call_id))), *parts] if parts else ()


def _assistants(message: Message, call_id: _CallId, *, signed: bool) -> _Json:
    """Empty where nothing is left: a turn of thinking alone."""
    text = _text(message.parts, "")
    made = [part for part in message.parts if isinstance(part, ToolCall)]
    calls = [_call(part, call_id, signed=signed) for part in made]
    written: dict[str, object] = {"role": "assistant", "content": text or None}
    if calls:
        written["tool_calls"] = calls
    return written if text or calls else {}


def _call(call: ToolCall, call_id: _CallId, *, signed: bool) -> _Json:
    written: dict[str, object] = {
        "id": call_id(call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments or "{}"},
    }
    if signed and call.signature is not None:
        written["extra_content"] = {"google": {"thought_signature": call.signature}}
    return written


def _bounded(call_id: str) -> str:
    """The same short one for a call and its result, in this request and in those after it."""
    return call_id if len(call_id) <= CALL_ID_CHARS_MAX else "call_" + _digest(call_id)[:32]


def _nine(call_id: str) -> str:
    """The same, of nine letters and digits."""
    return call_id if _SHORT_CALL_ID.fullmatch(call_id) else _digest(call_id)[:9]


def _digest(call_id: str) -> str:
    return sha256(call_id.encode("utf-8", "replace")).hexdigest()


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
