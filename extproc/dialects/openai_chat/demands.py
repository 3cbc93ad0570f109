"""OpenAI chat completions: what a request wants that not every provider's API has.

A plain request pays for a set operation and a look at each message. What is wrong is no demand:
the native provider says so itself, and a translation refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.dialects.conversation import Demand
from extproc.dialects.members import Member
from extproc.dialects.openai_chat.written import NULL, is_null, lenient, starts

_Absent = Raw | UnsetType


class Part(Struct):
    """What routing reads of a part; pictures and files stay bytes, uncopied."""

    type: str
    text: str | None = None
    image_url: _Absent = UNSET
    file: _Absent = UNSET


class Message(Struct):
    """What routing reads of a message."""

    role: str
    content: str | list[Part] | UnsetType | None = UNSET
    tool_calls: list[Raw] | None = None
    audio: _Absent = UNSET


class _Kind(Struct):
    type: str


class _Link(Struct):
    url: Raw


class _File(Struct):
    file_id: Raw = NULL
    file_data: Raw = NULL


_SPOKEN: Final = frozenset({"text", "refusal", "image_url", "input_audio", "file"})
_FIELDS: Final = frozenset(
    [
        *("n", "logprobs", "top_logprobs", "modalities", "web_search_options", "moderation"),
        "tools",
    ]
)
_NONE: Final[frozenset[Demand]] = frozenset()
_CUSTOM: Final = "custom"
_FUNCTION: Final = "function"

_kind = msgspec.json.Decoder(_Kind)
_link = msgspec.json.Decoder(_Link)
_file = msgspec.json.Decoder(_File)
_text = msgspec.json.Decoder(str)
_count = msgspec.json.Decoder(float)
_texts = msgspec.json.Decoder(list[str])
_list = msgspec.json.Decoder(list[Raw])


def demands_of(
    fields: Mapping[str, Member], messages: Sequence[Message], parts: Sequence[Part]
) -> frozenset[Demand]:
    """What the request wants; `parts` are those of all `messages`."""
    found: set[Demand] = set()
    if not _FIELDS.isdisjoint(fields):
        found.update(_of_fields(fields))
    if parts:
        found.update(_of_parts(parts))
        found.update(_of_results(messages))
    answered = [message for message in messages if message.tool_calls or message.audio]
    if answered:
        found.update(_of_answers(answered))
    return frozenset(found) if found else _NONE


def _of_fields(fields: Mapping[str, Member]) -> Iterator[Demand]:
    raw = {name: fields[name].raw for name in _FIELDS & fields.keys()}
    answers = lenient(_count, raw.get("n"))
    if answers is not None and answers > 1:
        yield Demand.SEVERAL_ANSWERS
    alternatives = lenient(_count, raw.get("top_logprobs"))
    if raw.get("logprobs") == b"true" or alternatives:
        yield Demand.LOGPROBS
    if "audio" in (lenient(_texts, raw.get("modalities")) or ()):
        yield Demand.AUDIO_OUTPUT
    # Moderation is no tool, but like one of the provider's it is run beside the model.
    if any(raw.get(name, b"null") != b"null" for name in ("web_search_options", "moderation")):
        yield Demand.HOSTED_TOOLS
    tools = lenient(_list, raw.get("tools"))
    kinds = _kinds(tools or ())
    if _CUSTOM in kinds:
        yield Demand.CUSTOM_TOOLS
    if kinds - {_CUSTOM, _FUNCTION}:
        yield Demand.HOSTED_TOOLS


def _of_parts(parts: Sequence[Part]) -> Iterator[Demand]:
    for part in parts:
        match part.type:
            case "image_url" if part.image_url and _is_link(part.image_url):
                yield Demand.LINKED_IMAGES
            case "input_audio":
                yield Demand.AUDIO_INPUT
            case "file" if part.file:
                yield from _of_file(part.file)
            case kind if kind not in _SPOKEN:
                yield Demand.UNKNOWN_PARTS


def _of_file(written: Raw) -> Iterator[Demand]:
    file = lenient(_file, written)
    if file and not is_null(file.file_id):
        yield Demand.STORED_FILES
    if file and starts(file.file_data, b'"http'):
        yield Demand.LINKED_DOCUMENTS


def _of_results(messages: Sequence[Message]) -> Iterator[Demand]:
    results = [message.content for message in messages if message.role == "tool"]
    if any(
        part.type == "image_url"
        for content in results
        if isinstance(content, list)
        for part in content
    ):
        yield Demand.IMAGES_IN_RESULTS


def _of_answers(messages: Sequence[Message]) -> Iterator[Demand]:
    for message in messages:
        if _CUSTOM in _kinds(message.tool_calls or ()):
            yield Demand.CUSTOM_TOOLS
        if message.audio and not is_null(message.audio):
            yield Demand.STORED_STATE  # an earlier spoken answer, by its id


def _is_link(written: Raw) -> bool:
    """Whether the image is to be fetched. A data URL may be megabytes: only its head is read."""
    if starts(written, b'"'):  # a bare URL, which some servers take
        url: Raw | None = written
    else:
        link = lenient(_link, written)
        url = link.url if link else None
    if url is None or starts(url, b'"data:'):
        return False
    text = lenient(_text, url)
    return text is not None and text[:5].lower() != "data:"


def _kinds(things: Sequence[Raw]) -> frozenset[str]:
    """The types of tools or of calls, of those that have one."""
    read = [lenient(_kind, thing) for thing in things]
    return frozenset([kind.type for kind in read if kind])
