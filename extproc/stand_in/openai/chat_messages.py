"""The messages of chat completions, and which may follow which.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai.manners import decoded, invalid, media
from extproc.stand_in.question import Media, inline, linked
from extproc.stand_in.reading import Shape

CALL_ID_CHARS_MAX = 40


class Text(Shape, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: Any = None


class ImageUrl(Shape):
    url: str
    detail: str | None = None


class Image(Shape, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class Recording(Shape):
    data: str
    format: str


class Audio(Shape, tag_field="type", tag="input_audio"):
    input_audio: Recording


class FileData(Shape):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class File(Shape, tag_field="type", tag="file"):
    file: FileData


class RefusalPart(Shape, tag_field="type", tag="refusal"):
    refusal: str


class Invoked(Shape):
    name: str
    arguments: str


class ToolCall(Shape):
    id: str
    type: str
    function: Invoked | None = None
    custom: Any = None


Content = str | list[Text]


class System(Shape, tag_field="role", tag="system"):
    content: Content
    name: str | None = None


class Developer(Shape, tag_field="role", tag="developer"):
    content: Content
    name: str | None = None


class User(Shape, tag_field="role", tag="user"):
    content: str | list[Text | Image | Audio | File]
    name: str | None = None


class Assistant(Shape, tag_field="role", tag="assistant"):
    content: str | list[Text | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    name: str | None = None
    audio: Any = None
    annotations: Any = None
    function_call: Any = None


class Result(Shape, tag_field="role", tag="tool"):
    content: Content
    tool_call_id: str


class OldResult(Shape, tag_field="role", tag="function"):
    content: str | None
    name: str


Message = System | Developer | User | Assistant | Result | OldResult


@dataclass(frozen=True, slots=True)
class Told:
    """What the messages come to."""

    last_text: str
    told: str | None
    media: tuple[Media, ...]


def read(raw: Sequence[msgspec.Raw]) -> Told:
    kinds: Any = Message
    turns: list[Message] = [decoded(one, kinds, ("messages", i)) for i, one in enumerate(raw)]
    _check_calls(turns)
    results = [turn for turn in _last_run(turns) if isinstance(turn, Result | OldResult)]
    prompts = [turn for turn in turns if isinstance(turn, User)]
    return Told(
        last_text=_text(prompts[-1].content) if prompts else "",
        told="".join(_text(one.content) for one in results) if results else None,
        media=tuple(
            _media(part, f"messages[{index}].content[{number}]")
            for index, turn in enumerate(turns)
            if isinstance(turn, User) and not isinstance(turn.content, str)
            for number, part in enumerate(turn.content)
            if not isinstance(part, Text)
        ),
    )


def _last_run(turns: Sequence[Message]) -> Sequence[Message]:
    """What came after the last turn of the model."""
    said = [index for index, turn in enumerate(turns) if isinstance(turn, Assistant)]
    return turns[said[-1] + 1 :] if said and not isinstance(turns[-1], User) else turns[-1:]


def _check_calls(turns: Sequence[Message]) -> None:
    """Every call is answered before anything else is said, and nothing else is answered."""
    waiting: dict[str, int] = {}
    for index, turn in enumerate(turns):
        place = f"messages[{index}]"
        if isinstance(turn, Result):
            if waiting.pop(turn.tool_call_id, None) is None:
                message = (
                    f"Invalid parameter: '{place}': messages with role 'tool' must be a response "
                    "to a preceding message with 'tool_calls'."
                )
                raise ApiError(400, message, param=f"{place}.role")
            continue
        _check_answered(waiting)
        if isinstance(turn, Assistant):
            _check_assistant(turn, place)
            waiting = {call.id: index for call in turn.tool_calls or []}
    _check_answered(waiting)


def _check_answered(waiting: dict[str, int]) -> None:
    if waiting:
        index = next(iter(waiting.values()))
        message = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(waiting)
        )
        raise ApiError(400, message, param=f"messages[{index}].role")


def _check_assistant(turn: Assistant, place: str) -> None:
    if turn.tool_calls == []:
        raise invalid(f"{place}.tool_calls", "empty array.", "empty_array")
    if turn.content is None and not (turn.tool_calls or turn.function_call or turn.refusal):
        raise invalid(f"{place}.content", "expected a string, got null.", "invalid_type")
    for number, call in enumerate(turn.tool_calls or []):
        where = f"{place}.tool_calls[{number}]"
        if len(call.id) > CALL_ID_CHARS_MAX:
            why = (
                f"string too long. Expected a string with maximum length {CALL_ID_CHARS_MAX}, "
                f"but got a string with length {len(call.id)} instead."
            )
            raise invalid(f"{where}.id", why, "string_above_max_length")
        if (call.type == "function") != (call.function is not None):
            raise invalid(where, "its type and what it calls differ.")


def _text(content: str | Sequence[Text | Image | Audio | File] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content if isinstance(part, Text))


def _media(part: Image | Audio | File, place: str) -> Media:
    match part:
        case Image(image_url=image) if not image.url.startswith("data:"):
            return linked("image", image.url)
        case Image(image_url=image):
            return media("image", image.url, f"{place}.image_url.url")
        case Audio(input_audio=recording):
            try:
                return inline("recording", recording.format, recording.data)
            except ValueError:
                raise invalid(f"{place}.input_audio.data", "not base64.") from None
        case File(file=file) if file.file_data:
            if not file.filename:
                raise invalid(f"{place}.file", "'filename' is required with 'file_data'.")
            return media("document", file.file_data, f"{place}.file.file_data")
        case File(file=file) if file.file_id:
            return linked("document", file.file_id)
        case _:
            raise invalid(f"{place}.file", "it is empty.")
