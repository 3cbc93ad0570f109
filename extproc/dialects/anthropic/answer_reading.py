"""Anthropic messages: a provider's answer, as a stream or whole.

Docs: platform.claude.com/docs/en/build-with-claude/streaming. Blocks come one after another, each
from its start to its stop. New types of events, blocks and deltas may come at any time and are to
be ignored, as are those of tools that the provider runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    RedactedThinking,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    broken_off,
    malformed,
)
from extproc.dialects.anthropic.errors import ErrorObject, error_midway
from extproc.dialects.anthropic.usage import Usage
from extproc.dialects.sse import EVENT_BYTES_MAX, SseParser, TooLongError
from extproc.vocabulary import ReportedModel


class _Block(Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw()


class _Message(Struct):
    model: str | None = None
    usage: Usage | None = None


class _Delta(Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _StreamEvent(Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: Raw = Raw()
    delta: Raw = Raw()
    usage: Usage | None = None
    error: ErrorObject | None = None


class _Answer(Struct):
    type: str = "message"
    model: str | None = None
    content: list[Raw] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    error: ErrorObject | None = None


class _Typed(Struct):
    type: str = ""


_REASONS: Final[Mapping[str, FinishReason]] = {
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_BLOCKS: Final = {"text", "thinking", "redacted_thinking", "tool_use"}
_DELTAS: Final = {"text_delta", "thinking_delta", "signature_delta", "input_json_delta"}

_stream_event = msgspec.json.Decoder(_StreamEvent)
_answer = msgspec.json.Decoder(_Answer)
_block = msgspec.json.Decoder(_Block)
_delta = msgspec.json.Decoder(_Delta)
_typed = msgspec.json.Decoder(_Typed)


class _MalformedError(ValueError):
    """An answer that can't be what it should be; never leaves this module."""


_NOT_READABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _MalformedError)


@dataclass(slots=True)
class _Open:
    """The block that is under way. `block` is None if it is of a type that is ignored."""

    index: int
    block: _Block | None
    signature: list[str] = field(default_factory=list)
    signature_chars: int = 0
    has_arguments: bool = False


class StreamReader:
    """An `AnswerReader`. Anthropic gives its calls ids, so `answer_id` is needed for none."""

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._parser = SseParser()
        self._started = False
        self._over = False
        self._open: _Open | None = None
        self._calls = 0
        self._usage = Usage()
        self._finished: Finished | None = None
        self._on: Mapping[str, Callable[[_StreamEvent], list[Event]]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }

    def feed(self, chunk: bytes) -> list[Event]:
        if self._over:
            return []
        events: list[Event] = []
        try:
            for sse in self._parser.feed(chunk):
                events += self._read(sse.data)
        except (*_NOT_READABLE, TooLongError):
            self._over = True
            events.append(malformed())
        return events

    def end(self) -> list[Event]:
        if self._over:
            return []
        self._over = True
        return [broken_off()]

    def _read(self, data: bytes) -> list[Event]:
        if self._over or _typed.decode(data).type not in self._on:
            return []
        event = _stream_event.decode(data)
        if not self._started and event.type not in {"message_start", "error"}:
            raise _MalformedError
        return self._on[event.type](event)

    def _message_start(self, event: _StreamEvent) -> list[Event]:
        if self._started:
            raise _MalformedError
        self._started = True
        message = event.message or _Message()
        return [Started(ReportedModel(message.model or "")), *self._told(message.usage)]

    def _block_start(self, event: _StreamEvent) -> list[Event]:
        closing = self._close()
        known = _typed.decode(event.content_block).type in _BLOCKS
        block = _block.decode(event.content_block) if known else None
        self._open = _Open(event.index, block)
        if block is None:
            return closing
        if block.signature:
            self._sign(self._open, block.signature)
        if block.type == "tool_use":
            return [*closing, *self._call(block)]
        if block.type == "redacted_thinking":
            return [*closing, RedactedThinking(block.data or "")]
        if block.type == "thinking":
            return closing + ([ThinkingDelta(block.thinking)] if block.thinking else [])
        return closing + ([TextDelta(block.text)] if block.text else [])

    def _call(self, block: _Block) -> list[Event]:
        if not block.name:
            raise _MalformedError
        index, self._calls = self._calls, self._calls + 1
        call_id = block.id or f"toolu_{self._answer_id}_{index}"
        started: list[Event] = [CallStarted(index, call_id, block.name)]
        # Anthropic starts with `{}` and sends the input after it; others send it all at the start.
        given = bytes(block.input).decode()
        if self._open and given and given.strip("{} \t\r\n") and given != "null":
            self._open.has_arguments = True
            started.append(CallDelta(index, given))
        return started

    def _block_delta(self, event: _StreamEvent) -> list[Event]:
        at = self._open
        if at is None or at.index != event.index:
            raise _MalformedError
        if at.block is None or _typed.decode(event.delta).type not in _DELTAS:
            return []
        delta = _delta.decode(event.delta)
        match at.block.type, delta.type:
            case "text", "text_delta":
                return [TextDelta(delta.text)] if delta.text else []
            case "thinking", "thinking_delta":
                return [ThinkingDelta(delta.thinking)] if delta.thinking else []
            case "thinking", "signature_delta":
                self._sign(at, delta.signature or "")
                return []
            case "tool_use", "input_json_delta":
                if not delta.partial_json:
                    return []
                at.has_arguments = True
                return [CallDelta(self._calls - 1, delta.partial_json)]
        raise _MalformedError

    def _block_stop(self, event: _StreamEvent) -> list[Event]:
        if self._open is None or self._open.index != event.index:
            raise _MalformedError
        return self._close()

    def _close(self) -> list[Event]:
        at, self._open = self._open, None
        if at is None or at.block is None:
            return []
        if at.block.type == "thinking":
            return [ThinkingEnded("".join(at.signature) or None)]
        if at.block.type == "tool_use" and not at.has_arguments:
            return [CallDelta(self._calls - 1, "{}")]
        return []

    def _sign(self, at: _Open, piece: str) -> None:
        at.signature.append(piece)
        at.signature_chars += len(piece)
        if at.signature_chars > EVENT_BYTES_MAX:
            raise _MalformedError

    def _message_delta(self, event: _StreamEvent) -> list[Event]:
        delta = _delta.decode(event.delta) if bytes(event.delta) else _Delta()
        if delta.stop_reason:
            self._finished = _finished(delta.stop_reason, delta.stop_sequence)
        return self._told(event.usage)

    def _message_stop(self, _: _StreamEvent) -> list[Event]:
        self._over = True
        closing = self._close()
        return [*closing, self._finished or Finished(FinishReason.STOP), Ended()]

    def _error(self, event: _StreamEvent) -> list[Event]:
        self._over = True
        return [Failed(error_midway(event.error))]

    def _told(self, usage: Usage | None) -> list[Event]:
        if usage is None:
            return []
        self._usage = self._usage.merged(usage)
        return [self._usage.told()]


def read_answer(body: bytes, answer_id: str) -> list[Event]:
    """The events of a whole answer, as of a stream: each block at once."""
    try:
        return _events(_answer.decode(body), answer_id)
    except _NOT_READABLE:
        return [malformed()]


def _events(answer: _Answer, answer_id: str) -> list[Event]:
    if answer.type == "error":
        return [Failed(error_midway(answer.error))]
    if answer.type != "message" or answer.model is None:
        raise _MalformedError
    events: list[Event] = [Started(ReportedModel(answer.model))]
    calls = 0
    for raw in answer.content:
        if _typed.decode(raw).type not in _BLOCKS:
            continue
        block = _block.decode(raw)
        events += _whole_block(block, calls, answer_id)
        calls += block.type == "tool_use"
    events.append(_finished(answer.stop_reason or "end_turn", answer.stop_sequence))
    if answer.usage:
        events.append(answer.usage.told())
    return [*events, Ended()]


def _whole_block(block: _Block, calls: int, answer_id: str) -> list[Event]:
    match block.type:
        case "text":
            return [TextDelta(block.text)] if block.text else []
        case "redacted_thinking":
            return [RedactedThinking(block.data or "")]
        case "thinking":
            thought: list[Event] = [ThinkingDelta(block.thinking)] if block.thinking else []
            return [*thought, ThinkingEnded(block.signature or None)]
    if not block.name:
        raise _MalformedError
    given = bytes(block.input).decode()
    arguments = given if given not in {"", "null"} else "{}"
    call_id = block.id or f"toolu_{answer_id}_{calls}"
    return [CallStarted(calls, call_id, block.name), CallDelta(calls, arguments)]


def _finished(stop_reason: str, stop_sequence: str | None) -> Finished:
    """A reason that is not known here is taken for a plain end."""
    reason = _REASONS.get(stop_reason, FinishReason.STOP)
    return Finished(reason, stop_sequence if stop_reason == "stop_sequence" else None)
