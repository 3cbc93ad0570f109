"""In which order the candidates of a route are tried: one function for each objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from extproc.policy.draw import Draw
from extproc.snapshot import Objective
from extproc.state.view import TargetView, View
from extproc.vocabulary import Candidate, TargetId

EXPLORED_SHARE: Final = 0.01
"""How many requests go to any candidate at all, so that a mean that is out of date mends itself."""

TRIED_SHARE: Final = 0.1
"""How many requests go to one that is due to be tried again, until one has: not the next at once,
since where requests are rare every target is always due."""

ABOUT: Final = 1.1
"""Latencies no further apart are the same, or one target would take all for a millisecond."""

FAR: Final = 5.0
"""One so many times slower than the fastest is not drawn: of three, two that are slow would else
meet in every third draw, and the faster of them win it."""

Ranked = list[Candidate]
_Seen = Mapping[TargetId, TargetView]


def ranked(candidates: Sequence[Candidate], objective: Objective, view: View, draw: Draw) -> Ranked:
    """`candidates` in the order to try them. None of them is dropped."""
    return _RANKINGS[objective](candidates, view, draw)


def eased_in(chain: Sequence[Candidate], view: View, draw: Draw) -> Ranked:
    """`chain`, with those that have just recovered behind the others, for all but their share."""
    starting = [
        candidate
        for candidate in chain
        if (share := view.of(candidate.target.id).slow_start) < 1 and draw.share() >= share
    ]
    if not starting:
        return list(chain)
    return [*(candidate for candidate in chain if candidate not in starting), *starting]


def _by_order(candidates: Sequence[Candidate], view: View, draw: Draw) -> Ranked:
    """As written, but those whose latency has spiked last, unless one is tried again."""

    def put_off(candidate: Candidate) -> bool:
        seen = view.of(candidate.target.id)
        return seen.spiking and not (_is_due(seen) and draw.share() < TRIED_SHARE)

    return sorted(candidates, key=put_off)


def _by_cost(candidates: Sequence[Candidate], _view: View, _draw: Draw) -> Ranked:
    """Cheapest for this request first; among equals as written; unknown prices last."""
    return sorted(
        candidates,
        key=lambda c: math.inf if c.expected_cost_usd is None else c.expected_cost_usd,
    )


def _by_latency(candidates: Sequence[Candidate], view: View, draw: Draw) -> Ranked:
    """The faster of two drawn at random, then the rest by speed.

    Always taking the fastest would send everyone to it at once. One not seen yet counts as the
    median of those that were.
    """
    if not candidates:
        return []
    seen = {c.target.id: view.of(c.target.id) for c in candidates}
    known = [c.expected_latency_ms for c in candidates if c.expected_latency_ms is not None]
    usual_ms = median(known) if known else 0.0

    def slowness(candidate: Candidate) -> tuple[bool, float]:
        latency_ms = candidate.expected_latency_ms
        spiking = seen[candidate.target.id].spiking
        return spiking, usual_ms if latency_ms is None else latency_ms

    first = _tried_again(candidates, seen, draw)
    if first is None:
        one, other = _two(_steady(candidates, seen), draw)
        first = _faster(one, other, slowness, seen)
    rest = sorted((c for c in candidates if c is not first), key=slowness)
    return [first, *rest]


def _tried_again(candidates: Sequence[Candidate], seen: _Seen, draw: Draw) -> Candidate | None:
    """One that is asked in order to know, however slow it was: one of those that have no request.

    So one at most is under way at each, and a slow target costs few requests.
    """
    idle = [c for c in candidates if not seen[c.target.id].pending]
    due = [c for c in idle if _is_due(seen[c.target.id])]
    explores = draw.share() < EXPLORED_SHARE
    if explores and idle:
        return draw.choice(idle)
    return draw.choice(due) if due and draw.share() < TRIED_SHARE else None


def _is_due(seen: TargetView) -> bool:
    return seen.stale and not seen.pending


def _steady(candidates: Sequence[Candidate], seen: _Seen) -> Sequence[Candidate]:
    """Those to draw from: near the fastest, without a spike, not out on a request that may be lost.

    Of one that was never seen, or is silent, the next request should not find out the same again.
    """

    def is_awaited(of: TargetView) -> bool:
        return of.pending > 0 and (of.ttfb_ms is None or of.silent)

    heard = [c for c in candidates if not is_awaited(seen[c.target.id])] or candidates
    calm = [c for c in heard if not seen[c.target.id].spiking] or heard
    known = [c.expected_latency_ms for c in calm if c.expected_latency_ms is not None]
    far_ms = FAR * min(known, default=math.inf)
    return [c for c in calm if (c.expected_latency_ms or 0.0) <= far_ms]


def _two(candidates: Sequence[Candidate], draw: Draw) -> tuple[Candidate, Candidate]:
    one = draw.choice(candidates)
    others = [c for c in candidates if c is not one] or [one]
    return one, draw.choice(others)


def _faster(
    one: Candidate,
    other: Candidate,
    slowness: Callable[[Candidate], tuple[bool, float]],
    seen: _Seen,
) -> Candidate:
    """Of two that are about as fast the less busy one, and the first where they are as busy."""
    fast, slow = sorted((one, other), key=slowness)
    (spiking, fast_ms), (also, slow_ms) = slowness(fast), slowness(slow)
    if spiking == also and slow_ms <= fast_ms * ABOUT:
        return min(one, other, key=lambda c: seen[c.target.id].pending)
    return fast


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
