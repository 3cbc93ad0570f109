"""Which runs of targets Envoy gets a guard cluster for (docs/adr/0002-guards.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final

from extproc.snapshot import Objective, Route
from extproc.vocabulary import Target, TargetId

GUARDS_MAX: Final = 500
"""Guard clusters beyond this cost Envoy more memory than skipping an attempt saves (ADR 2)."""


@dataclass(frozen=True, slots=True)
class Order:
    """Targets that a chain is made of: `first` in this order, or in any; then `fallback`."""

    first: tuple[TargetId, ...]
    fallback: tuple[TargetId, ...]
    shuffled: bool

    def windows(self, length: int) -> Iterable[tuple[TargetId, ...]]:
        """Every run of `length` targets of a chain; any target may have dropped out of it."""
        if not self.shuffled:
            yield from combinations((*self.first, *self.fallback), length)
            return
        for ahead in range(length + 1):
            for head in permutations(self.first, ahead):
                for tail in combinations(self.fallback, length - ahead):
                    yield (*head, *tail)


def orders_of(routes: tuple[Route, ...], models: Iterable[tuple[Target, ...]]) -> set[Order]:
    """Every order in which targets are usually planned: by each route, and after each model."""

    def order(first: tuple[Target, ...], fallback: tuple[Target, ...], *, shuffled: bool) -> Order:
        ids = tuple(target.id for target in first)
        rest = tuple(target.id for target in fallback if target.id not in ids)
        return Order(ids, rest, shuffled)

    pinned = tuple(models)
    return {
        order(first, route.fallback, shuffled=False) for route in routes for first in pinned
    } | {
        order(route.candidates, route.fallback, shuffled=route.objective is not Objective.ORDER)
        for route in routes
    }


def guard_windows(
    orders: set[Order], max_attempts: int
) -> tuple[int, tuple[tuple[TargetId, ...], ...]]:
    """The deepest guards that stay within `GUARDS_MAX`, and the windows they need."""
    windows: set[tuple[TargetId, ...]] = set()
    depth = 0
    while depth < max_attempts:
        deeper = set(windows)
        for order in orders:
            for window in order.windows(depth + 1):
                deeper.add(window)
                if len(deeper) > GUARDS_MAX and depth:
                    return depth, tuple(sorted(windows))
        windows = deeper
        depth += 1
    return depth, tuple(sorted(windows))
