"""An answer on its way from the provider's dialect into the client's.

    provider's bytes ──► events ──► client's bytes
                           └──► what the answer told of its model, its tokens, its end

Pure, and one for each answer that needs it: where both speak the same, no byte comes here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from extproc.access_log import Told
from extproc.dialects.answer import (
    Ended,
    Envelope,
    Event,
    Failed,
    Started,
    UsageTold,
)
from extproc.dialects.registry import EVENT_STREAM, ClientDialect, ProviderDialect
from extproc.vocabulary import Refusal, ReportedModel

JSON: Final = "application/json"
_OK: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Piece:
    """What the client gets next. `told` comes once, with the end of what the answer says.

    `status` is set where the answer turned out to be another than its head said.
    """

    body: bytes
    told: bytes | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """How an answer begins, and whether the client asked for a stream."""

    status: int
    content_type: str
    wants_stream: bool


class Translation:
    """The answer of one provider for one client.

    `model` is what the provider was asked for: some do not say what answered. A stream that the
    client asked for comes in pieces; anything else (`buffered`) whole, in one.
    """

    def __init__(
        self,
        client: ClientDialect,
        provider: ProviderDialect,
        envelope: Envelope,
        model: ReportedModel,
        head: AnswerHead,
    ) -> None:
        assert client.translated is not None
        self._write_answer = client.translated.write_answer
        self._refusal = client.answers.refusal
        self._provider = provider
        self._envelope = envelope
        self._model = model
        self._told = Told(model=model)
        self._usage = UsageTold()
        self._wants_stream = head.wants_stream
        self._status = head.status
        self._streams = head.content_type.lower().startswith(provider.stream_type)
        # A stream that nobody asked for has to be whole before it can be written as one answer.
        self.buffered = self._failed or not (self._streams and self._wants_stream)
        self._reader = provider.reader(envelope.answer_id)
        self._writer = client.translated.writer(envelope)
        self._over = False

    @property
    def _failed(self) -> bool:
        return self._status not in _OK

    @property
    def content_type(self) -> str:
        """Of what the client gets, as the head of the answer has it."""
        return EVENT_STREAM if self._wants_stream and not self._failed else JSON

    def whole(self, body: bytes) -> Piece:
        """All of an answer that is not passed on as it streams."""
        if self._failed:
            return self._refused(self._provider.read_error(self._status, body))
        if self._streams:
            events = self._noted([*self._reader.feed(body), *self._reader.end()])
        else:
            events = self._noted(self._provider.read_answer(body, self._envelope.answer_id))
        failed = next((event for event in events if isinstance(event, Failed)), None)
        if failed is not None:
            return self._refused(failed.error)
        if self._wants_stream:
            return Piece(self._writer.write(events), self._summary())
        return Piece(self._write_answer(events, self._envelope), self._summary())

    def piece(self, chunk: bytes, *, last: bool) -> Piece:
        """The next bytes of a stream; after its end, nothing comes of any more."""
        if self._over:
            return Piece(b"")
        events = self._reader.feed(chunk)
        if last:
            events += self._reader.end()
        noted = self._noted(events)
        over = any(isinstance(event, (Ended, Failed)) for event in noted)
        return Piece(self._writer.write(noted), self._summary() if over else None)

    def _refused(self, refusal: Refusal) -> Piece:
        self._told.whole = self._failed
        status = None if refusal.status == self._status else refusal.status
        return Piece(self._refusal(refusal), self._summary(), status)

    def _noted(self, events: Iterable[Event]) -> list[Event]:
        found: list[Event] = []
        for event in events:
            match event:
                case Started(model):
                    self._told.model = model or self._model
                    found.append(replace(event, model=ReportedModel(self._told.model)))
                    continue
                case UsageTold():
                    self._usage = self._usage.merged(event)
                case Ended() | Failed():
                    self._over = True
                    self._told.whole = isinstance(event, Ended)
                case _:
                    pass
            found.append(event)
        return found

    def _summary(self) -> bytes:
        for name in UsageTold.__slots__:
            setattr(self._told, name, getattr(self._usage, name))
        return msgspec.json.encode(self._told)
