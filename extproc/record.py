"""A decision as the public JSON object, ROUTING's record, and the same with its outcome."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from extproc.outcome import Ending, Outcome, Usage
from extproc.vocabulary import Candidate, Decision

_USD_DIGITS: Final = 9
_MS_DIGITS: Final = 1

_encode = msgspec.json.Encoder().encode


def record(decision: Decision, decide_us: int | None = None) -> dict[str, Any]:
    """`decide_us` is None where time is not to be measured: the same input, the same text."""
    task, estimate, refusal = decision.task, decision.estimate, decision.refusal
    told: dict[str, Any] = {
        "id": decision.id,
        "time": iso_time(decision.time),
        "config": decision.config,
        "app": decision.app,
        "route": decision.route,
        "requested_model": decision.requested_model,
        "task": task
        and {"type": task.type, "source": task.source.value, "confidence": task.confidence},
        "estimate": estimate
        and {"input_tokens": estimate.input_tokens, "output_tokens": estimate.output_tokens},
        "chain": [_link(candidate) for candidate in decision.chain],
        "rejected": [
            {"target": r.target, "reason": r.reason.value, "detail": r.detail}
            for r in decision.rejected
        ],
        "why": decision.why,
        "decide_us": decide_us,
    }
    if decision.history:
        policy = "strip" if decision.history.stripped else "pin"
        told["history"] = {"bound_by": list(decision.history.bound_by), "policy": policy}
    if decision.counting:
        told["counting"] = True
    if refusal:
        told["refusal"] = {
            "kind": refusal.kind,
            "status": refusal.status,
            "message": refusal.message,
        }
    return told


def with_outcome(record: bytes, outcome: Outcome | None) -> bytes:
    """A record as JSON, and what became of it: null as long as that is not known.

    What is usual goes without saying: see `_exceptions`.
    """
    assert record.endswith(b"}"), "a JSON object, without space around it"
    return b'%b,"outcome":%b}' % (record[:-1], _encode(outcome and _outcome(outcome)))


def _outcome(outcome: Outcome) -> dict[str, Any]:
    usage = outcome.usage
    told: dict[str, Any] = {
        "target": outcome.target,
        "attempts": outcome.attempts,
        "status": outcome.status,
        "ttfb_ms": _rounded(outcome.ttfb_ms, _MS_DIGITS),
        "duration_ms": _rounded(outcome.duration_ms, _MS_DIGITS),
        "usage": usage and _usage(usage),
        "cost_usd": _rounded(outcome.cost_usd, _USD_DIGITS),
        "reported_model": outcome.reported_model,
    }
    return told | _exceptions(outcome)


def _usage(usage: Usage) -> dict[str, int]:
    parts = {
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
    whole = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return whole | {name: tokens for name, tokens in parts.items() if tokens}


def _exceptions(outcome: Outcome) -> dict[str, Any]:
    """`ending` only of an answer that is not whole, `estimated` only of a usage not reported."""
    told: dict[str, Any] = {}
    if outcome.ending is not Ending.COMPLETE:
        told["ending"] = outcome.ending.value
    if outcome.usage_estimated:
        told["estimated"] = True
    return told


def _link(candidate: Candidate) -> dict[str, Any]:
    target = candidate.target
    return {
        "target": target.id,
        "provider": target.provider.name,
        "model": target.model.name,
        "upstream_model": target.upstream_model,
        "expected_cost_usd": _rounded(candidate.expected_cost_usd, _USD_DIGITS),
    }


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)


def iso_time(now: float) -> str:
    """ISO 8601 in UTC, to the second."""
    return _iso_second(math.floor(now))


@lru_cache(maxsize=4)  # hundreds of records may be of one second
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")
