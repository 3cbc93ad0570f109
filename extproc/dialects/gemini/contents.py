"""Writing messages as `contents`: turns of `user` and `model`, which alternate.

The API refuses an empty part and a call that stands first. Since Gemini 3 it wants after each
`model` turn with calls one response per call, of the same id and name; where they don't match, it
answers with nothing (https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.5). So here they
match, whatever the conversation was.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from extproc.dialects.arguments import as_object, is_object
from extproc.dialects.conversation import (
    Audio,
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
from extproc.dialects.media import image_type, is_text, media_type_of, not_taken
from extproc.vocabulary import Api

Json = dict[str, Any]
"""A JSON object that is about to be written."""

UNSIGNED: Final = "skip_thought_signature_validator"
"""In place of a signature, for calls that another provider's model made.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""

# The least that makes a turn, where the API wants one and the client has none.
_NOTHING: Final[Json] = {"text": "."}
_NO_RESULT: Final[Json] = {"error": "There is no result of this call."}

# `response` is a google.protobuf.Struct, whose numbers are doubles: longer ones would be rounded.
_LONG_NUMBER: Final = re.compile(r"[0-9]{16}")

_MEDIA_TYPES: Final = {"audio/mpeg": "audio/mp3"}

# Inline: /image-understanding, /document-processing, /audio and /video-understanding, below
# https://ai.google.dev/gemini-api/docs
_IMAGES: Final = {"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}
_DOCUMENTS: Final = re.compile(r"application/pdf|text/.*|audio/.*|video/.*")

# What Google fetches by URL, https://ai.google.dev/gemini-api/docs/file-input-methods
_BY_EXTENSION: Final = {
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "md": "text/plain",
    "pdf": "application/pdf",
    "png": "image/png",
    "rtf": "text/rtf",
    "txt": "text/plain",
    "webp": "image/webp",
    "xml": "text/xml",
}


def texts(parts: Iterable[Text]) -> list[Json]:
    return [{"text": part.text} for part in parts if part.text]


def contents(messages: Iterable[Message], *, signed_calls: bool) -> list[Json]:
    """Never empty, begins with a `user` turn; `signed_calls` as in `models.Facts`."""
    written: list[Json] = []
    calls: dict[str, ToolCall] = {}
    for role, parts in _turns(messages):
        if role == "model":
            if not written:
                written.append({"role": "user", "parts": [_NOTHING]})
            calls = _calls(parts)
            turn = _model_parts(parts, calls, signed_calls=signed_calls)
        else:
            turn = _user_parts(parts, calls, signed_calls=signed_calls)
            calls = {}
        written.append({"role": role, "parts": turn})
    if calls or not written:
        parts_left = _user_parts((), calls, signed_calls=signed_calls) or [_NOTHING]
        written.append({"role": "user", "parts": parts_left})
    return written


def _turns(messages: Iterable[Message]) -> list[tuple[str, list[Part]]]:
    """Parts by role, without those that say nothing here; no two turns in a row are of one role.

    Thinking is left out: the API takes its own back by signature alone, and this is anyone's.
    """
    turns: list[tuple[str, list[Part]]] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, Thinking) or (isinstance(part, Text) and not part.text):
                continue
            role = _role(message.role, part)
            if not turns or turns[-1][0] != role:
                turns.append((role, []))
            turns[-1][1].append(part)
    return turns


def _role(role: Role, part: Part) -> str:
    if isinstance(part, ToolCall):
        return "model"
    if isinstance(part, ToolResult):
        return "user"
    return "model" if role is Role.ASSISTANT else "user"


def _calls(parts: Sequence[Part]) -> dict[str, ToolCall]:
    """Those among `parts` by id; of two with the same, the first."""
    found: dict[str, ToolCall] = {}
    for part in parts:
        if isinstance(part, ToolCall):
            found.setdefault(part.id, part)
    return found


def _results(parts: Sequence[Part]) -> dict[str, ToolResult]:
    """Those among `parts` by the call's id; of two with the same, the first."""
    found: dict[str, ToolResult] = {}
    for part in parts:
        if isinstance(part, ToolResult):
            found.setdefault(part.call_id, part)
    return found


def _model_parts(
    parts: Sequence[Part], calls: dict[str, ToolCall], *, signed_calls: bool
) -> list[Json]:
    """Only the first of several calls at once is signed."""
    written: list[Json] = []
    unsigned = signed_calls
    unwritten = set(calls)
    for part in parts:
        if not isinstance(part, ToolCall):
            written.append(_part(part))
        elif part.id in unwritten:
            unwritten.remove(part.id)
            call = {"name": part.name, "args": as_object(part.arguments)}
            signature = part.signature or (UNSIGNED if unsigned else None)
            unsigned = False
            written.append(
                {"functionCall": _with_id(part.id, call)}
                | ({"thoughtSignature": signature} if signature else {})
            )
    return written


def _user_parts(
    parts: Sequence[Part], calls: dict[str, ToolCall], *, signed_calls: bool
) -> list[Json]:
    """First a response to each of `calls`, then what is in them that can't be, then all else.

    A result of no call before it becomes what it says: text.
    """
    results = _results(parts)
    responses: list[Json] = []
    beside: list[Json] = []
    for call in calls.values():
        result = results.get(call.id)
        response, media = _response(result, signed_calls=signed_calls)
        function_response = _with_id(call.id, {"name": call.name} | response)
        responses.append({"functionResponse": function_response})
        beside += media
    unanswered = set(calls)
    for part in parts:
        if not isinstance(part, ToolResult):
            beside.append(_part(part))
        elif part.call_id in unanswered:
            unanswered.remove(part.call_id)
        else:
            beside += [_part(each) for each in part.parts if each != Text("")]
    # A result of no call may have held nothing at all.
    return responses + beside or [_NOTHING]


def _response(result: ToolResult | None, *, signed_calls: bool) -> tuple[Json, list[Json]]:
    """The fields of a response, and the media that have to stand beside it.

    Before Gemini 3 no media may be in a response, and none by URL since.
    """
    if result is None:
        return {"response": _NO_RESULT}, []
    said = ""
    inside: list[Json] = []
    beside: list[Json] = []
    for part in result.parts:
        text = _plain(part)
        if text is not None:
            said += text
        elif signed_calls and not isinstance(part, Text) and isinstance(part.source, Inline):
            inside.append(_part(part))
        else:
            beside.append(_part(part))
    response: Json = {"response": {"error": said} if result.failed else _result(said)}
    return response | ({"parts": inside} if inside else {}), beside


def _result(said: str) -> msgspec.Raw | Json:
    """`said` if it is an object, else one around it."""
    if _LONG_NUMBER.search(said) or not is_object(said):
        return {"result": said}
    return msgspec.Raw(said.encode())


def _with_id(call_id: str, fields: Json) -> Json:
    return {"id": call_id} | fields if call_id else fields


def _part(part: Part) -> Json:
    text = _plain(part)
    if text is not None:
        return {"text": text} if text else _NOTHING
    if isinstance(part, Image | Document):
        return _media(part)
    assert isinstance(part, Audio)  # the other kinds are dealt with where they stand
    return _inline(f"audio/{part.format}", part.data)


def _plain(part: Part) -> str | None:
    """The text of `part`, if it is text: the API wants none as raw bytes."""
    if isinstance(part, Text):
        return part.text
    if not isinstance(part, Document) or not isinstance(part.source, Inline):
        return None
    if not is_text(part.source):
        return None
    try:
        return base64.b64decode(part.source.data, validate=True).decode()
    except ValueError:
        return None


def _media(part: Image | Document) -> Json:
    source = part.source
    if isinstance(source, Inline):
        return _inline(_taken_type(part, source), source.data)
    media_type = _media_type(source.url)
    file = {"mimeType": media_type} if media_type else {}
    return {"fileData": file | {"fileUri": source.url}}


def _inline(media_type: str, data: str) -> Json:
    named = _MEDIA_TYPES.get(media_type.lower(), media_type)
    return {"inlineData": {"mimeType": named, "data": data}}


def _taken_type(part: Image | Document, content: Inline) -> str:
    named = media_type_of(content)
    if isinstance(part, Image):
        return image_type(content, _IMAGES, Api.GEMINI)
    if named not in _IMAGES and not _DOCUMENTS.fullmatch(named):
        raise not_taken("a document", named, Api.GEMINI)
    return named


def _media_type(url: str) -> str | None:
    """By the extension; where it says nothing, Google goes by what the server says."""
    path = url.partition("#")[0].partition("?")[0]
    return _BY_EXTENSION.get(path.rpartition("/")[2].rpartition(".")[2].lower())
