"""OpenAI responses: what routing reads of the items that `input` and `instructions` may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from extproc.dialects.conversation import Demand
from extproc.dialects.reading import reject
from extproc.feature import Feature

_ABSENT: Final = Raw()
_INLINE: Final = b'"data:'


class Part(Struct):
    """A piece of content. Where bytes may be many and only their head counts, they stay bytes."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = _ABSENT
    file_url: Raw = _ABSENT
    file_id: Raw = _ABSENT


class Item(Struct):
    """Any item. What items of different types write differently stays bytes."""

    type: str | UnsetType | None = UNSET
    role: str | None = None
    content: str | list[Part] | UnsetType | None = UNSET
    name: Raw = _ABSENT
    arguments: Raw = _ABSENT
    output: Raw = _ABSENT
    summary: Raw = _ABSENT
    encrypted_content: Raw = _ABSENT
    id: Raw = _ABSENT


TEXT_PARTS: Final = frozenset({"input_text", "output_text"})
"""Both are read in either role: SDKs type an assistant's earlier words as either."""

PARTS_BY_ROLE: Final = {
    "system": TEXT_PARTS,
    "developer": TEXT_PARTS,
    "user": TEXT_PARTS | {"input_image", "input_file", "input_audio"},
    "assistant": TEXT_PARTS | {"refusal"},
}
_ANY_PARTS: Final = frozenset[str]().union(*PARTS_BY_ROLE.values())
RESULT_PARTS: Final = frozenset({"input_text", "input_image", "input_file"})

_PART_FEATURES: Final = {
    "input_image": Feature.VISION,
    "input_file": Feature.DOCUMENTS,
    "input_audio": Feature.AUDIO,
}
_LINKS: Final = {
    "input_image": Demand.LINKED_IMAGES,
    "input_file": Demand.LINKED_DOCUMENTS,
}
_CUSTOM_ITEMS: Final = frozenset({"custom_tool_call", "custom_tool_call_output"})
_HOSTED_ITEMS: Final = frozenset(
    [
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    ]
)
_PICTURES: Final = frozenset({"computer_call_output", "image_generation_call"})
"""Items that are one picture, in base64: their bytes are no text."""

_FOREIGN_ID: Final = re.compile(rb'"rs_[0-9A-Za-z]+_[0-9]+"')
"""The id of thinking that this dialect's writer made, of what another provider thought."""

_items = msgspec.json.Decoder(list[Raw])
_parts = msgspec.json.Decoder(list[Part] | None)
_output = msgspec.json.Decoder(str | list[Part] | None)


@dataclass(slots=True)
class Found:
    """What was found in items. `typed`, `held` and `roles` count objects that have the field."""

    texts: list[str] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    demands: set[Demand] = field(default_factory=set)
    typed: int = 0
    held: int = 0
    roles: int = 0
    foreign_thinking: bool = False


def kind_of(item: Item, param: str) -> str:
    """The type of `item`, which a message and a reference may leave out."""
    if isinstance(item.type, str):
        return item.type
    if item.role is not None:
        return "message"
    if not is_given(item.id):
        reject(param, "holds an item without a `type`")
    return "item_reference"


def look_at(items: Sequence[Item], raw: bytes, param: str) -> Found:
    """What `items`, decoded from `raw`, hold. Raises `FieldError`."""
    found = Found()
    unread: list[int] = []
    for position, item in enumerate(items):
        kind = kind_of(item, param)
        found.typed += item.type is not UNSET
        found.roles += item.role is not None
        found.held += item.content is not UNSET
        match kind:
            case "message":
                _message(item, found, param)
            case "function_call":
                # Name and arguments are all that a model reads of a call.
                found.texts += (bytes(item.name).decode(), bytes(item.arguments).decode())
            case "function_call_output" | "custom_tool_call_output":
                _result(item, found, param)
            case "reasoning":
                _reasoning(item, found, param)
            case _:
                unread.append(position)
        found.demands |= _demands_of(kind, item)
        if kind == "computer_call_output":
            found.features.append(Feature.VISION)
    if unread:
        raws = _items.decode(raw)
        texts = [raws[i] for i in unread if items[i].type not in _PICTURES]
        found.texts += [bytes(text).decode() for text in texts]
    return found


def texts_of(content: str | Iterable[Part] | UnsetType | None) -> list[str]:
    if isinstance(content, str):
        return [content]
    if content is None or content is UNSET:
        return []
    return [text for part in content if (text := part.text or part.refusal)]


def is_given(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:5]) not in (b"", b"null")


def is_foreign_thinking(item: Item) -> bool:
    """Whether `item` is what a translated answer said of its thinking. OpenAI would look for it."""
    if item.type != "reasoning" or is_given(item.encrypted_content):
        return False
    return _FOREIGN_ID.fullmatch(bytes(item.id)) is not None


def _demands_of(kind: str, item: Item) -> frozenset[Demand]:
    if kind in _HOSTED_ITEMS:
        return frozenset({Demand.HOSTED_TOOLS})
    if kind in _CUSTOM_ITEMS:
        return frozenset({Demand.CUSTOM_TOOLS})
    match kind:
        case "message" | "function_call" | "function_call_output":
            return frozenset()
        case "item_reference":
            return frozenset({Demand.STORED_STATE})
        case "reasoning" | "compaction":
            bound = is_given(item.encrypted_content)
            return frozenset({Demand.ENCRYPTED_REASONING}) if bound else frozenset()
        case _:
            return frozenset({Demand.UNKNOWN_PARTS})


def _message(item: Item, found: Found, param: str) -> None:
    if item.role is None:
        reject(param, "holds a message without a `role`")
    found.texts += texts_of(item.content)
    if isinstance(item.content, list):
        # A role that is not known is a mistake, which is told as one where the request is read.
        _look_at_parts(item.content, PARTS_BY_ROLE.get(item.role, _ANY_PARTS), found)


def _result(item: Item, found: Found, param: str) -> None:
    output = _decoded(item.output, _output, param, "a tool's output")
    found.texts += texts_of(output)
    if isinstance(output, list):
        _look_at_parts(output, RESULT_PARTS, found)
        # No API takes documents in a result that doesn't take pictures there.
        if any(part.type in _LINKS for part in output):
            found.demands.add(Demand.IMAGES_IN_RESULTS)


def _reasoning(item: Item, found: Found, param: str) -> None:
    summary = _decoded(item.summary, _parts, param, "a summary")
    found.foreign_thinking |= is_foreign_thinking(item)
    found.texts += [*texts_of(summary), *texts_of(item.content)]
    found.typed += len(summary or ()) + (len(item.content) if isinstance(item.content, list) else 0)


def _look_at_parts(parts: Iterable[Part], known: frozenset[str], found: Found) -> None:
    for part in parts:
        found.typed += 1
        if part.type not in known:
            found.demands.add(Demand.UNKNOWN_PARTS)
        if part.type in _PART_FEATURES:
            found.features.append(_PART_FEATURES[part.type])
        if part.type in _LINKS:
            if is_given(part.file_id):
                found.demands.add(Demand.STORED_FILES)
            link = part.image_url if part.type == "input_image" else part.file_url
            if is_given(link) and bytes(memoryview(link)[: len(_INLINE)]) != _INLINE:
                found.demands.add(_LINKS[part.type])


_Output = str | list[Part] | None


def _decoded(
    raw: Raw,
    decoder: msgspec.json.Decoder[_Output] | msgspec.json.Decoder[list[Part] | None],
    param: str,
    what: str,
) -> _Output:
    if not is_given(raw):
        return None
    try:
        return decoder.decode(raw)
    except RecursionError:
        reject(param, "is nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reject(param, f"holds {what} that is not right: {error}")
