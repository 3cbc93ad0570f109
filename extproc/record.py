"""A decision as the public JSON object: ROUTING's record, without its outcome."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from extproc.vocabulary import Candidate, Decision

_USD_DIGITS = 9


def record(decision: Decision, decide_us: int | None = None) -> dict[str, Any]:
    """`decide_us` is None where time is not to be measured: the same input, the same text."""
    task, estimate, refusal = decision.task, decision.estimate, decision.refusal
    told: dict[str, Any] = {
        "id": decision.id,
        "time": _time(decision.time),
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
    if refusal:
        told["refusal"] = {
            "kind": refusal.kind,
            "status": refusal.status,
            "message": refusal.message,
        }
    return told


def _link(candidate: Candidate) -> dict[str, Any]:
    target = candidate.target
    cost = candidate.expected_cost_usd
    return {
        "target": target.id,
        "provider": target.provider.name,
        "model": target.model.name,
        "upstream_model": target.upstream_model,
        "expected_cost_usd": None if cost is None else round(cost, _USD_DIGITS),
    }


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
