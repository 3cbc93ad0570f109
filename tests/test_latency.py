"""What is thought of a target's speed, and when that is out of date."""

from collections.abc import Iterable

import pytest
from attempts import START, attempt

from extproc.outcome import Attempt, Failure
from extproc.state.latency import (
    SAMPLES_MIN,
    UNSEEN,
    Latency,
    observed,
    sample_ms,
    silent,
    spiking,
    spoken,
    stale,
)


def heard(samples: Iterable[tuple[float, float]], latency: Latency = UNSEEN) -> Latency:
    """After answers that ended `at` a time and took so many milliseconds."""
    for at, ms in samples:
        one = attempt(at=at - ms / 1000, ttfb_ms=ms)
        latency = observed(latency, one, START + at)
    return latency


def every(gap_s: float, until: float, ms: float, since: float = 0.0) -> list[tuple[float, float]]:
    return [(since + i * gap_s, ms) for i in range(int((until - since) / gap_s))]


def test_the_first_sample_counts_whole_and_the_first_few_alike() -> None:
    assert heard([(1, 500)]).fast_ms == heard([(1, 500)]).slow_ms == 500
    few = heard([(1, 500), (1.1, 100), (1.2, 100), (1.3, 100)])
    assert few.fast_ms == pytest.approx(200)
    assert few.slow_ms == pytest.approx(200)


@pytest.mark.parametrize("gap_s", [0.02, 0.2, 1.0])
def test_means_follow_time_however_many_samples_there_are(gap_s: float) -> None:
    """After its time constant, a mean has gone 63 % of the way."""
    before = heard(every(gap_s, 60, 100))
    fast = heard(every(gap_s, 65, 1000, since=60), before)
    assert fast.fast_ms == pytest.approx(100 + 900 * 0.632, abs=70)
    slow = heard(every(gap_s, 180, 1000, since=60), before)
    assert slow.slow_ms == pytest.approx(100 + 900 * 0.632, abs=10)


def test_a_sample_after_a_while_stands_for_that_while() -> None:
    before = heard(every(0.5, 30, 1000))
    assert heard([(60, 100)], before).fast_ms == pytest.approx(100, abs=5)


def test_samples_that_are_told_of_at_once_share_the_time_they_ended_in() -> None:
    one_by_one = heard(every(0.5, 30, 100))
    batch = [attempt(at=30 + i / 10 - 1, ttfb_ms=1000) for i in range(10)]
    together, apart = one_by_one, one_by_one
    for i, one in enumerate(batch):
        together = observed(together, one, START + 31)
        apart = observed(apart, one, START + 30 + i / 10)
    assert together.fast_ms == pytest.approx(apart.fast_ms)


@pytest.mark.parametrize(
    ("one", "ms"),
    [
        (attempt(ttfb_ms=70), 70),
        (attempt(ttfb_ms=70, status=302), 70),
        (attempt(ttfb_ms=70, status=200, failure=Failure.RESET), 70),
        (attempt(ttfb_ms=70, status=400), None),
        (attempt(ttfb_ms=70, status=429), None),
        (attempt(ttfb_ms=70, status=503, failure=Failure.STATUS), None),
        (attempt(ttfb_ms=30_000, status=None, failure=Failure.TIMEOUT), 30_000),
        (attempt(ttfb_ms=70, status=None, failure=Failure.CONNECT), None),
        (attempt(ttfb_ms=70, status=None), None),
        (attempt(ttfb_ms=-1), None),
        (attempt(ttfb_ms=float("nan")), None),
        (attempt(ttfb_ms=float("inf")), None),
    ],
)
def test_an_answer_is_a_sample_and_so_is_having_waited_in_vain(
    one: Attempt, ms: float | None
) -> None:
    assert sample_ms(one) == ms
    assert (observed(UNSEEN, one, START) is UNSEEN) == (ms is None)


@pytest.mark.parametrize(
    ("samples", "is_spike"),
    [
        ([], False),
        ([(1, 900)], False),
        (every(0.5, 60, 100), False),
        ([*every(0.5, 60, 100), *every(0.5, 65, 1000, since=60)], True),
        ([*every(0.5, 60, 100), *every(0.5, 65, 250, since=60)], False),
        ([*every(0.5, 60, 100), *every(0.5, 900, 1000, since=60)], False),  # usual by now
        ([(i * 0.5, 10) for i in range(SAMPLES_MIN - 1)], False),
    ],
)
def test_a_spike_is_a_fast_mean_of_more_than_three_slow_ones(
    samples: list[tuple[float, float]], *, is_spike: bool
) -> None:
    assert spiking(heard(samples)) == is_spike


@pytest.mark.parametrize(
    ("age_s", "is_stale"), [(0, False), (4.9, False), (5, True), (3600, True), (-1, True)]
)
def test_what_was_not_heard_of_for_five_seconds_is_stale(age_s: float, *, is_stale: bool) -> None:
    assert stale(heard([(1, 100)]), START + 1 + age_s) == is_stale
    assert not stale(UNSEEN, START)


@pytest.mark.parametrize(
    ("usual_ms", "heard_s_ago", "busy_s", "is_silent"),
    [
        (100, 4, 60, False),
        (100, 6, 60, True),
        (100, 3600, 1, False),  # it has only just been asked
        (100, 3600, 6, True),
        (20_000, 30, 60, False),  # it answers at length
        (20_000, 61, 61, True),
    ],
)
def test_a_target_is_silent_when_it_has_requests_and_should_have_answered(
    usual_ms: float, heard_s_ago: float, busy_s: float, *, is_silent: bool
) -> None:
    latency = heard([(0, usual_ms)])
    now = START + heard_s_ago
    assert silent(latency, now - busy_s, now) == is_silent


def test_the_pace_is_learned_from_streams_of_some_length() -> None:
    pace = spoken(UNSEEN, 1000, 100, START)
    assert pace.ms_per_token == 10
    assert spoken(pace, 9000, 3, START + 9) == pace
    assert spoken(pace, -1, 100, START + 9) == pace
    later = spoken(pace, 3000, 100, START + 5)
    assert later.ms_per_token == pytest.approx(10 + 20 * 0.632, abs=0.01)


def test_a_clock_that_was_set_back_does_not_stop_the_means() -> None:
    before = heard(every(0.5, 60, 100))
    after = heard(every(0.5, -3580, 1000, since=-3600), before)
    assert after.fast_ms == pytest.approx(1000, abs=30)
