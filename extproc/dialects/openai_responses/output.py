"""OpenAI responses: an answer as it grows, item by item, and the steps in which it does.

The choreography is that of "Streaming events" in the API reference: an item is added, its parts
are, they grow by deltas; then text, part and item are each said to be done, whole once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Event,
    Finished,
    FinishReason,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
)

ANSWER_CHARS_MAX: Final = 16 * 1024 * 1024
"""Of the texts and arguments of one answer, which are kept because its last event repeats them."""

_PIECE_CHARS: Final = 32
"""What keeping one piece of a text takes, however short: about as many characters."""

Json = Mapping[str, object]
Step = tuple[str, Json]
"""The type of a streaming event, and its fields but for the sequence number."""

_Status = Literal["in_progress", "completed", "incomplete"]


class TooLongError(ValueError):
    """The answer is longer than `ANSWER_CHARS_MAX`."""


@dataclass(slots=True)
class _Thought:
    """An item of type `reasoning`; all of it is one part of a summary."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list)
    status: _Status = "in_progress"

    def json(self) -> Json:
        summary = [_summary("".join(self.pieces))] if self.pieces else []
        return {"id": self.id, "type": "reasoning", "summary": summary, "status": self.status}

    def place(self) -> Json:
        return {"item_id": self.id, "output_index": self.index, "summary_index": 0}

    def added(self) -> Iterator[Step]:
        yield _added(self.index, self.json())
        part = {**self.place(), "part": _summary("")}
        yield "response.reasoning_summary_part.added", part

    def grown(self, text: str) -> Iterator[Step]:
        self.pieces.append(text)
        yield "response.reasoning_summary_text.delta", {**self.place(), "delta": text}

    def done(self, status: _Status) -> Iterator[Step]:
        self.status = status
        text = "".join(self.pieces)
        yield "response.reasoning_summary_text.done", {**self.place(), "text": text}
        yield "response.reasoning_summary_part.done", {**self.place(), "part": _summary(text)}
        yield _done(self.index, self.json())


@dataclass(slots=True)
class _Words:
    """One part of a message: text, or what the model says to refuse."""

    kind: Literal["output_text", "refusal"]
    pieces: list[str] = field(default_factory=list)

    def json(self) -> Json:
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


@dataclass(slots=True)
class _Message:
    id: str
    index: int
    parts: list[_Words] = field(default_factory=list)
    status: _Status = "in_progress"

    def json(self) -> Json:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "status": self.status,
            "content": [part.json() for part in self.parts],
        }

    def place(self) -> Json:
        place = {"item_id": self.id, "output_index": self.index}
        return {**place, "content_index": len(self.parts) - 1}

    def added(self) -> Iterator[Step]:
        yield _added(self.index, self.json())

    def grown(self, kind: Literal["output_text", "refusal"], text: str) -> Iterator[Step]:
        if not self.parts or self.parts[-1].kind != kind:
            yield from self._part_done()
            self.parts.append(_Words(kind))
            yield "response.content_part.added", {**self.place(), "part": self.parts[-1].json()}
        self.parts[-1].pieces.append(text)
        delta = {**self.place(), "delta": text}
        yield f"response.{kind}.delta", delta if kind == "refusal" else {**delta, "logprobs": []}

    def done(self, status: _Status) -> Iterator[Step]:
        yield from self._part_done()
        self.status = status
        yield _done(self.index, self.json())

    def _part_done(self) -> Iterator[Step]:
        if not self.parts:
            return
        part = self.parts[-1].json()
        place = self.place()
        if self.parts[-1].kind == "refusal":
            yield "response.refusal.done", {**place, "refusal": part["refusal"]}
        else:
            text = {"text": part["text"], "logprobs": []}
            yield "response.output_text.done", {**place, **text}
        yield "response.content_part.done", {**place, "part": part}


@dataclass(slots=True)
class _Call:
    id: str
    index: int
    call_id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    status: _Status = "in_progress"

    def json(self) -> Json:
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": "".join(self.pieces),
        }

    def place(self) -> Json:
        return {"item_id": self.id, "output_index": self.index}

    def added(self) -> Iterator[Step]:
        yield _added(self.index, self.json())

    def grown(self, arguments: str) -> Iterator[Step]:
        self.pieces.append(arguments)
        yield "response.function_call_arguments.delta", {**self.place(), "delta": arguments}

    def done(self, status: _Status) -> Iterator[Step]:
        self.status = status
        if not self.pieces:
            yield from self.grown("{}")  # clients parse it
        whole = {**self.place(), "arguments": "".join(self.pieces)}
        yield "response.function_call_arguments.done", whole
        yield _done(self.index, self.json())


_Item = _Thought | _Message | _Call


class Output:
    """The items of one answer. Calls may grow at the same time, and all else beside them."""

    __slots__ = ("_answer_id", "_calls", "_chars", "_items", "_open")

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._items: list[_Item] = []
        self._open: _Thought | _Message | None = None
        self._calls: dict[int, _Call] = {}
        self._chars = 0

    def steps(self, event: Event) -> Iterator[Step]:
        """What `event` adds. Raises `TooLongError`."""
        match event:
            case TextDelta(text) if text:
                yield from self._said("output_text", text)
            case RefusalDelta(text) if text:
                yield from self._said("refusal", text)
            case ThinkingDelta(text) if text:
                yield from self._thought(text)
            case ThinkingEnded():
                if isinstance(self._open, _Thought):
                    yield from self._close("completed")
            case CallStarted(index, call_id, name) if index not in self._calls:
                yield from self._called(index, call_id, name)
            case CallDelta(index, arguments) if arguments and self._grows(index):
                yield from self._calls[index].grown(self._counted(arguments))
            case Finished(reason):
                yield from self.finish(reason)
            case _:
                pass  # redacted thinking can't be said, usage is said at the end

    def finish(self, reason: FinishReason) -> Iterator[Step]:
        """What says that all items are done; those still open are cut short if the answer is."""
        cut = reason in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
        status: _Status = "incomplete" if cut else "completed"
        yield from self._close(status)
        for call in self._calls.values():
            if call.status == "in_progress":
                yield from call.done(status)

    def json(self) -> list[Json]:
        return [item.json() for item in self._items]

    def _said(self, kind: Literal["output_text", "refusal"], text: str) -> Iterator[Step]:
        if not isinstance(self._open, _Message):
            yield from self._close("completed")
            self._open = _Message(self._id("msg"), len(self._items))
            self._items.append(self._open)
            yield from self._open.added()
        yield from self._open.grown(kind, self._counted(text))

    def _thought(self, text: str) -> Iterator[Step]:
        if not isinstance(self._open, _Thought):
            yield from self._close("completed")
            self._open = _Thought(self._id("rs"), len(self._items))
            self._items.append(self._open)
            yield from self._open.added()
        yield from self._open.grown(self._counted(text))

    def _called(self, index: int, call_id: str, name: str) -> Iterator[Step]:
        yield from self._close("completed")
        call = _Call(self._id("fc"), len(self._items), self._counted(call_id), self._counted(name))
        self._calls[index] = call
        self._items.append(call)
        yield from call.added()

    def _grows(self, index: int) -> bool:
        return index in self._calls and self._calls[index].status == "in_progress"

    def _close(self, status: _Status) -> Iterator[Step]:
        closing, self._open = self._open, None
        if closing:
            yield from closing.done(status)

    def _id(self, prefix: str) -> str:
        # OpenAI's ids have no second underscore: by it `items` knows thinking that is not OpenAI's.
        return f"{prefix}_{self._answer_id}_{len(self._items)}"

    def _counted(self, text: str) -> str:
        self._chars += len(text) + _PIECE_CHARS
        if self._chars > ANSWER_CHARS_MAX:
            raise TooLongError
        return text


def _summary(text: str) -> Json:
    return {"type": "summary_text", "text": text}


def _added(index: int, item: Json) -> Step:
    return "response.output_item.added", {"output_index": index, "item": item}


def _done(index: int, item: Json) -> Step:
    return "response.output_item.done", {"output_index": index, "item": item}
