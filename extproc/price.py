"""What tokens cost: rates with tiers, cached input and reasoning, and when each price holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

_PER: Final = 1_000_000
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens.

    `tiers` are (threshold, rate), rising: a request with more input tokens than a threshold pays
    that tier's rate for all its tokens, which is how providers with tiers bill.
    """

    base: float
    tiers: tuple[tuple[int, float], ...] = ()

    def at(self, input_tokens: float) -> float:
        if not self.tiers:
            return self.base
        for threshold, rate in reversed(self.tiers):
            if input_tokens > threshold:
                return rate
        return self.base


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs at one provider; an absent rate is that of plain input or output."""

    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    reasoning: Rate | None = None
    request_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class PricePeriod:
    """When a price holds: from `start` (Unix seconds), or daily between two seconds of the UTC day.

    The daily period may span midnight.
    """

    price: Price
    start: float | None = None
    daily_s: tuple[float, float] | None = None

    def holds(self, now: float) -> bool:
        if self.start is not None:
            return now >= self.start
        if self.daily_s is None:
            return True
        begin, end = self.daily_s
        second = now % _DAY_S
        return begin <= second < end if begin <= end else second >= begin or second < end


PriceList = tuple[PricePeriod, ...]
"""Of the periods that hold, the last one counts; where none holds, the first. Empty: unknown."""


def price_at(prices: PriceList, now: float) -> Price | None:
    if len(prices) == 1:
        return prices[0].price
    for period in reversed(prices):
        if period.holds(now):
            return period.price
    return prices[0].price if prices else None


class Tokens(NamedTuple):
    """Token counts: cached reads and writes are part of `input`, reasoning is part of `output`."""

    input: float
    output: float
    cache_read: float = 0.0
    cache_write: float = 0.0
    reasoning: float = 0.0


def cost_usd(price: Price, tokens: Tokens) -> float:
    """What a provider bills for `tokens`, in US dollars."""
    size, output, cache_read, cache_write, reasoning = tokens
    millionths = price.input.at(size) * (size - cache_read - cache_write)
    if cache_read:
        millionths += (price.cache_read or price.input).at(size) * cache_read
    if cache_write:
        millionths += (price.cache_write or price.input).at(size) * cache_write
    millionths += price.output.at(size) * (output - reasoning)
    if reasoning:
        millionths += (price.reasoning or price.output).at(size) * reasoning
    return millionths / _PER + price.request_usd
