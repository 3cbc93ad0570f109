"""Expected costs are what the genai-prices package bills for the same usage at the same moment."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from genai_prices import Usage, data_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices

from extproc.config.prices import PROVIDERS, listed, price_list
from extproc.price import Price, PricePeriod, Rate, Tokens, cost_usd, price_at

AGREEMENT: Final = 0.001
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bill:
    """One usage of one model at one moment."""

    provider: Provider
    model: ModelInfo
    tokens: Tokens
    when: datetime

    def theirs(self) -> float:
        usage = Usage(
            input_tokens=self.tokens.input,
            output_tokens=self.tokens.output,
            cache_read_tokens=self.tokens.cache_read,
            cache_write_tokens=self.tokens.cache_write,
            output_reasoning_tokens=self.tokens.reasoning,
        )
        calculated = self.model.calc_price(usage, self.provider, genai_request_timestamp=self.when)
        return float(calculated.total_price)

    def ours(self) -> float:
        price = price_at(price_list(self.model), self.when.timestamp())
        assert price is not None
        return cost_usd(price, self.tokens)

    def __str__(self) -> str:
        return f"{self.provider.id}/{self.model.id} at {self.when} for {self.tokens}"


MODELS: Final = [
    (provider, model)
    for provider in data_snapshot.get_snapshot().providers
    for model in provider.models
    if price_list(model)
]


def prices_of(model: ModelInfo) -> list[ModelPrice]:
    if isinstance(model.prices, ModelPrice):
        return [model.prices]
    return [conditional.prices for conditional in model.prices]


def thresholds_of(model: ModelInfo) -> set[int]:
    rates = (rate for price in prices_of(model) for rate in vars(price).values())
    return {tier.start for rate in rates if isinstance(rate, TieredPrices) for tier in rate.tiers}


def moments_of(model: ModelInfo) -> set[datetime]:
    """Just before and just when each of its prices begins or ends to hold."""
    if isinstance(model.prices, ModelPrice):
        return set()
    turns: set[datetime] = set()
    for conditional in model.prices:
        match conditional.constraint:
            case None:
                continue
            case StartDateConstraint(start_date=day):
                turns.add(datetime(day.year, day.month, day.day, tzinfo=UTC))
            case daily:
                for moment in (daily.start_time, daily.end_time):
                    turns.add(datetime.combine(NOW, moment, moment.tzinfo or UTC))
    return turns | {turn - timedelta(seconds=1) for turn in turns}


def some_tokens(rng: random.Random, size: int | None = None) -> Tokens:
    """`size` input tokens, any part of them cached, and an answer, any part of it thought."""
    whole = rng.choice([1, 100, 8_000, 150_000, 900_000]) if size is None else size
    read = rng.choice([0, rng.randint(0, whole)])
    write = rng.choice([0, rng.randint(0, whole - read)])
    answer = rng.choice([0, 1, rng.randint(1, 30_000)])
    thought = rng.choice([0, rng.randint(0, answer)])
    return Tokens(whole, answer, read, write, thought)


def bills() -> Iterator[Bill]:
    """Each model once at any time, and at each of its thresholds and turns."""
    rng = random.Random(1)
    for provider, model in MODELS:
        when = NOW + timedelta(seconds=rng.randint(-3 * 365 * 86_400, 365 * 86_400))
        yield Bill(provider, model, some_tokens(rng), when)
        for threshold in thresholds_of(model):
            for size in (threshold, threshold + 1):
                yield Bill(provider, model, some_tokens(rng, size), when)
        for turn in moments_of(model):
            yield Bill(provider, model, some_tokens(rng), turn)


BILLS: Final = list(bills())


def test_expected_costs_agree_with_what_the_package_bills() -> None:
    wrong = [
        f"{bill}: {bill.ours()} is not {bill.theirs()}"
        for bill in BILLS
        if bill.ours() != pytest.approx(bill.theirs(), rel=AGREEMENT, abs=1e-12)
    ]
    assert not wrong


def test_the_usages_that_were_compared_are_many_and_of_every_kind() -> None:
    assert len(BILLS) > 1_000
    assert sum(bill.tokens.cache_read > 0 for bill in BILLS) > 100
    assert sum(bill.tokens.cache_write > 0 for bill in BILLS) > 100
    assert sum(bill.tokens.reasoning > 0 for bill in BILLS) > 100
    assert sum(bill.tokens.input in thresholds_of(bill.model) for bill in BILLS) > 20
    assert any("daily_s" in str(price_list(m)) and moments_of(m) for _, m in MODELS)
    assert {bill.provider.id for bill in BILLS} >= set(PROVIDERS.values())


def test_the_models_whose_prices_are_not_per_token_are_the_ones_left_out() -> None:
    left_out = [
        f"{provider.id}/{model.id}"
        for provider in data_snapshot.get_snapshot().providers
        for model in provider.models
        if not price_list(model) and any(p.input_mtok is not None for p in prices_of(model))
    ]
    assert not left_out


# Prices of a config's own

TIERED: Final = Price(
    input=Rate(2.0, ((1000, 4.0), (5000, 8.0))), output=Rate(10.0, ((1000, 20.0),))
)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1000, 1000 * 2 + 10), (1001, 1001 * 4 + 20), (5000, 5000 * 4 + 20), (5001, 5001 * 8 + 20)],
)
def test_a_tier_is_for_all_tokens_of_a_request_that_is_above_it(size: int, expected: int) -> None:
    assert cost_usd(TIERED, Tokens(size, 1)) == pytest.approx(expected / 1e6)


def test_each_kind_of_token_has_its_rate_and_is_billed_once() -> None:
    price = Price(Rate(1), Rate(2), Rate(3), Rate(4), Rate(5), request_usd=7)
    tokens = Tokens(input=100, output=50, cache_read=20, cache_write=10, reasoning=5)
    expected = (70 * 1 + 20 * 3 + 10 * 4 + 45 * 2 + 5 * 5) / 1e6 + 7
    assert cost_usd(price, tokens) == pytest.approx(expected)


def test_what_has_no_rate_of_its_own_costs_as_plain_input_or_output() -> None:
    tokens = Tokens(input=100, output=50, cache_read=20, cache_write=10, reasoning=5)
    assert cost_usd(Price(Rate(1), Rate(2)), tokens) == pytest.approx(200 / 1e6)


def test_what_is_free_costs_nothing() -> None:
    price = Price(Rate(1), Rate(2), cache_read=Rate(0), reasoning=Rate(0))
    tokens = Tokens(input=100, output=50, cache_read=100, reasoning=50)
    assert cost_usd(price, tokens) == 0


CHEAP, DEAR, NEW = (PricePeriod(Price(Rate(usd), Rate(usd))).price for usd in (1, 2, 3))


@pytest.mark.parametrize(
    ("hour", "price"),
    [(16, DEAR), (17, CHEAP), (23, CHEAP), (0, CHEAP), (1, DEAR)],
)
def test_a_daily_price_may_span_midnight(hour: int, price: Price) -> None:
    prices = (PricePeriod(DEAR), PricePeriod(CHEAP, daily_s=(17 * 3600, 1 * 3600)))
    assert price_at(prices, datetime(2026, 1, 1, hour, tzinfo=UTC).timestamp()) is price


def test_of_prices_that_hold_the_last_counts_and_where_none_does_the_first() -> None:
    turn = NOW.timestamp()
    later = turn + 100
    prices = (PricePeriod(DEAR, start=turn), PricePeriod(NEW, start=later))
    assert price_at(prices, later) is NEW
    assert price_at(prices, later - 1) is DEAR
    assert price_at(prices, turn - 1) is DEAR
    assert price_at((), turn) is None


def test_a_self_hosted_model_has_no_list_price() -> None:
    assert listed("vllm", "gpt-4o") is None
    assert listed("openai", "no-such-model") is None
