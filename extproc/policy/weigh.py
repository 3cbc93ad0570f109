"""What one target would cost one request, in tokens, dollars and milliseconds."""

from __future__ import annotations

from extproc.price import Tokens, cost_usd, price_at
from extproc.state.view import TargetView
from extproc.vocabulary import Candidate, Estimate, Target


def weighed(
    target: Target, seen: TargetView, size: Estimate, reasoning_tokens: int, now: float
) -> Candidate:
    """`target` for a request of `size`, of whose output `reasoning_tokens` are thought."""
    input_tokens, output_tokens = size.input_tokens, size.output_tokens
    price = price_at(target.prices, now)
    cost = None
    if price is not None:
        cached, thought = input_tokens * seen.cached_share, min(reasoning_tokens, output_tokens)
        cost = cost_usd(price, Tokens(input_tokens, output_tokens, cached, reasoning=thought))
    return Candidate(target, input_tokens, cost, expected_latency_ms(seen, output_tokens))


def expected_latency_ms(seen: TargetView, output_tokens: int) -> float | None:
    """Time to the first byte and then a token after another; None before any answer was seen."""
    if seen.ttfb_ms is None:
        return None
    return seen.ttfb_ms + (seen.ms_per_token or 0.0) * output_tokens
