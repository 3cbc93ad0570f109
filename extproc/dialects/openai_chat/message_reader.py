"""OpenAI chat completions: messages as turns of a conversation in no dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, TypeVar

from extproc.dialects.arguments import is_object
from extproc.dialects.conversation import (
    Audio,
    CacheMark,
    Document,
    Image,
    Inline,
    JsonText,
    Linked,
    Message,
    Part,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    UnreadableError,
)
from extproc.dialects.openai_chat import request_shape as shape
from extproc.dialects.openai_chat.data_url import inline_of
from extproc.dialects.openai_chat.written import is_null

_P = TypeVar("_P", bound=Part)

_RESULTS: Final = frozenset({"tool", "function"})
_SYSTEM: Final = frozenset({"system", "developer"})
_CACHE_TTLS: Final = frozenset({"5m", "1h"})
_IMAGE: Final = "image/png"
_PDF: Final = "application/pdf"
_MEDIA_TYPES: Final = {
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "txt": "text/plain",
}
"""By the end of a file's name, where its data does not say; anything else is a PDF."""


def read_messages(
    written: Sequence[shape.Message],
) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """What leads as the system's, and the turns after it. Raises `UnreadableError`.

    A text of no characters says nothing, and other APIs refuse it; so does a turn of no parts.
    """
    system: list[Text] = []
    turns: list[Message] = []
    calls: dict[str, str] = {}  # of legacy calls, which have no id: the last id by function name
    for are_results, group in groupby(enumerate(written), lambda m: m[1].role in _RESULTS):
        if are_results:
            results = [_result(f"messages[{i}]", message, calls) for i, message in group]
            turns.append(Message(Role.USER, tuple(results)))
            continue
        for i, message in group:
            at = f"messages[{i}]"
            if message.role in _SYSTEM:
                texts = _marked(_texts(at, message), message.cache_control)
                if not turns:
                    system += texts
                elif texts:
                    turns.append(Message(Role.SYSTEM, texts))
            elif parts := _parts(at, i, message, calls):
                role = Role.USER if message.role == "user" else Role.ASSISTANT
                turns.append(Message(role, parts))
    return tuple(system), tuple(turns)


def _parts(at: str, index: int, message: shape.Message, calls: dict[str, str]) -> tuple[Part, ...]:
    if message.role == "user":
        return _marked(_content(at, message), message.cache_control)
    if message.role != "assistant":
        raise UnreadableError(f"{at}.role", "is none that is known here")
    if not is_null(message.audio):
        raise UnreadableError(f"{at}.audio", "is known to its provider only")
    parts: list[Part] = [*_texts(at, message)]
    if message.refusal:
        parts.append(Text(message.refusal))
    parts += [_call(f"{at}.tool_calls[{i}]", c) for i, c in enumerate(message.tool_calls or ())]
    if message.function_call:
        called = message.function_call
        calls[called.name] = f"call_function_{index}"
        arguments = _arguments(f"{at}.function_call.arguments", called)
        parts.append(ToolCall(calls[called.name], called.name, arguments))
    return _marked(parts, message.cache_control)


def _call(at: str, call: shape.Call) -> ToolCall:
    if call.type != "function" or not call.function:
        raise UnreadableError(at, "is no call of a function")
    google = call.extra_content.google if call.extra_content else None
    return ToolCall(
        call.id,
        call.function.name,
        _arguments(f"{at}.function.arguments", call.function),
        signature=google.thought_signature if google else None,
    )


def _arguments(at: str, called: shape.CalledFunction) -> JsonText:
    """Other APIs have an object where this one has its text."""
    if not called.arguments.strip():
        return "{}"
    if not is_object(called.arguments):
        raise UnreadableError(at, "is not the text of a JSON object")
    return called.arguments


def _result(at: str, message: shape.Message, calls: dict[str, str]) -> ToolResult:
    if message.role == "tool":
        call_id = message.tool_call_id
        field = f"{at}.tool_call_id"
    else:
        call_id = calls.get(message.name or "")
        field = f"{at}.name"
    if call_id is None:
        raise UnreadableError(field, "names no call")
    content = _content(at, message)
    parts = tuple([part for part in content if not isinstance(part, Audio)])
    if len(parts) < len(content):
        raise UnreadableError(f"{at}.content", "holds sound, which no result of a tool can")
    return ToolResult(call_id, parts, cache=cache_mark(message.cache_control))


def _texts(at: str, message: shape.Message) -> Sequence[Text]:
    """The content of a message that can hold nothing but text."""
    parts = _content(at, message)
    texts = [part for part in parts if isinstance(part, Text)]
    if len(texts) < len(parts):
        raise UnreadableError(f"{at}.content", "holds more than text")
    return texts


def _content(at: str, message: shape.Message) -> Sequence[Text | Image | Document | Audio]:
    if isinstance(message.content, str):
        return (Text(message.content),) if message.content else ()
    written = enumerate(message.content or ())
    return [part for i, p in written for part in _read_part(f"{at}.content[{i}]", p)]


def _read_part(at: str, part: shape.Part) -> Iterator[Text | Image | Document | Audio]:
    cache = cache_mark(part.cache_control)
    match part.type:
        case "text" | "refusal":
            text = part.text if part.type == "text" else part.refusal
            if text:
                yield Text(text, cache)
        case "image_url" if part.image_url is not None:
            image = part.image_url
            if isinstance(image, str):  # a bare URL, which some servers take
                image = shape.ImageUrl(image)
            yield Image(_image_source(at, image.url), image.detail, cache)
        case "input_audio" if part.input_audio:
            yield Audio(part.input_audio.format, part.input_audio.data)
        case "file" if part.file and part.file.file_data:
            source = _file_source(part.file.file_data, part.file.filename)
            yield Document(source, part.file.filename, cache)
        case "file" if part.file and part.file.file_id:
            raise UnreadableError(f"{at}.file.file_id", "is known to its provider only")
        case "image_url" | "input_audio" | "file":
            raise UnreadableError(f"{at}.{part.type}", "is required")
        case _:
            raise UnreadableError(f"{at}.type", "is none that is known here")


def _image_source(at: str, url: str) -> Source:
    source = inline_of(url, _IMAGE)
    if source is None and url[:5].lower() == "data:":
        raise UnreadableError(f"{at}.image_url.url", "is no data URL that can be read")
    return source or Linked(url)


def _file_source(data: str, name: str | None) -> Source:
    """OpenAI takes a data URL, older clients send bare base64, OpenRouter's a link too."""
    if data[:8].lower().startswith(("http://", "https://")):
        return Linked(data)
    guess = _MEDIA_TYPES.get((name or "").rpartition(".")[2].lower(), _PDF)
    return inline_of(data, guess) or Inline(guess, data)


def _marked(parts: Sequence[_P], control: shape.CacheControl | None) -> tuple[_P, ...]:
    """A mark on a message is one on its last part."""
    if control and parts and isinstance(parts[-1], Text | Image | Document | ToolCall):
        return (*parts[:-1], replace(parts[-1], cache=cache_mark(control)))
    return tuple(parts)


def cache_mark(control: shape.CacheControl | None) -> CacheMark | None:
    return CacheMark(control.ttl if control.ttl in _CACHE_TTLS else None) if control else None
