"""What providers did, as plain values: one attempt, and one request as a whole.

Envoy tells of both in its access logs (docs/data-plane.md); the wire layer reads them into these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from extproc.vocabulary import ReportedModel, TargetId

MODEL_FAILED: Final = 424
"""Bedrock's status for a model that failed: no mistake of the client's, unlike any other 4xx."""


TOKENS_MAX: Final = 1_000_000_000
"""More than any model takes or says at once: a larger count is a provider's mistake."""


def is_providers_failure(status: int) -> bool:
    return status >= 500 or status == MODEL_FAILED


class Failure(StrEnum):
    """Why an attempt counts against its target. A client's own 4xx and a 429 do not."""

    STATUS = "status"
    RESET = "reset"
    CONNECT = "connect"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one target.

    `request_id` is the request's `x-request-id` and `number` counts its attempts from 1: together
    they name the attempt. `began` is Unix seconds. `status` is None where no answer came, `ttfb_ms`
    likewise. `streamed` says whether the answer was a stream of events. `headers` holds what the
    answer said of rate limits, names in lower case, and nothing else.
    """

    request_id: str
    number: int
    target: TargetId
    began: float
    status: int | None
    failure: Failure | None
    ttfb_ms: float | None
    duration_ms: float
    streamed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, whatever the provider's own convention.

    Cached reads and writes are part of `input_tokens`, what was thought is part of `output_tokens`.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


def reported_usage(
    input_tokens: int,
    output_tokens: int,
    *,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> Usage | None:
    """What a provider counted, no part larger than its whole; None for what can be no count.

    No answer takes 0 tokens in: Envoy tells zeros of an answer that it could not read.
    """
    if not (0 < input_tokens <= TOKENS_MAX and 0 <= output_tokens <= TOKENS_MAX):
        return None
    cache_read = _part_of(input_tokens, cache_read_tokens)
    return Usage(
        input_tokens,
        output_tokens,
        cache_read,
        _part_of(input_tokens - cache_read, cache_write_tokens),
        _part_of(output_tokens, reasoning_tokens),
    )


def _part_of(whole: int, part: int) -> int:
    return max(0, min(part, whole))


class Ending(StrEnum):
    """How an exchange ended: in full, cut off by the provider, or left by the client."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Ended:
    """One request as Envoy saw it end; `settle` makes an `Outcome` of it.

    `record` is the decision's record as JSON. `target` is whose answer came, None if none did.
    """

    request_id: str
    record: str
    began: float
    target: TargetId | None
    attempts: int
    status: int
    ttfb_ms: float | None
    duration_ms: float
    ending: Ending
    usage: Usage | None = None
    reported_model: ReportedModel | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    `target` is who answered, None if nobody did; `status` is what the client got, 0 if it left
    before. `usage` is the provider's own count or, with `usage_estimated`, the decision's estimate
    where a provider that answered reported none. `cost_usd` follows from it, None where the price
    is unknown; `baseline_cost_usd` is what the same would have cost at the declared baseline model.
    """

    target: TargetId | None
    attempts: int
    status: int
    ttfb_ms: float | None
    duration_ms: float
    ending: Ending = Ending.COMPLETE
    usage: Usage | None = None
    usage_estimated: bool = False
    cost_usd: float | None = None
    baseline_cost_usd: float | None = None
    reported_model: ReportedModel | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """One request, decided and ended: `record` is the decision's public record.

    `began` is Unix seconds; `traceparent` is the client's own trace context, if it sent one.
    """

    request_id: str
    record: Mapping[str, Any]
    outcome: Outcome
    began: float
    traceparent: str | None = None
