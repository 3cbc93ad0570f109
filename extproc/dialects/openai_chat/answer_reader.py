"""OpenAI chat completions: what a provider of this API answers, as events of no dialect.

Besides OpenAI's own streams it reads those of compatible servers: thinking as `reasoning_content`
or `reasoning`, usage in any chunk, no `[DONE]`, calls without numbers (see `tool_calls`), a whole
`message` where a delta belongs, and errors midway. Of several choices only the first is read: no
translated request asks for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Raw

from extproc.dialects.answer import (
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    UsageTold,
    broken_off,
    malformed,
)
from extproc.dialects.openai_chat import answer_shape as shape
from extproc.dialects.openai_chat.provider_error import midway_error
from extproc.dialects.openai_chat.tool_calls import CallError, ToolCalls
from extproc.dialects.openai_chat.usage import usage_told
from extproc.dialects.openai_chat.written import is_null, starts
from extproc.dialects.sse import ServerSentEvent, SseParser, TooLongError
from extproc.vocabulary import Refusal, ReportedModel

_REASONS: Final = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,  # Mistral
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
"""Any other is a `STOP`."""
_ERROR: Final = "error"
"""An event's name, vLLM's kind of object, and OpenRouter's reason to finish."""
_DONE: Final = b"[DONE]"


def read_answer(body: bytes, answer_id: str) -> list[Event]:
    """A whole answer's events; whatever is wrong with it, a `Failed` at their end."""
    reading = _Reading(answer_id)
    return reading.take(body, is_whole=True)


class StreamReader:
    """Reads a stream; what finished it is told at its end, as some servers say more after that."""

    __slots__ = ("_parser", "_reading")

    def __init__(self, answer_id: str) -> None:
        self._parser = SseParser()
        self._reading = _Reading(answer_id)

    def feed(self, chunk: bytes) -> list[Event]:
        if self._reading.is_over:
            return []
        try:
            events = self._parser.feed(chunk)
        except TooLongError:
            return self._reading.fail(malformed())
        return [event for sse in events for event in self._event(sse)]

    def end(self) -> list[Event]:
        """A last event may lack the empty line behind it; one that is cut off counts for none."""
        try:
            left = self._parser.feed(b"\n\n")
        except TooLongError:
            left = []
        whole = [sse for sse in left if sse.data.strip() == _DONE or _is_json(sse.data)]
        events = [event for sse in whole for event in self._event(sse)]
        return [*events, *self._reading.end()]

    def _event(self, sse: ServerSentEvent) -> list[Event]:
        if sse.data.strip() == _DONE:
            return self._reading.done()
        if sse.name == _ERROR:
            return self._reading.fail(Failed(midway_error(Raw(sse.data))))
        return self._reading.take(sse.data)


class _Reading:
    """One answer, as far as it has come."""

    __slots__ = (
        "_calls",
        "_has_content",
        "_model",
        "_reason",
        "_refuses",
        "_thinks",
        "_told",
        "is_over",
    )

    def __init__(self, answer_id: str) -> None:
        self._calls = ToolCalls(answer_id)
        self._model: ReportedModel | None = None
        self._reason: str | None = None
        self._told: UsageTold | None = None
        self._thinks = False
        self._refuses = False
        self._has_content = False
        self.is_over = False

    def take(self, data: bytes, *, is_whole: bool = False) -> list[Event]:
        """The events of one chunk; or of an answer, which ends with it."""
        if self.is_over or not (data.strip() or is_whole):
            return []
        events: list[Event] = []
        try:
            for event in self._chunk(data):
                events.append(event)  # noqa: PERF402 - what came before an error is told too
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, CallError):
            return [*events, *self.fail(malformed())]
        return [*events, *self.done()] if is_whole else events

    def done(self) -> list[Event]:
        """The provider says that this was all."""
        if self.is_over:
            return []
        if self._model is None or not (self._reason or self._has_content):
            return self.fail(broken_off())
        return self._finish()

    def end(self) -> list[Event]:
        """There is no more; it was all only if a reason to finish was given."""
        if self.is_over:
            return []
        return self._finish() if self._reason else self.fail(broken_off())

    def fail(self, failed: Failed) -> list[Event]:
        if self.is_over:
            return []
        self.is_over = True
        return [failed]

    def _finish(self) -> list[Event]:
        if not self._calls.are_whole:
            return self.fail(malformed())
        self.is_over = True
        reason = _REASONS.get(self._reason or "", FinishReason.STOP)
        if reason == FinishReason.STOP and self._calls.started:
            reason = FinishReason.TOOL_CALLS  # OpenAI has `stop` after a call that was chosen
        elif reason == FinishReason.STOP and self._refuses:
            reason = FinishReason.CONTENT_FILTER  # and after a refusal
        return [*self._thought(), Finished(reason), Ended()]

    def _chunk(self, data: bytes) -> Iterator[Event]:
        chunk = shape.answer.decode(data)
        if not is_null(chunk.error):
            yield from self.fail(Failed(midway_error(chunk.error)))
            return
        if chunk.object == _ERROR:
            yield from self.fail(Failed(midway_error(Raw(data))))
            return
        choice = next((c for c in chunk.choices or () if not c.index), None)
        told = usage_told(chunk.usage)
        if self._model is None:
            if choice is None and told is None:
                return  # Azure begins with what its filter found, under no model's name
            self._model = ReportedModel(chunk.model or "")
            yield Started(self._model)
        if choice is not None:
            yield from self._choice(choice)
        if told is not None and told != self._told:
            self._told = told
            yield told

    def _choice(self, choice: shape.Choice) -> Iterator[Event]:
        delta = choice.delta
        if delta is None and not self._has_content:
            delta = choice.message
        if delta is not None:
            for event in self._delta(delta):
                self._has_content = True
                yield event
        if not is_null(choice.error):
            yield from self.fail(Failed(midway_error(choice.error)))
        elif choice.finish_reason == _ERROR:
            message = "The provider could not go on with its answer."
            yield from self.fail(Failed(Refusal("upstream_failed", 502, "upstream_error", message)))
        elif choice.finish_reason:
            self._reason = choice.finish_reason

    def _delta(self, delta: shape.Delta) -> Iterator[Event]:
        thinking = _plain(delta.reasoning_content) or _plain(delta.reasoning)
        if thinking:
            yield from self._thinking(thinking)
        yield from self._content(delta.content)
        if delta.refusal:
            yield from self._thought()
            self._refuses = True
            yield RefusalDelta(delta.refusal)
        calls = delta.tool_calls or ()
        if delta.function_call:
            calls = [*calls, shape.Call(function=delta.function_call)]
        for call in calls:
            yield from self._thought()
            yield from self._calls.take(call)

    def _content(self, written: Raw) -> Iterator[Event]:
        text = _plain(written)
        if text:
            yield from self._thought()
            yield TextDelta(text)
        if not starts(written, b"["):
            return
        for part in shape.content_parts.decode(written):
            thinking = _thinking_of(part)
            if thinking:
                yield from self._thinking(thinking)
            elif part.text:
                yield from self._thought()
                yield TextDelta(part.text)

    def _thinking(self, text: str) -> Iterator[Event]:
        self._thinks = True
        yield ThinkingDelta(text)

    def _thought(self) -> Iterator[Event]:
        """Ends a run of thinking, if there is one."""
        if self._thinks:
            self._thinks = False
            yield ThinkingEnded()


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _plain(written: Raw) -> str | None:
    return shape.text.decode(written) if starts(written, b'"') else None


def _thinking_of(part: shape.ContentPart) -> str:
    if isinstance(part.thinking, list):
        return "".join([inner.text or "" for inner in part.thinking])
    return part.thinking or ""
