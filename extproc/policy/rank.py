"""In which order the candidates of a route are tried: one function for each objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from extproc.policy.draw import Draw
from extproc.snapshot import Objective
from extproc.state.view import View
from extproc.vocabulary import Candidate

EXPLORED_SHARE: Final = 0.01
"""How many requests go to any candidate at all, so that a mean that is out of date mends itself."""

Ranked = list[Candidate]


def ranked(candidates: Sequence[Candidate], objective: Objective, view: View, draw: Draw) -> Ranked:
    """`candidates` in the order to try them. None of them is dropped."""
    return _RANKINGS[objective](candidates, view, draw)


def _by_order(candidates: Sequence[Candidate], view: View, _draw: Draw) -> Ranked:
    """As written, but those whose latency has spiked last."""
    return sorted(candidates, key=lambda c: view.of(c.target.id).spiking)


def _by_cost(candidates: Sequence[Candidate], _view: View, _draw: Draw) -> Ranked:
    """Cheapest for this request first; among equals as written; unknown prices last."""
    return sorted(
        candidates,
        key=lambda c: math.inf if c.expected_cost_usd is None else c.expected_cost_usd,
    )


def _by_latency(candidates: Sequence[Candidate], view: View, draw: Draw) -> Ranked:
    """The faster of two drawn at random, then the rest by speed.

    Always taking the fastest would send everyone to it at once. One not seen yet counts as the
    median of those that were; one whose latency has spiked is drawn only if there is no other.
    """
    if not candidates:
        return []
    seen = [c.expected_latency_ms for c in candidates if c.expected_latency_ms is not None]
    usual_ms = median(seen) if seen else 0.0

    def slowness(candidate: Candidate) -> tuple[bool, float]:
        latency_ms = candidate.expected_latency_ms
        spiking = view.of(candidate.target.id).spiking
        return spiking, usual_ms if latency_ms is None else latency_ms

    if draw.share() < EXPLORED_SHARE:
        first = draw.choice(candidates)
    else:
        steady = [c for c in candidates if not view.of(c.target.id).spiking] or candidates
        one = draw.choice(steady)
        others = [c for c in steady if c is not one] or [one]
        first = min(one, draw.choice(others), key=slowness)
    rest = sorted((c for c in candidates if c is not first), key=slowness)
    return [first, *rest]


def _by_weight(candidates: Sequence[Candidate], _view: View, draw: Draw) -> Ranked:
    """Drawn one after another, each with the odds of its weight; those of weight 0 last."""
    left = [c for c in candidates if c.target.weight > 0]
    order: Ranked = []
    while left:
        point = draw.share() * sum(c.target.weight for c in left)
        for candidate in left:
            point -= candidate.target.weight
            if point < 0:
                break
        order.append(candidate)
        left.remove(candidate)
    return [*order, *(c for c in candidates if c.target.weight <= 0)]


_RANKINGS: Final[Mapping[Objective, Callable[[Sequence[Candidate], View, Draw], Ranked]]] = {
    Objective.ORDER: _by_order,
    Objective.COST: _by_cost,
    Objective.LATENCY: _by_latency,
    Objective.WEIGHTED: _by_weight,
}
