"""OpenAI responses: an answer written, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from extproc.dialects.answer import (
    Ended,
    Envelope,
    Event,
    Failed,
    Finished,
    FinishReason,
    Started,
    UsageTold,
    broken_off,
)
from extproc.dialects.openai_chat import render_refusal
from extproc.dialects.openai_responses.output import Json, Output, Step, TooLongError
from extproc.vocabulary import Refusal, ReportedModel

_INCOMPLETE: Final[Mapping[FinishReason, str]] = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}
_TOO_LONG: Final = Refusal(
    "upstream_failed", 502, "answer_too_long", "The provider's answer is too long to be repeated."
)

_CODES: Final = {
    "rate_limit_exceeded",
    "insufficient_quota",
    "context_length_exceeded",
    "server_is_overloaded",
}
"""Those of a failed response that clients act on."""

_Status = Literal["in_progress", "completed", "incomplete", "failed"]

_encode = msgspec.json.Encoder().encode


def write_answer(events: Sequence[Event], envelope: Envelope) -> bytes:
    """One whole answer; without an `Ended` or with a `Failed` among them, the error's body."""
    writing = _Writing(envelope)
    for event in events:
        for _ in writing.steps(event):
            pass
        if writing.over:
            break
    failure = writing.failure or (None if writing.over else broken_off().error)
    return render_refusal(failure) if failure else _encode(writing.response())


class StreamWriter:
    """Writes the events of a streamed answer, numbered, each under its own name.

    OpenAI's SDK raises on an event with an `error` field and on no other, so a failure is told
    twice: as the end of the response, if one began, and as such an event.
    """

    __slots__ = ("_number", "_writing")

    def __init__(self, envelope: Envelope) -> None:
        self._writing = _Writing(envelope)
        self._number = 0

    def write(self, events: Iterable[Event]) -> bytes:
        return b"".join([self._written(*s) for e in events for s in self._writing.steps(e)])

    def _written(self, name: str, fields: Json) -> bytes:
        data = _encode({"type": name, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


class _Writing:
    """One answer in the making: its items, and what is said of it as a whole."""

    __slots__ = ("_echo", "_envelope", "_model", "_output", "_usage", "failure", "over", "reason")

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._echo = {name: msgspec.Raw(value) for name, value in envelope.echo}
        self._model: ReportedModel | None = None
        self._output = Output(envelope.answer_id)
        self._usage: UsageTold | None = None
        self.reason = FinishReason.STOP
        self.failure: Refusal | None = None
        self.over = False

    def steps(self, event: Event) -> Iterator[Step]:
        if self.over:
            return
        try:
            yield from self._steps(event)
        except TooLongError:
            yield from self._failed(_TOO_LONG)

    def _steps(self, event: Event) -> Iterator[Step]:
        match event:
            case Started(model):
                yield from self._begun(model)
            case UsageTold():
                self._usage = self._usage.merged(event) if self._usage else event
            case Failed(error):
                yield from self._failed(error)
            case Ended():
                yield from self._begun(ReportedModel(""))
                yield from self._output.finish(self.reason)
                self.over = True
                name = "incomplete" if self.reason in _INCOMPLETE else "completed"
                yield f"response.{name}", {"response": self.response()}
            case _:
                yield from self._begun(ReportedModel(""))
                if isinstance(event, Finished):
                    self.reason = event.reason
                yield from self._output.steps(event)

    def _begun(self, model: ReportedModel) -> Iterator[Step]:
        if self._model is None:
            self._model = model
            yield "response.created", {"response": self.response()}
            yield "response.in_progress", {"response": self.response()}

    def _failed(self, error: Refusal) -> Iterator[Step]:
        self.over = True
        self.failure = error
        if self._model is not None:
            yield "response.failed", {"response": self.response()}
        told = {"code": error.code, "message": error.message, "param": error.param}
        yield "error", {**told, "error": msgspec.json.decode(render_refusal(error))["error"]}

    def response(self) -> Json:
        """The whole response, as far as it has come; a failed one without its items."""
        status: _Status = "in_progress"
        if self.over:
            status = "incomplete" if self.reason in _INCOMPLETE else "completed"
        if self.failure:
            status = "failed"
        ended = status in ("completed", "incomplete")
        return {
            "id": f"resp_{self._envelope.answer_id}",
            "object": "response",
            "created_at": self._envelope.created_s,
            "status": status,
            "error": _error(self.failure),
            "incomplete_details": (
                {"reason": _INCOMPLETE[self.reason]} if status == "incomplete" else None
            ),
            "model": self._model or "",
            "output": self._output.json() if ended else [],
            "usage": _usage(self._usage) if ended else None,
            **self._echo,
        }


def _error(failure: Refusal | None) -> Json | None:
    if failure is None:
        return None
    otherwise = "rate_limit_exceeded" if failure.kind == "rate_limited" else "server_error"
    code = failure.code if failure.code in _CODES else otherwise
    return {"code": code, "message": failure.message}


def _usage(told: UsageTold | None) -> Json | None:
    if told is None:
        return None
    spent, made = told.input_tokens or 0, told.output_tokens or 0
    return {
        "input_tokens": spent,
        "input_tokens_details": {
            "cached_tokens": told.cache_read_tokens or 0,
            "cache_write_tokens": told.cache_write_tokens or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": told.reasoning_tokens or 0},
        "total_tokens": spent + made,
    }
