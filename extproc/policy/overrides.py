"""What a client may ask of the router in `x-router-*` headers, where the config allows it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from extproc.vocabulary import APP_HEADER, Refusal, RequestedModel

PREFIX: Final = "x-router-"
TASK: Final = "task"
MODEL: Final = "model"
AVOID: Final = "avoid"
MAX_COST_USD: Final = "max-cost-usd"
MAX_LATENCY_MS: Final = "max-latency-ms"
NO_FALLBACK: Final = "no-fallback"
NAMES: Final = (TASK, MODEL, AVOID, MAX_COST_USD, MAX_LATENCY_MS, NO_FALLBACK)

_HEADERS: Final = {name: PREFIX + name for name in NAMES}
_AVOIDED_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Overrides:
    """`avoid` holds names of targets, providers or models."""

    task: str | None = None
    model: RequestedModel | None = None
    avoid: frozenset[str] = frozenset()
    cost_usd_max: float | None = None
    latency_ms_max: float | None = None
    no_fallback: bool = False


_NOTHING_ASKED: Final = Overrides()


def honoured(headers: Mapping[str, str], allowed: Collection[str]) -> dict[str, str]:
    """`headers` without the `x-router-*` ones that are not allowed: nothing later reads those."""
    return {
        name: value
        for name, value in headers.items()
        if not name.startswith(PREFIX) or name == APP_HEADER or name.removeprefix(PREFIX) in allowed
    }


def overrides_of(headers: Mapping[str, str]) -> Overrides | Refusal:
    """What honoured `headers` ask for."""
    said = {name: headers[header] for name, header in _HEADERS.items() if header in headers}
    if not said:
        return _NOTHING_ASKED
    avoid = frozenset(filter(None, map(str.strip, said.get(AVOID, "").split(","))))
    if len(avoid) > _AVOIDED_MAX:
        return _invalid(AVOID, f"names more than {_AVOIDED_MAX}")
    try:
        cost_usd_max = _positive(said.get(MAX_COST_USD))
    except ValueError:
        return _invalid(MAX_COST_USD, "is not a positive number of US dollars")
    try:
        latency_ms_max = _positive(said.get(MAX_LATENCY_MS))
    except ValueError:
        return _invalid(MAX_LATENCY_MS, "is not a positive number of milliseconds")
    no_fallback = said.get(NO_FALLBACK, "false").lower()
    if no_fallback not in {"true", "1", "false", "0"}:
        return _invalid(NO_FALLBACK, "is neither true nor false")
    model = said.get(MODEL)
    return Overrides(
        task=said.get(TASK),
        model=RequestedModel(model) if model is not None else None,
        avoid=avoid,
        cost_usd_max=cost_usd_max,
        latency_ms_max=latency_ms_max,
        no_fallback=no_fallback in {"true", "1"},
    )


def _positive(said: str | None) -> float | None:
    if said is None:
        return None
    number = float(said)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def _invalid(name: str, what: str) -> Refusal:
    message = f"The header `{PREFIX}{name}` {what}."
    return Refusal("invalid_request", 400, "invalid_header", message)
