"""What requests to one target have taken: tokens in all, and how much of the input was cached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from extproc.outcome import Usage

CONSTANT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Consumption:
    """Sums that decay with time; `at` is when they held."""

    requests: float = 0.0
    tokens: float = 0.0
    input_tokens: float = 0.0
    cached_tokens: float = 0.0
    at: float = 0.0


NONE: Final = Consumption()


def observed(consumption: Consumption, usage: Usage, now: float) -> Consumption:
    """`consumption` after one more answer. What cannot be a count of tokens changes nothing."""
    if usage.input_tokens <= 0 or usage.output_tokens < 0:
        return consumption
    kept = math.exp(-max(0.0, now - consumption.at) / CONSTANT_S)
    cached = max(0, min(usage.cache_read_tokens, usage.input_tokens))
    return Consumption(
        requests=consumption.requests * kept + 1,
        tokens=consumption.tokens * kept + usage.input_tokens + usage.output_tokens,
        input_tokens=consumption.input_tokens * kept + usage.input_tokens,
        cached_tokens=consumption.cached_tokens * kept + cached,
        at=now,
    )


def cached_share(consumption: Consumption) -> float:
    """From 0 to 1."""
    whole = consumption.input_tokens
    return min(1.0, consumption.cached_tokens / whole) if whole else 0.0


def usual_tokens(consumption: Consumption) -> int:
    """What one more request is likely to take, of which nothing is known."""
    return round(consumption.tokens / consumption.requests) if consumption.requests else 0
