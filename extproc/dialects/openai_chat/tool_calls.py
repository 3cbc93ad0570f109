"""Which call a piece belongs to, in the streams of OpenAI and of those that differ.

OpenAI numbers calls by `index` and names each once, with its `id`. Others leave out the number, or
the `id`, or repeat both; Gemini's compatible API has given several calls the same number, and some
servers make up a new `id` for every piece. So a call begins where an `id` or a number is new; but
one whose number is known begins another only if it brings a name too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from extproc.dialects.answer import CallDelta, CallStarted
from extproc.dialects.openai_chat import answer_shape as shape
from extproc.dialects.openai_chat.request_shape import ExtraContent
from extproc.dialects.openai_chat.written import is_null, lenient, starts

CALLS_MAX: Final = 1_000
"""Calls of one answer."""
HELD_CHARS_MAX: Final = 1_000_000
"""Of ids and names, and of arguments whose call's name has not come yet; of one answer."""

_extra = msgspec.json.Decoder(ExtraContent)


class CallError(ValueError):
    """A piece that belongs to no call, or too many of either."""


@dataclass(slots=True)
class _Call:
    """`given` and `number` are the provider's; `index` is None until it starts, with its name."""

    id: str
    given: str | None
    number: int | None
    index: int | None = None
    name: str = ""
    has_arguments: bool = False
    held: list[str] = field(default_factory=list)


class ToolCalls:
    """The calls of one answer, in the order in which they start."""

    __slots__ = ("_answer_id", "_by_id", "_by_number", "_calls", "_held_chars", "_last", "started")

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_number: dict[int, _Call] = {}
        self._last: _Call | None = None
        self._held_chars = 0
        self.started = 0

    @property
    def are_whole(self) -> bool:
        """Whether each has a name."""
        return self.started == len(self._calls)

    def take(self, piece: shape.Call) -> Iterator[CallStarted | CallDelta]:
        """Raises `CallError`."""
        function = piece.function or shape.Function()
        name = function.name or ""
        call = self._found(piece, name) or self._new(piece)
        self._last = call
        if call.index is None and name:
            call.index, call.name = self.started, name
            self.started += 1
            self._hold(name)
            yield CallStarted(call.index, call.id, name, _signature(piece.extra_content))
            if call.held:
                yield CallDelta(call.index, "".join(call.held))
                call.held.clear()
        arguments = _arguments(function.arguments)
        if not arguments:
            return
        call.has_arguments = True
        if call.index is not None:
            yield CallDelta(call.index, arguments)
            return
        self._hold(arguments)
        call.held.append(arguments)

    def _hold(self, text: str) -> None:
        self._held_chars += len(text)
        if self._held_chars > HELD_CHARS_MAX:
            raise CallError

    def _found(self, piece: shape.Call, name: str) -> _Call | None:
        same = self._by_id.get(piece.id or "")
        if same and (piece.index is None or same.number in {None, piece.index}):
            return same
        if piece.index is not None:
            numbered = self._by_number.get(piece.index)
            begins = (
                name and numbered and numbered.name and piece.id not in {None, "", numbered.given}
            )
            return None if begins else numbered
        if piece.id:
            return None
        last = self._last
        begins = bool(name and last and last.name and (last.has_arguments or last.name != name))
        return None if begins else last

    def _new(self, piece: shape.Call) -> _Call:
        is_named = bool(piece.function and piece.function.name)
        if len(self._calls) >= CALLS_MAX or not (is_named or piece.id or piece.index is not None):
            raise CallError
        call_id = piece.id
        if not call_id or call_id in self._by_id:
            call_id = f"call_{self._answer_id}_{len(self._calls)}"
        call = _Call(call_id, piece.id, piece.index)
        self._hold(call_id)
        self._calls.append(call)
        self._by_id[call.id] = call
        if piece.index is not None:
            self._by_number[piece.index] = call
        return call


def _arguments(written: Raw) -> str:
    """Text of JSON; some servers write the JSON itself."""
    if is_null(written):
        return ""
    if starts(written, b'"'):
        return shape.text.decode(written)
    return bytes(written).decode()


def _signature(written: Raw) -> str | None:
    extra = lenient(_extra, written)
    return extra.google.thought_signature if extra and extra.google else None
