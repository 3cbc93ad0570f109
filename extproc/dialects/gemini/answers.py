"""Reading answers of generateContent: GenerateContentResponse, whole or in pieces.

A stream is a row of such responses, each with the next parts of the one candidate; nothing marks
its end, so it is whole if a reason to finish was told. Fields are those of
https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse.

What a thought or a text is signed with is dropped: only calls must come back with their signature,
and a client would take that of a thought for one of its own provider's. Parts of what was not asked
for (pictures, code that Google runs) are left out.
"""

from __future__ import annotations

import re
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
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    UsageTold,
    broken_off,
    malformed,
)
from extproc.dialects.gemini.errors import Status, refusal_of, status_of
from extproc.dialects.sse import SseParser, TooLongError
from extproc.vocabulary import Refusal, ReportedModel

TOKENS_MAX: Final = 2**53
"""Of a count in `usageMetadata`; one beyond makes all of them not worth believing."""

_Tokens = Annotated[int, Meta(ge=0, le=TOKENS_MAX)]


class _FunctionCall(Struct):
    name: Annotated[str, Meta(min_length=1)]
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"null")


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _PromptFeedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Response(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw(b"null")
    model_version: str | None = None
    error: Status | None = None


class _Usage(Struct, rename="camel"):
    prompt_token_count: _Tokens | None = None
    tool_use_prompt_token_count: _Tokens | None = None
    cached_content_token_count: _Tokens | None = None
    candidates_token_count: _Tokens | None = None
    thoughts_token_count: _Tokens | None = None


_response = msgspec.json.Decoder(_Response)
_usage = msgspec.json.Decoder(_Usage | None)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)

_REASON: Final = re.compile(r"[A-Z_]{1,64}")

# Every other reason, a malformed call among them, leaves nothing that could be used.
_FINISHED: Final = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
}


class StreamReader:
    """Reads an answer that streams as server-sent events (`alt=sse`).

    `Finished` is told at the end of the bytes: until then more parts may follow a reason to finish.
    """

    __slots__ = ("_answer", "_events")

    def __init__(self, answer_id: str) -> None:
        self._answer = _Answer(answer_id)
        self._events = SseParser()

    def feed(self, chunk: bytes) -> list[Event]:
        if self._answer.over:
            return []
        try:
            received = self._events.feed(chunk)
        except TooLongError:
            return self._answer.fail(malformed())
        return [event for piece in received for event in self._answer.take(piece.data)]

    def end(self) -> list[Event]:
        return self._answer.end()


def read_answer(body: bytes, answer_id: str) -> list[Event]:
    """The answer in `body`, that of one request that did not stream."""
    answer = _Answer(answer_id)
    return [*answer.take(body), *answer.end()]


class _Answer:
    """One answer, response by response."""

    __slots__ = ("_answer_id", "_calls", "_finished", "_started", "_thinking", "_usage", "over")

    def __init__(self, answer_id: str) -> None:
        self.over = False
        self._answer_id = answer_id
        self._started = False
        self._thinking = False
        self._calls = 0
        self._finished: FinishReason | None = None
        self._usage: UsageTold | None = None

    def take(self, data: bytes) -> list[Event]:
        if self.over:
            return []
        events: list[Event] = []
        try:
            self._read(_response.decode(data), events)
        except (ValueError, RecursionError):
            events += self.fail(malformed())
        return events

    def end(self) -> list[Event]:
        if self.over:
            return []
        if self._finished is None:
            return self.fail(broken_off())
        self.over = True
        stopped = self._finished is FinishReason.STOP
        reason = FinishReason.TOOL_CALLS if stopped and self._calls else self._finished
        return [*self._thinking_ended(), Finished(reason), Ended()]

    def fail(self, failed: Failed) -> list[Event]:
        self.over = True
        return [failed]

    def _read(self, response: _Response, events: list[Event]) -> None:
        if response.error:
            refusal = refusal_of(status_of(response.error), response.error)
            events += self.fail(Failed(refusal))
            return
        if not self._started:
            self._started = True
            events.append(Started(ReportedModel(response.model_version or "")))
        candidate = response.candidates[0] if response.candidates else None
        if candidate and candidate.content:
            for part in candidate.content.parts or ():
                self._read_part(part, events)
        self._read_usage(response.usage_metadata, events)
        if candidate and candidate.finish_reason:
            self._finish(candidate.finish_reason, events)
        elif response.prompt_feedback and response.prompt_feedback.block_reason:
            events += self._thinking_ended()
            events.append(RefusalDelta(_blocked(response.prompt_feedback.block_reason)))
            self._finished = FinishReason.CONTENT_FILTER

    def _read_part(self, part: _Part, events: list[Event]) -> None:
        if part.function_call:
            events += self._thinking_ended()
            events += self._call(part.function_call, part.thought_signature)
        elif part.text and part.thought:
            self._thinking = True
            events.append(ThinkingDelta(part.text))
        elif part.text:
            events += self._thinking_ended()
            events.append(TextDelta(part.text))

    def _call(self, call: _FunctionCall, signature: str | None) -> list[Event]:
        """A call and all of its arguments, which the API gives at once."""
        if _object.decode(call.args) is None:
            arguments = "{}"
        else:
            arguments = msgspec.json.format(bytes(call.args), indent=-1).decode()
        index = self._calls
        self._calls += 1
        call_id = call.id or f"call_{self._answer_id}_{index}"
        return [
            CallStarted(index, call_id, call.name, signature or None),
            CallDelta(index, arguments),
        ]

    def _read_usage(self, raw: msgspec.Raw, events: list[Event]) -> None:
        """Tells what changed; a count that is none costs the client no answer."""
        try:
            told = _usage.decode(raw)
        except (ValueError, RecursionError):
            return
        if told is None:
            return
        # A count of 0 is left out: where nothing was generated, only the prompt's is told.
        usage = (self._usage or UsageTold(output_tokens=0)).merged(_usage_told(told))
        if usage != self._usage:
            self._usage = usage
            events.append(usage)

    def _finish(self, reason: str, events: list[Event]) -> None:
        finished = _FINISHED.get(reason)
        if finished is None:
            events += self.fail(_unusable(reason))
        else:
            self._finished = finished

    def _thinking_ended(self) -> list[Event]:
        if not self._thinking:
            return []
        self._thinking = False
        return [ThinkingEnded()]


def _usage_told(usage: _Usage) -> UsageTold:
    """Google counts what was thought, and what its tools put into the prompt, apart."""
    return UsageTold(
        input_tokens=_sum(usage.prompt_token_count, usage.tool_use_prompt_token_count),
        output_tokens=_sum(usage.candidates_token_count, usage.thoughts_token_count),
        cache_read_tokens=usage.cached_content_token_count,
        reasoning_tokens=usage.thoughts_token_count,
    )


def _sum(*counts: int | None) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


def _blocked(reason: str) -> str:
    named = f" ({reason})" if _REASON.fullmatch(reason) else ""
    return f"The provider blocked the prompt{named}."


def _unusable(reason: str) -> Failed:
    code = reason if _REASON.fullmatch(reason) else "answer_unusable"
    message = "The provider ended its answer without one that can be used."
    return Failed(Refusal("upstream_failed", 502, code, message))
