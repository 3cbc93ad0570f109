"""What Bedrock answers: the events of ConverseStream, and Converse's whole answer.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html

Neither names the model that answers, so `Started` goes without. A stream's answer is whole once its
`messageStop` was seen: the usage that follows may be lost, and nothing of the answer with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

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
    UsageTold,
    broken_off,
    malformed,
)
from extproc.dialects.bedrock.errors import read_exception
from extproc.dialects.event_stream import EventStreamParser, FramingError, Message
from extproc.vocabulary import Refusal, ReportedModel

CALLS_MAX: Final = 1000
"""Tool calls of one answer."""

STARTED: Final = Started(ReportedModel(""))
"""No model: Bedrock does not say which one answers."""

_REASONS: Final = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
}
_BOTCHED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
_SERVER_TOOL: Final = "server_tool_use"
_NO_ARGUMENTS: Final = "{}"

_Count = Annotated[int, Meta(ge=0)]


class _Usage(Struct, rename="camel"):
    """`input_tokens` leaves out what was read from a cache or written to it."""

    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_write_input_tokens: _Count | None = None

    def told(self) -> UsageTold:
        read, written = self.cache_read_input_tokens, self.cache_write_input_tokens
        fresh = self.input_tokens
        return UsageTold(
            input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
            output_tokens=self.output_tokens,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )


class _CallStart(Struct, rename="camel"):
    tool_use_id: str
    name: str
    type: str | None = None


class _BlockStart(Struct, rename="camel"):
    tool_use: _CallStart | None = None


class _ContentBlockStart(Struct, rename="camel"):
    content_block_index: int
    start: _BlockStart


class _CallInput(Struct):
    input: str


class _ReasoningDelta(Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _BlockDelta(Struct, rename="camel"):
    text: str | None = None
    tool_use: _CallInput | None = None
    reasoning_content: _ReasoningDelta | None = None


class _ContentBlockDelta(Struct, rename="camel"):
    content_block_index: int
    delta: _BlockDelta


class _ContentBlockStop(Struct, rename="camel"):
    content_block_index: int


class _ModelFields(Struct):
    stop_sequence: str | None = None


class _MessageStop(Struct, rename="camel"):
    stop_reason: str
    additional_model_response_fields: _ModelFields | None = None


class _Metadata(Struct):
    usage: _Usage | None = None


class _Call(Struct, rename="camel"):
    tool_use_id: str
    name: str
    input: msgspec.Raw
    type: str | None = None


class _ReasoningText(Struct):
    text: str = ""
    signature: str | None = None


class _Reasoning(Struct, rename="camel"):
    reasoning_text: _ReasoningText | None = None
    redacted_content: str | None = None


class _Cited(Struct):
    text: str | None = None


class _Citations(Struct):
    """Text with what it rests on; in a stream, it is text like any other."""

    content: list[_Cited] = []


class _Block(Struct, rename="camel"):
    text: str | None = None
    citations_content: _Citations | None = None
    tool_use: _Call | None = None
    reasoning_content: _Reasoning | None = None


class _Turn(Struct):
    content: list[_Block]


class _Output(Struct):
    message: _Turn


class _Answer(_MessageStop, rename="camel", kw_only=True):
    output: _Output
    usage: _Usage | None = None


_block_start = msgspec.json.Decoder(_ContentBlockStart)
_block_delta = msgspec.json.Decoder(_ContentBlockDelta)
_block_stop = msgspec.json.Decoder(_ContentBlockStop)
_message_stop = msgspec.json.Decoder(_MessageStop)
_metadata = msgspec.json.Decoder(_Metadata)
_answer = msgspec.json.Decoder(_Answer)

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _OutOfOrderError(ValueError):
    """An event for a block that is not open, or for one more call than is allowed."""


@dataclass(slots=True)
class _OpenCall:
    index: int
    wrote: bool = False


class StreamReader:
    """Reads one answer of ConverseStream."""

    __slots__ = (
        "_answer_id",
        "_calls",
        "_ended",
        "_finished",
        "_open",
        "_parser",
        "_signature",
        "_started",
        "_thinking",
    )

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._parser = EventStreamParser()
        self._started = False
        self._finished = False
        self._ended = False
        self._calls = 0
        self._open: dict[int, _OpenCall | None] = {}  # None: a tool that the provider runs
        self._thinking: int | None = None
        self._signature: str | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        found: list[Event] = []
        try:
            while not self._ended:
                for message in self._parser.feed(chunk):
                    self._read(message, found)
                if not self._parser.broken:
                    break
                chunk = b""
        except (FramingError, _OutOfOrderError, *_UNREADABLE):
            self._end(found, malformed())
        return found

    def end(self) -> list[Event]:
        found: list[Event] = []
        self._end(found, broken_off())
        return found

    def _end(self, found: list[Event], failure: Failed) -> None:
        """The end, whatever made it: a failure only where the answer was not whole."""
        if not self._ended:
            self._ended = True
            found.append(Ended() if self._finished else failure)

    def _read(self, message: Message, found: list[Event]) -> None:
        headers, payload = message
        kind = headers.get(":event-type", "")
        if self._ended:
            return
        if headers.get(":message-type", "event") != "event":
            self._end(found, Failed(read_exception(headers, payload)))
        elif not self._finished:
            if not self._started:
                self._started = True
                found.append(STARTED)
            self._generated(kind, payload, found)
        elif kind == "metadata":  # the last event there is
            self._usage(payload, found)
            self._ended = True
            found.append(Ended())

    def _generated(self, kind: str, payload: bytes, found: list[Event]) -> None:
        if kind == "contentBlockDelta":
            self._delta(_block_delta.decode(payload), found)
        elif kind == "contentBlockStart":
            self._block_started(_block_start.decode(payload), found)
        elif kind == "contentBlockStop":
            self._block_stopped(_block_stop.decode(payload).content_block_index, found)
        elif kind == "messageStop":
            self._stopped(_message_stop.decode(payload), found)
        elif kind == "metadata":
            self._usage(payload, found)

    def _block_started(self, event: _ContentBlockStart, found: list[Event]) -> None:
        call = event.start.tool_use
        if call is None:
            return
        index = event.content_block_index
        if index in self._open or len(self._open) >= CALLS_MAX or self._calls >= CALLS_MAX:
            raise _OutOfOrderError
        self._thinking_ended(found)
        if call.type == _SERVER_TOOL:
            self._open[index] = None
            return
        self._open[index] = _OpenCall(self._calls)
        name = _call_id(call.tool_use_id, self._answer_id, self._calls)
        found.append(CallStarted(self._calls, name, call.name))
        self._calls += 1

    def _delta(self, event: _ContentBlockDelta, found: list[Event]) -> None:
        delta, index = event.delta, event.content_block_index
        if delta.reasoning_content is not None:
            self._reasoning(delta.reasoning_content, index, found)
            return
        if delta.tool_use is not None:
            if index not in self._open:
                raise _OutOfOrderError
            call = self._open[index]
            if call and delta.tool_use.input:
                call.wrote = True
                found.append(CallDelta(call.index, delta.tool_use.input))
        elif delta.text:
            self._thinking_ended(found)
            found.append(TextDelta(delta.text))

    def _reasoning(self, delta: _ReasoningDelta, index: int, found: list[Event]) -> None:
        if self._thinking != index:
            self._thinking_ended(found)
        if delta.redacted_content is not None:
            self._thinking_ended(found)
            found.append(RedactedThinking(delta.redacted_content))
            return
        self._thinking = index
        if delta.text:
            found.append(ThinkingDelta(delta.text))
        if delta.signature:
            self._signature = (self._signature or "") + delta.signature

    def _thinking_ended(self, found: list[Event]) -> None:
        if self._thinking is not None:
            found.append(ThinkingEnded(self._signature))
            self._thinking = self._signature = None

    def _block_stopped(self, index: int, found: list[Event]) -> None:
        if self._thinking == index:
            self._thinking_ended(found)
        self._call_ended(self._open.pop(index, None), found)

    def _call_ended(self, call: _OpenCall | None, found: list[Event]) -> None:
        # A call without arguments has no deltas; every client's SDK wants an object.
        if call and not call.wrote:
            found.append(CallDelta(call.index, _NO_ARGUMENTS))

    def _stopped(self, event: _MessageStop, found: list[Event]) -> None:
        self._thinking_ended(found)
        for call in self._open.values():
            self._call_ended(call, found)
        self._open.clear()
        finish = _finish(event)
        found.append(finish)
        if isinstance(finish, Failed):
            self._ended = True
        else:
            self._finished = True

    def _usage(self, payload: bytes, found: list[Event]) -> None:
        usage = _metadata.decode(payload).usage
        if usage:
            found.append(usage.told())


def read_answer(body: bytes, answer_id: str) -> list[Event]:
    """The events of Converse's whole answer."""
    try:
        answer = _answer.decode(body)
        found = _content(answer.output.message.content, answer_id)
    except _UNREADABLE:
        return [malformed()]
    finish = _finish(answer)
    if isinstance(finish, Failed):
        return [*found, finish]
    usage = [answer.usage.told()] if answer.usage else []
    return [*found, finish, *usage, Ended()]


def _content(blocks: list[_Block], answer_id: str) -> list[Event]:
    found: list[Event] = [STARTED]
    calls = 0
    for block in blocks:
        thought, call = block.reasoning_content, block.tool_use
        if block.text:
            found.append(TextDelta(block.text))
        if block.citations_content:
            cited = block.citations_content.content
            found += [TextDelta(piece.text) for piece in cited if piece.text]
        if thought and thought.redacted_content is not None:
            found.append(RedactedThinking(thought.redacted_content))
        if thought and thought.reasoning_text:
            if thought.reasoning_text.text:
                found.append(ThinkingDelta(thought.reasoning_text.text))
            found.append(ThinkingEnded(thought.reasoning_text.signature))
        if call and call.type != _SERVER_TOOL:
            name = _call_id(call.tool_use_id, answer_id, calls)
            found += [
                CallStarted(calls, name, call.name),
                CallDelta(calls, bytes(call.input).decode()),
            ]
            calls += 1
    return found


def _call_id(told: str, answer_id: str, index: int) -> str:
    return told or f"call_{answer_id}_{index}"


def _finish(stop: _MessageStop) -> Finished | Failed:
    """A reason that is not known yet counts as an ordinary end."""
    if stop.stop_reason in _BOTCHED:
        message = "The model's answer was malformed."
        return Failed(Refusal("upstream_failed", 502, stop.stop_reason, message))
    fields = stop.additional_model_response_fields
    met = fields.stop_sequence if fields and stop.stop_reason == "stop_sequence" else None
    return Finished(_REASONS.get(stop.stop_reason, FinishReason.STOP), met)
