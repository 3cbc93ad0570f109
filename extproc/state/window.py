"""Counts over the last so many seconds: a sliding window, cut into a bounded number of buckets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Span:
    """How far a window reaches back: `buckets`, the one that is filling included."""

    bucket_s: float
    buckets: int


class Bucket(NamedTuple):
    """`number` is the time in units of the bucket's length."""

    number: int
    requests: int
    amount: int


@dataclass(frozen=True, slots=True)
class Window:
    """Requests, and an amount that goes with them, by time; `requests` and `amount` are the sums.

    Oldest bucket first, no two of one number.
    """

    buckets: tuple[Bucket, ...] = ()
    requests: int = 0
    amount: int = 0


EMPTY: Final = Window()


def current(window: Window, span: Span, now: float) -> Window:
    """`window` without what is out of reach.

    What lies ahead of `now` is kept, as the clock may have been set back a little, but not further
    ahead than the window is long.
    """
    buckets = window.buckets
    number = int(now // span.bucket_s)
    if not buckets or (
        buckets[0].number > number - span.buckets and buckets[-1].number < number + span.buckets
    ):
        return window
    return _of(b for b in buckets if abs(b.number - number) < span.buckets)


def counted(window: Window, span: Span, now: float, requests: int, amount: int) -> Window:
    """`window` with so much more in the bucket of `now`."""
    number = int(now // span.bucket_s)
    newest = window.buckets[-1] if window.buckets else None
    if newest and newest.number == number:
        grown = Bucket(number, newest.requests + requests, newest.amount + amount)
        buckets = (*window.buckets[:-1], grown)
        return Window(buckets, window.requests + requests, window.amount + amount)
    by_number = {b.number: b for b in current(window, span, now).buckets}
    _, had, held = by_number.get(number, (number, 0, 0))
    by_number[number] = Bucket(number, had + requests, held + amount)
    return _of(by_number[n] for n in sorted(by_number))


def corrected(window: Window, span: Span, at: float, requests: int, amount: int) -> Window:
    """`window` with what was counted `at` a time changed by so much; nothing where that is gone."""
    number = int(at // span.bucket_s)
    if not any(b.number == number for b in window.buckets):
        return window
    return _of(
        Bucket(number, max(0, b.requests + requests), max(0, b.amount + amount))
        if b.number == number
        else b
        for b in window.buckets
    )


def _of(buckets: Iterable[Bucket]) -> Window:
    kept = tuple(buckets)
    return Window(kept, sum(b.requests for b in kept), sum(b.amount for b in kept))
