"""An answer in no dialect: the events it consists of, whether it came as a stream or at once.

    Started (ThinkingDelta* ThinkingEnded | RedactedThinking | TextDelta | RefusalDelta
             | CallStarted CallDelta*)* Finished UsageTold* Ended
    … Failed        at any point, and then nothing more

A provider's dialect reads its answer into these, a client's writes them. `UsageTold` may come at
any place after `Started`, and more than once: what is told later overrides field by field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Protocol

from extproc.vocabulary import Refusal, ReportedModel


@dataclass(frozen=True, slots=True)
class Started:
    """`model` is what the provider says is answering."""

    model: ReportedModel


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """What the model says instead of an answer that it will not give."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingEnded:
    """The end of one run of thinking, signed by those providers that want it back unchanged."""

    signature: str | None = None


@dataclass(frozen=True, slots=True)
class RedactedThinking:
    data: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A tool call; `index` counts the calls of this answer from 0. `signature` as in `ToolCall`."""

    index: int
    id: str
    name: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of the JSON text of call `index`'s arguments. Calls may interleave."""

    index: int
    arguments: str


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Finished:
    """`stop_sequence` is the one that was met, if the provider says so."""

    reason: FinishReason
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class UsageTold:
    """Tokens, as far as told, by the convention of `outcome.Usage`.

    Cached reads and writes are part of `input_tokens`, what was thought is part of `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def merged(self, later: UsageTold) -> UsageTold:
        """The same, overridden by what `later` tells."""
        told = {f.name: getattr(later, f.name) for f in fields(self)}
        return UsageTold(
            **{n: getattr(self, n) if value is None else value for n, value in told.items()}
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is whole."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer is not whole: it broke off, is malformed, or the provider said so midway."""

    error: Refusal


Event = (
    Started
    | TextDelta
    | RefusalDelta
    | ThinkingDelta
    | ThinkingEnded
    | RedactedThinking
    | CallStarted
    | CallDelta
    | Finished
    | UsageTold
    | Ended
    | Failed
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an answer says besides what was generated.

    `answer_id` is letters and digits, unique; dialects put their own prefix before it (`msg_`).
    `wants_usage` is chat's `stream_options.include_usage`. `echo` is what the client's dialect
    repeats from the request: JSON, by field.
    """

    answer_id: str
    created_s: int
    wants_usage: bool = False
    echo: tuple[tuple[str, bytes], ...] = ()


class AnswerReader(Protocol):
    """Reads one streamed answer of a provider, however it is cut into chunks; bounded.

    After a `Failed` or an `Ended` it gives no more events.
    """

    def feed(self, chunk: bytes) -> list[Event]: ...

    def end(self) -> list[Event]:
        """What the end of the bytes means: `Failed` unless the answer was whole."""


class AnswerWriter(Protocol):
    """Writes one streamed answer in a client's dialect."""

    def write(self, events: Iterable[Event]) -> bytes: ...


def broken_off() -> Failed:
    message = "The provider's answer broke off before its end."
    return Failed(Refusal("upstream_failed", 502, "answer_truncated", message))


def malformed() -> Failed:
    message = "The provider's answer could not be read."
    return Failed(Refusal("upstream_failed", 502, "answer_malformed", message))


def usage_of(events: Sequence[Event]) -> UsageTold | None:
    """What `events` tell of usage, all together."""
    told: UsageTold | None = None
    for event in events:
        if isinstance(event, UsageTold):
            told = told.merged(event) if told else event
    return told
