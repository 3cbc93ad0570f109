"""Anthropic messages: an answer for a client that speaks them, as a stream or whole.

Docs: platform.claude.com/docs/en/build-with-claude/streaming. A stream's blocks are numbered and
come strictly one after another, so what belongs to a later one waits until the earlier one is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Ended,
    Envelope,
    Event,
    Failed,
    Finished,
    FinishReason,
    RedactedThinking,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    UsageTold,
    malformed,
    usage_of,
)
from extproc.dialects.anthropic.errors import render_refusal
from extproc.dialects.anthropic.usage import written_usage
from extproc.dialects.arguments import as_object, is_object

HELD_CHARS_MAX: Final = 4 * 1024 * 1024
"""Of one streamed answer: what waits for its turn, and the arguments of the call under way."""

_REASONS: Final[Mapping[FinishReason, str]] = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}


def envelope(_body: bytes, answer_id: str, created_s: int) -> Envelope:
    """Anthropic's answers repeat nothing of the request."""
    return Envelope(answer_id, created_s)


@dataclass(slots=True)
class _Block:
    """One block as far as it is known. `call` is the index of the call that it is, if it is one."""

    type: str
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    call: CallStarted | None = None
    over: bool = False
    written: int = 0
    forgotten: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def new_text(self) -> str:
        """What came since the last time."""
        new, self.written = "".join(self.pieces[self.written :]), len(self.pieces)
        return new

    def forget(self) -> int:
        """Lets go of what was written, and says how many characters that were."""
        chars = sum(map(len, self.pieces[: self.written]))
        self.pieces, self.written = self.pieces[self.written :], 0
        self.forgotten = True
        return chars


class _Blocks:
    """Sorts events into blocks, in the order in which these began."""

    __slots__ = ("_calls", "found", "held_chars")

    def __init__(self) -> None:
        self.found: list[_Block] = []
        self.held_chars = 0
        self._calls: dict[int, _Block] = {}

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text) | RefusalDelta(text) if text:
                self._extend(self._last("text"), text)
            case ThinkingDelta(text) if text:
                self._extend(self._last("thinking"), text)
            case ThinkingEnded(signature):
                self._end_thinking(signature)
            case RedactedThinking(data):
                self._begin(_Block("redacted_thinking", [data], over=True))
                self.held_chars += len(data)
            case CallStarted(index):
                self._calls[index] = _Block("tool_use", call=event)
                self._begin(self._calls[index])
            case CallDelta(index, arguments) if index in self._calls:
                self._extend(self._calls[index], arguments)
            case _:
                pass

    def _extend(self, block: _Block, piece: str) -> None:
        if not block.over:
            block.pieces.append(piece)
            self.held_chars += len(piece)

    def _last(self, type_: str) -> _Block:
        last = self.found[-1] if self.found else None
        if last is None or last.type != type_ or last.over:
            last = _Block(type_)
            self._begin(last)
        return last

    def _end_thinking(self, signature: str | None) -> None:
        last = self.found[-1] if self.found else None
        if signature or (last and last.type == "thinking" and not last.over):
            thought = self._last("thinking")
            thought.signature, thought.over = signature or "", True

    def _begin(self, block: _Block) -> None:
        """What was under way is over, unless it is a call that may go on between others."""
        if self.found:
            last = self.found[-1]
            last.over = last.over or last.call is None or _is_whole(last)
        self.found.append(block)


def _is_whole(call: _Block) -> bool:
    return not call.forgotten and is_object(call.text)


def write_answer(events: Sequence[Event], envelope: Envelope) -> bytes:
    """The message object. A failed answer is an error of Anthropic's form."""
    blocks = _Blocks()
    model = ""
    finished = Finished(FinishReason.STOP)
    for event in events:
        match event:
            case Failed(error):
                return render_refusal(error)
            case Started(reported):
                model = reported
            case Finished():
                finished = event
            case _:
                blocks.add(event)
    content = [_whole(block) for block in blocks.found]
    usage = usage_of(events) or UsageTold()
    message = _message(envelope, model, usage) | {"content": content} | _stop(finished)
    return msgspec.json.encode(message)


class StreamWriter:
    """An `AnswerWriter`.

    The first block is written as it comes, the next ones as soon as it is over: a call is when its
    arguments are a whole object and something else began, at the latest when the answer ends.
    """

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._blocks = _Blocks()
        self._index = 0
        self._begun = False
        self._usage = UsageTold()
        self._finished = Finished(FinishReason.STOP)
        self._over = False

    def write(self, events: Iterable[Event]) -> bytes:
        events = list(events)
        self._usage = self._usage.merged(usage_of(events) or UsageTold())
        written: list[bytes] = []
        for event in events:
            if self._over:
                break
            written += self._write(event)
        if not self._over:
            written += self._ready()
        return b"".join(written)

    def _write(self, event: Event) -> Iterable[bytes]:
        match event:
            case Started(model):
                message = _message(self._envelope, model, self._usage)
                return [_event("message_start", message=message)]
            case Finished():
                self._finished = event
                return []
            case Ended():
                return self._end()
            case Failed(error):
                self._over = True
                return [*self._ready(), _named("error", render_refusal(error))]
        self._blocks.add(event)
        if self._blocks.held_chars <= HELD_CHARS_MAX:
            return []
        ready = self._ready()
        self._forget()
        held_on = self._blocks.held_chars > HELD_CHARS_MAX
        return [*ready, *self._write(malformed())] if held_on else ready

    def _end(self) -> Iterable[bytes]:
        for block in self._blocks.found:
            block.over = True
        ready = self._ready()
        self._over = True
        delta = _event(
            "message_delta", delta=_stop(self._finished), usage=written_usage(self._usage)
        )
        return [*ready, delta, _event("message_stop")]

    def _ready(self) -> list[bytes]:
        """What of the blocks can be written now."""
        written: list[bytes] = []
        while self._index < len(self._blocks.found):
            block = self._blocks.found[self._index]
            if not self._begun:
                self._begun = True
                written.append(
                    _event("content_block_start", index=self._index, content_block=_begin(block))
                )
            written += self._deltas(block)
            if block.over or block.call is None:
                self._blocks.held_chars -= block.forget()
            if not block.over:
                break
            written.append(_event("content_block_stop", index=self._index))
            self._index, self._begun = self._index + 1, False
        return written

    def _forget(self) -> None:
        """Of a call so long, what is written is not kept: it counts as under way to the end."""
        for block in self._blocks.found[self._index : self._index + 1]:
            self._blocks.held_chars -= block.forget()

    def _deltas(self, block: _Block) -> Iterable[bytes]:
        new = block.new_text()
        deltas: list[dict[str, str]] = []
        if new and block.type == "text":
            deltas.append({"type": "text_delta", "text": new})
        elif new and block.type == "thinking":
            deltas.append({"type": "thinking_delta", "thinking": new})
        elif new and block.type == "tool_use":
            deltas.append({"type": "input_json_delta", "partial_json": new})
        if block.over and block.signature:
            deltas.append({"type": "signature_delta", "signature": block.signature})
        return [_event("content_block_delta", index=self._index, delta=delta) for delta in deltas]


def _begin(block: _Block) -> dict[str, object]:
    """A block as it stands in its start: empty, but for what is not told by deltas."""
    if block.type == "redacted_thinking":
        return {"type": block.type, "data": block.text}
    if block.type == "thinking":
        return {"type": block.type, "thinking": "", "signature": ""}
    if block.call:
        return {"type": block.type, "id": block.call.id, "name": block.call.name, "input": {}}
    return {"type": block.type, "text": ""}


def _whole(block: _Block) -> dict[str, object]:
    begun = _begin(block)
    if block.call:
        return begun | {"input": as_object(block.text, parsed=True)}
    if block.type == "thinking":
        return begun | {"thinking": block.text, "signature": block.signature}
    return begun if block.type == "redacted_thinking" else begun | {"text": block.text}


def _message(envelope: Envelope, model: str, usage: UsageTold) -> dict[str, object]:
    return {
        "id": f"msg_{envelope.answer_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": written_usage(usage),
    }


def _stop(finished: Finished) -> dict[str, object]:
    met = finished.stop_sequence
    reason = "stop_sequence" if met is not None else _REASONS[finished.reason]
    return {"stop_reason": reason, "stop_sequence": met}


def _event(name: str, **fields: object) -> bytes:
    return _named(name, msgspec.json.encode({"type": name} | fields))


def _named(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
