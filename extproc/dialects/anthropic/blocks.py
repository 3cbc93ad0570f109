"""The content of Anthropic messages: typed as far as it is read, the rest stays bytes.

Fields are those of the API reference of POST /v1/messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.reading import decoded
from extproc.dialects.repetition import reject_repeated_names

RESULT: Final = "tool_result"
DOCUMENT: Final = "document"


class Source(Struct):
    """Where an image or document is; `data` may be large, so it is decoded only where needed."""

    type: str = ""
    media_type: str | None = None
    data: Raw = Raw()
    url: str | None = None
    content: Raw = Raw()


class Block(Struct):
    """One block of any type; a field that is absent is empty or None."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw()
    tool_use_id: str | None = None
    content: Raw = Raw()
    is_error: bool | None = None
    source: Raw = Raw()
    title: str | None = None
    cache_control: Raw = Raw()
    caller: Raw = Raw()


class Turn(Struct):
    role: str
    content: str | list[Block]


class Seen(NamedTuple):
    """A block with its source, if it has one, and the type of the block that it stands in."""

    block: Block
    source: Source | None
    inside: str


_source = msgspec.json.Decoder(Source)
_blocks = msgspec.json.Decoder(list[Block])
_text = msgspec.json.Decoder(str)

turns = msgspec.json.Decoder(list[Turn])
system_text = msgspec.json.Decoder(str | list[Block] | None)


def source_of(block: Block) -> Source | None:
    """Raises `FieldError`, as do all of these."""
    # In a search result it is a string.
    return decoded(block.source, _source, "messages") if _opens(block.source, b"{") else None


def inner_blocks(raw: Raw) -> list[Block]:
    return decoded(raw, _blocks, "messages") if _opens(raw, b"[") else []


def inner_text(raw: Raw) -> str:
    return decoded(raw, _text, "messages") if _opens(raw, b'"') else ""


def seen_in(messages: Sequence[Turn]) -> list[Seen]:
    """Every block, those inside of results and documents too; none stands deeper than that."""
    return [
        seen
        for turn in messages
        if isinstance(turn.content, list)
        for block in turn.content
        for seen in _with_inner(block)
    ]


def reject_repeated_in_messages(raw: bytes, messages: Sequence[Turn], seen: Sequence[Seen]) -> None:
    """A call's `input` is the tool's own: its names are no business of routing."""
    inputs = [bytes(block.input) for block, _, _ in seen if bytes(block.input)]
    sources = [source for _, source, _ in seen if source]
    reject_repeated_names(
        "messages",
        raw,
        roles=len(messages) + sum(i.count(b'"role"') for i in inputs),
        contents=len(messages)
        + sum(bool(bytes(block.content)) for block, _, _ in seen)
        + sum(bool(bytes(source.content)) for source in sources)
        + sum(i.count(b'"content"') for i in inputs),
        types=sum(_types(block) for block, _, _ in seen)
        + len(sources)
        + sum(i.count(b'"type"') for i in inputs),
    )


def reject_repeated_in_system(raw: bytes, system: str | Sequence[Block] | None) -> None:
    if isinstance(system, list):
        reject_repeated_names("system", raw, types=sum(map(_types, system)))


def _types(block: Block) -> int:
    return 1 + sum(b'"type"' in bytes(raw) for raw in (block.cache_control, block.caller))


def _with_inner(block: Block) -> Iterator[Seen]:
    source = source_of(block)
    yield Seen(block, source, "")
    if block.type == RESULT:
        for inner in inner_blocks(block.content):
            inner_source = source_of(inner)
            yield Seen(inner, inner_source, RESULT)
            yield from _of_document(inner_source)
    yield from _of_document(source)


def _of_document(source: Source | None) -> Iterator[Seen]:
    if source and source.type == "content":
        for inner in inner_blocks(source.content):
            yield Seen(inner, source_of(inner), DOCUMENT)


def _opens(raw: Raw, bracket: bytes) -> bool:
    return bytes(raw).startswith(bracket)
