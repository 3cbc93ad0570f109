"""Chance as an argument: one number per request, and all that is drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

DRAW_BITS: Final = 80
_MASK: Final = 2**64 - 1

_T = TypeVar("_T")


class Draw:
    """Numbers that look random and follow from `seed` alone (splitmix64)."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = (seed ^ seed >> 64) & _MASK

    def share(self) -> float:
        """From 0, included, to 1, excluded."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        return ((z ^ z >> 31) >> 11) / 2**53

    def choice(self, options: Sequence[_T]) -> _T:
        return options[int(self.share() * len(options))]
