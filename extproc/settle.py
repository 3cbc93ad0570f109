"""What a request came to: who answered, what it took, what that cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.outcome import Ended, Outcome, Usage
from extproc.price import PriceList, Tokens, cost_usd, price_at
from extproc.snapshot import Snapshot

_FAILED: Final = 400


def settled(ended: Ended, record: Mapping[str, Any], snapshot: Snapshot) -> Outcome:
    """`snapshot` is that of the decision whose `record` it is: its prices were in force then."""
    served = ended.target is not None and 0 < ended.status < _FAILED
    usage = ended.usage
    if usage is None and served and not record.get("counting"):
        usage = _expected(record)
    target = snapshot.targets.get(ended.target) if ended.target else None
    baseline = snapshot.telemetry.baseline
    return Outcome(
        target=ended.target,
        attempts=ended.attempts,
        status=ended.status,
        ttfb_ms=ended.ttfb_ms,
        duration_ms=ended.duration_ms,
        ending=ended.ending,
        usage=usage,
        usage_estimated=usage is not None and ended.usage is None,
        cost_usd=_cost_usd(usage, target.prices if target else (), ended.began),
        baseline_cost_usd=_cost_usd(usage, baseline.prices, ended.began) if baseline else None,
        reported_model=ended.reported_model,
    )


def _expected(record: Mapping[str, Any]) -> Usage | None:
    """What the decision expected, for an answer that says nothing of its tokens."""
    estimate = record["estimate"]
    return estimate and Usage(estimate["input_tokens"], estimate["output_tokens"])


def _cost_usd(usage: Usage | None, prices: PriceList, now: float) -> float | None:
    """Nothing where nothing was answered; None where the price is unknown."""
    if usage is None:
        return 0.0
    price = price_at(prices, now)
    if price is None:
        return None
    return cost_usd(
        price,
        Tokens(
            input=usage.input_tokens,
            output=usage.output_tokens,
            cache_read=usage.cache_read_tokens,
            cache_write=usage.cache_write_tokens,
            reasoning=usage.reasoning_tokens,
        ),
    )
