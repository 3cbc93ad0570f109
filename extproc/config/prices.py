"""Prices and context windows from the genai-prices package: dated, offline, never the network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

from genai_prices import data_snapshot, types

from extproc.price import Price, PriceList, PricePeriod, Rate

SOURCE: Final = f"genai-prices {version('genai-prices')}"

PROVIDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "openai": "openai",
        "anthropic": "anthropic",
        "google": "google",
        "azure": "azure",
        "bedrock": "aws",
        "mistral": "mistral",
        "groq": "groq",
        "together": "together",
        "openrouter": "openrouter",
    }
)
"""Presets → providers as that package calls them. Self-hosted ones have no list price."""

_MAKERS: Final = ("openai", "anthropic", "google", "mistral")
_KTOK: Final = 1000


@cache
def listed(preset: str, upstream_model: str) -> types.ModelInfo | None:
    """What the package knows of `upstream_model` at the provider of `preset`."""
    if preset not in PROVIDERS:
        return None
    snapshot = data_snapshot.get_snapshot()
    try:
        return snapshot.find_provider_model(upstream_model, None, PROVIDERS[preset], None)[1]
    except LookupError:
        return None


@cache
def maker_of(name: str) -> str | None:
    """The preset of the maker that lists a model under exactly this name.

    Exactly, because the package's own matching takes a misspelt name for its nearest relative.
    """
    snapshot = data_snapshot.get_snapshot()
    by_id = {provider.id: provider for provider in snapshot.providers}
    for preset in _MAKERS:
        if any(model.id == name for model in by_id[PROVIDERS[preset]].models):
            return preset
    return None


def price_list(model: types.ModelInfo) -> PriceList:
    """The package's prices, those that hold only for some time included; empty: none that fits."""
    if isinstance(model.prices, types.ModelPrice):
        price = _price(model.prices)
        return (PricePeriod(price),) if price else ()
    periods = [_period(conditional) for conditional in model.prices]
    return tuple(period for period in periods if period)


def _period(conditional: types.ConditionalPrice) -> PricePeriod | None:
    price = _price(conditional.prices)
    if price is None:
        return None
    match conditional.constraint:
        case types.StartDateConstraint(start_date=day):
            return PricePeriod(price, start=datetime.combine(day, time(), UTC).timestamp())
        case types.TimeOfDateConstraint(start_time=begin, end_time=end):
            return PricePeriod(price, daily_s=(_second(begin), _second(end)))
        case _:
            return PricePeriod(price)


def _second(moment: time) -> float:
    utc = datetime.combine(datetime(2000, 1, 2, tzinfo=UTC), moment, moment.tzinfo or UTC)
    in_utc = utc.astimezone(UTC)
    return in_utc.hour * 3600 + in_utc.minute * 60 + in_utc.second


def _price(listed_price: types.ModelPrice) -> Price | None:
    rate_in, rate_out = _rate(listed_price.input_mtok), _rate(listed_price.output_mtok)
    if rate_in is None:
        return None
    requests = listed_price.requests_kcount
    return Price(
        input=rate_in,
        output=rate_out or Rate(0.0),  # an embedding has no output to pay for
        cache_read=_rate(listed_price.cache_read_mtok),
        cache_write=_rate(listed_price.cache_write_mtok),
        reasoning=_rate(listed_price.output_reasoning_mtok),
        request_usd=float(requests) / _KTOK if isinstance(requests, Decimal) else 0.0,
    )


def _rate(price: Decimal | types.TieredPrices | None) -> Rate | None:
    if price is None:
        return None
    if isinstance(price, types.TieredPrices):
        tiers = tuple((tier.start, float(tier.price)) for tier in price.tiers)
        return Rate(float(price.base), tiers)
    return Rate(float(price))
