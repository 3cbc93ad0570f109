"""Counts over the last so many seconds, in buckets."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.state.window import EMPTY, Span, Window, corrected, counted, current

TEN: Final = Span(bucket_s=1.0, buckets=10)
START = 1_767_225_600.0


def window_of(*at: float) -> Window:
    window = EMPTY
    for one in at:
        window = counted(window, TEN, START + one, 1, 100)
    return window


@pytest.mark.parametrize(
    ("at", "now", "requests"),
    [
        ((), 0, 0),
        ((0,), 0, 1),
        ((0, 0.5, 0.9), 0.95, 3),
        ((0, 1, 2, 3), 9.9, 4),
        ((0, 1, 2, 3), 10, 3),
        ((0, 1, 2, 3), 12.5, 1),
        ((0, 1, 2, 3), 13, 0),
        ((0,), 1e6, 0),
        # Out of order, and of a clock that was set back: a little, and by hours.
        ((3, 1, 2, 1), 3, 4),
        ((5,), 0, 1),
        ((9,), 0, 1),
        ((10,), 0, 0),
        ((3600, 0), 0, 1),
    ],
)
def test_what_is_older_than_the_window_is_gone(
    at: tuple[float, ...], now: float, requests: int
) -> None:
    window = current(window_of(*at), TEN, START + now)
    assert (window.requests, window.amount) == (requests, 100 * requests)


def test_what_was_counted_can_be_corrected_while_it_is_there() -> None:
    window = window_of(0, 1)
    assert corrected(window, TEN, START, -1, -100) == counted(
        corrected(window_of(1), TEN, START, 0, 0), TEN, START, 0, 0
    )
    assert corrected(window, TEN, START + 1, 0, 50).amount == 250
    assert corrected(window, TEN, START + 2, -1, -100) == window
    assert corrected(window, TEN, START, -9, -900).requests == 1  # never below nothing


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-5, 30), st.integers(0, 3), st.integers(-50, 500), st.booleans()),
        max_size=60,
    )
)
def test_sums_are_those_of_the_buckets_and_there_are_never_many(
    steps: list[tuple[float, int, int, bool]],
) -> None:
    window = EMPTY
    for gap, requests, amount, corrects in steps:
        change = corrected if corrects else counted
        window = change(window, TEN, START + gap, requests, max(0, amount))
        numbers = [bucket.number for bucket in window.buckets]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 2 * TEN.buckets
        assert window.requests == sum(b.requests for b in window.buckets) >= 0
        assert window.amount == sum(b.amount for b in window.buckets) >= 0
