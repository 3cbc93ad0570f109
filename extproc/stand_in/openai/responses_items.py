"""The input items of responses, and which may follow which.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai.manners import decoded, invalid, media
from extproc.stand_in.question import Media, inline, linked
from extproc.stand_in.reading import Shape
from extproc.stand_in.signature import sign

CallId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Status = Literal["in_progress", "completed", "incomplete"] | None

_ID_PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
_OPAQUE = re.compile(
    r"(apply_patch|computer|custom_tool|local_shell|shell)_call(_output)?"
    r"|(code_interpreter|file_search|image_generation|mcp|web_search)_call"
    r"|mcp_(approval_request|approval_response|list_tools)|compaction"
)
"""Items of the tools that OpenAI runs, and of its newer kinds: taken as they are."""


class InputText(Shape, tag_field="type", tag="input_text"):
    text: str


class InputImage(Shape, tag_field="type", tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(Shape, tag_field="type", tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None


class InputAudio(Shape, tag_field="type", tag="input_audio"):
    input_audio: dict[str, str]


class OutputText(Shape, tag_field="type", tag="output_text"):
    text: str
    annotations: Any = None
    logprobs: Any = None


class RefusalPart(Shape, tag_field="type", tag="refusal"):
    refusal: str


InputPart = InputText | InputImage | InputFile | InputAudio


class FromUser(Shape):
    role: Literal["user", "system", "developer"]
    content: str | list[InputPart]
    type: Literal["message"] = "message"
    id: str | None = None
    status: Status = None


class FromAssistant(Shape):
    role: Literal["assistant"]
    content: str | list[OutputText | RefusalPart]
    type: Literal["message"] = "message"
    id: str | None = None
    status: Status = None
    phase: str | None = None


class FunctionCall(Shape):
    type: str
    call_id: CallId
    name: str
    arguments: str
    id: str | None = None
    status: Status = None
    caller: Any = None
    namespace: str | None = None


class FunctionCallOutput(Shape):
    type: str
    call_id: CallId
    output: str | list[InputPart]
    id: str | None = None
    status: Status = None
    caller: Any = None
    name: str | None = None
    namespace: str | None = None


class Summary(Shape):
    text: str
    type: str


class Reasoning(Shape):
    type: str
    summary: list[Summary]
    id: str | None = None
    content: Any = None
    encrypted_content: str | None = None
    status: Status = None


class Head(msgspec.Struct, frozen=True):
    """What tells the kind of an item."""

    type: str = "message"
    role: str | None = None
    id: str | None = None


Item = FromUser | FromAssistant | FunctionCall | FunctionCallOutput | Reasoning


@dataclass(frozen=True, slots=True)
class Told:
    last_text: str
    told: str | None
    media: tuple[Media, ...]


def read(raw: str | Sequence[msgspec.Raw], provider: str) -> Told:
    if isinstance(raw, str):
        return Told(raw, None, ())
    items = [_item(one, index) for index, one in enumerate(raw)]
    _check_calls(items)
    _check_reasoning(items, provider)
    results = _last_results(items)
    prompts = [item for item in items if isinstance(item, FromUser) and item.role == "user"]
    return Told(
        last_text=_text(prompts[-1].content) if prompts else "",
        told="".join(_text(one.output) for one in results) if results else None,
        media=_all_media(items),
    )


def _last_results(items: Sequence[Item | None]) -> list[FunctionCallOutput]:
    results: list[FunctionCallOutput] = []
    for item in reversed(items):
        if not isinstance(item, FunctionCallOutput):
            break
        results.insert(0, item)
    return results


def _item(raw: msgspec.Raw, index: int) -> Item | None:
    """The item, or None for one that is not looked into."""
    at = ("input", index)
    head = decoded(raw, Head, at)
    prefix = _ID_PREFIXES.get(head.type, "")
    if head.id is not None and not head.id.startswith(prefix):
        raise invalid(f"input[{index}].id", f"expected an ID that begins with '{prefix}'.")
    match head.type:
        case "message" if head.role == "assistant":
            return decoded(raw, FromAssistant, at)
        case "message":
            return decoded(raw, FromUser, at)
        case "function_call":
            return decoded(raw, FunctionCall, at)
        case "function_call_output":
            return decoded(raw, FunctionCallOutput, at)
        case "reasoning":
            return decoded(raw, Reasoning, at)
        case "item_reference":
            raise ApiError(404, f"Item with id '{head.id}' not found.", param="input")
        case kind if _OPAQUE.fullmatch(kind):
            return None
        case _:
            raise invalid(f"input[{index}].type", "not a type of item.")


def _check_calls(items: Sequence[Item | None]) -> None:
    called: set[str] = set()
    answered: set[str] = set()
    for item in items:
        if isinstance(item, FunctionCall):
            called.add(item.call_id)
        elif isinstance(item, FunctionCallOutput):
            if item.call_id not in called:
                message = (
                    f"No tool call found for function call output with call_id {item.call_id}."
                )
                raise ApiError(400, message, param="input")
            answered.add(item.call_id)
    if open_calls := sorted(called - answered):
        message = f"No tool output found for function call {open_calls[0]}."
        raise ApiError(400, message, param="input")


def _check_reasoning(items: Sequence[Item | None], provider: str) -> None:
    for index, item in enumerate(items):
        if not isinstance(item, Reasoning):
            continue
        following = items[index + 1] if index + 1 < len(items) else None
        if isinstance(following, FromUser | FunctionCallOutput) or index + 1 == len(items):
            message = (
                f"Item '{item.id}' of type 'reasoning' was provided without its required "
                "following item."
            )
            raise ApiError(400, message, param="input")
        if item.encrypted_content and item.encrypted_content != sign(provider, item.id or ""):
            raise ApiError(
                400,
                f"The encrypted content for item {item.id} could not be verified.",
                code="invalid_encrypted_content",
            )


def _text(content: str | Sequence[InputPart]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, InputText))


def _all_media(items: Sequence[Item | None]) -> tuple[Media, ...]:
    found = []
    for index, item in enumerate(items):
        match item:
            case FromUser(content=[*parts]):
                place = f"input[{index}].content"
            case FunctionCallOutput(output=[*parts]):
                place = f"input[{index}].output"
            case _:
                continue
        for number, part in enumerate(parts):
            if not isinstance(part, InputText):
                found.append(_media(part, f"{place}[{number}]"))
    return tuple(found)


def _media(part: InputImage | InputFile | InputAudio, place: str) -> Media:
    match part:
        case InputImage(image_url=str(url)):
            return media("image", url, f"{place}.image_url")
        case InputImage(file_id=str(stored)):
            return linked("image", stored)
        case InputFile(file_data=str(data), filename=name):
            if not name:
                raise invalid(f"{place}.filename", "it is required with 'file_data'.")
            return media("document", data, f"{place}.file_data")
        case InputFile(file_url=str(where)) | InputFile(file_id=str(where)):
            return linked("document", where)
        case InputAudio(input_audio=audio):
            try:
                return inline("recording", audio.get("format", ""), audio.get("data", ""))
            except ValueError:
                raise invalid(f"{place}.input_audio", "not base64.") from None
        case _:
            raise invalid(place, "it is empty.")
