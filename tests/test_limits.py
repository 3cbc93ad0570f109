"""How long a target is left alone, and what is left of its minute."""

import pytest
from attempts import START

from extproc.state.limits import (
    UNLIMITED,
    Allowance,
    Amount,
    Left,
    charged,
    heard,
    left_at,
    refused,
    sending,
    settled,
    unsent,
)
from extproc.vocabulary import Limits

A_DAY = 86_400
YEAR = 366 * A_DAY
ONE = Amount(1, 80, 20)
NO_LIMITS = Limits()
A_MINUTE = Limits(requests_per_minute=3, tokens_per_minute=1000)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 1),
        ({"retry-after": "90"}, 90),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:30 GMT"}, 90),
        ({"retry-after": "Thu, 01 Jan 2025 00:01:30 GMT"}, 1),
        ({"retry-after": "864000"}, 864_000),  # ten days are ten days
        ({"retry-after": "9" * 60}, YEAR),
        ({"retry-after-ms": "1500", "retry-after": "90"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "90"}, 90),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "-5"}, 1),
        ({"retry-after": "0"}, 1),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "12"}, 12),
        ({"x-ratelimit-reset-requests": f"{START + 60:.0f}"}, 60),
        ({"x-ratelimit-reset-requests": f"{START * 1000 + 60_500:.0f}"}, 60.5),
        ({"x-ratelimit-reset-requests": f"{START - 60:.0f}"}, 1),
        ({"x-ratelimit-reset-requests": "999999999"}, A_DAY),
        ({"x-ratelimit-reset-requests": "9" * 60}, A_DAY),
        ({"anthropic-ratelimit-requests-reset": "2036-01-01T00:00:00Z"}, A_DAY),
        ({"retry-after": "Thursday, 01-Jan-26 00:01:30 GMT"}, 90),
        ({"retry-after": "Thu Jan  1 00:01:30 2026"}, 90),
        # The reset of what is exhausted, and the last one of several.
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-tokens": "5000",
                "x-ratelimit-reset-tokens": "50s",
            },
            20,
        ),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "50s",
            },
            50,
        ),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "50s"}, 1),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:40Z",
            },
            40,
        ),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:41Z"}, 41),
        ({"anthropic-ratelimit-output-tokens-reset": "2026-01-01T00:00:42Z"}, 42),
        ({"anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:43Z"}, 43),
        ({"retry-after": "7", "x-ratelimit-reset-requests": "6m0s"}, 7),
    ],
)
def test_a_429_says_how_long_to_wait(headers: dict[str, str], wait_s: float) -> None:
    assert refused(UNLIMITED, headers, START).not_before == pytest.approx(START + wait_s)


def test_a_wait_is_never_shortened() -> None:
    waiting = refused(UNLIMITED, {"retry-after": "90"}, START)
    for later in ({}, {"retry-after": "5"}):
        assert refused(waiting, later, START + 10).not_before == START + 90
    assert refused(waiting, {"retry-after": "90"}, START + 10).not_before == START + 100
    assert heard(waiting, {}, ONE, START + 20, START + 20).not_before == START + 90


def told(headers: dict[str, str], allowance: Allowance = UNLIMITED, at: float = 0) -> Allowance:
    return heard(allowance, headers, allowance.sent, START + at, START + at)


REQUESTS = "x-ratelimit-remaining-requests"


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({REQUESTS: "7"}, Left(requests=7)),
        ({"x-ratelimit-remaining-tokens": "900"}, Left(tokens=900)),
        ({"anthropic-ratelimit-requests-remaining": "7"}, Left(requests=7)),
        ({"anthropic-ratelimit-tokens-remaining": "900"}, Left(tokens=900)),
        ({"anthropic-ratelimit-input-tokens-remaining": "900"}, Left(input_tokens=900)),
        ({"anthropic-ratelimit-output-tokens-remaining": "900"}, Left(output_tokens=900)),
        ({REQUESTS: "many"}, Left()),
        ({REQUESTS: "-7"}, Left()),
        ({REQUESTS: "9" * 50}, Left(requests=10**12)),
        ({REQUESTS: "7", "x-ratelimit-reset-requests": "soon"}, Left(requests=7)),
    ],
)
def test_providers_say_what_is_left(headers: dict[str, str], left: Left) -> None:
    assert left_at(told(headers), NO_LIMITS, START) == left


@pytest.mark.parametrize(
    ("reset", "lasts_s"), [(None, 60), ("30s", 30), ("6m0s", 360), ("999h", 86_400), ("0", 0)]
)
def test_what_was_left_is_unknown_after_the_reset(reset: str | None, lasts_s: float) -> None:
    allowance = told({REQUESTS: "0"} | ({"x-ratelimit-reset-requests": reset} if reset else {}))
    if lasts_s:
        assert left_at(allowance, NO_LIMITS, START + lasts_s - 0.1).requests == 0
    assert left_at(allowance, NO_LIMITS, START + lasts_s).requests is None


def test_what_was_sent_since_is_no_longer_left() -> None:
    allowance = sending(UNLIMITED, ONE, NO_LIMITS, START)
    counted = allowance.sent
    for _ in range(4):
        allowance = sending(allowance, ONE, NO_LIMITS, START)
    headers = {REQUESTS: "10", "x-ratelimit-remaining-tokens": "1000"}
    allowance = heard(allowance, headers, counted, START, START)
    assert left_at(allowance, NO_LIMITS, START) == Left(requests=6, tokens=600)
    allowance = unsent(allowance, ONE, START)
    assert left_at(allowance, NO_LIMITS, START) == Left(requests=7, tokens=700)


def test_an_older_answer_does_not_replace_what_a_newer_one_told() -> None:
    allowance = told({REQUESTS: "3"}, at=10)
    late = heard(allowance, {REQUESTS: "9"}, allowance.sent, START + 5, START + 11)
    assert left_at(late, NO_LIMITS, START + 11).requests == 3


def test_the_limits_of_the_config_hold_over_any_minute() -> None:
    allowance = UNLIMITED
    for at in (0.0, 1.9, 30.0):
        allowance = sending(allowance, ONE, A_MINUTE, START + at)
    assert left_at(allowance, A_MINUTE, START + 30) == Left(requests=0, tokens=700)
    assert left_at(allowance, A_MINUTE, START + 61.8).requests == 0
    assert left_at(allowance, A_MINUTE, START + 62).requests == 2
    assert left_at(allowance, A_MINUTE, START + 92).requests == 3


def test_what_another_replica_sent_counts_too() -> None:
    allowance = charged(UNLIMITED, ONE, A_MINUTE, START)
    assert left_at(allowance, A_MINUTE, START) == Left(requests=2, tokens=900)
    assert allowance.sent == Amount()


def test_tokens_are_corrected_to_what_they_were() -> None:
    allowance = sending(UNLIMITED, ONE, A_MINUTE, START)
    assert left_at(settled(allowance, START, 100, 40), A_MINUTE, START + 9).tokens == 960
    assert left_at(settled(allowance, START, 100, 400), A_MINUTE, START + 9).tokens == 600
    assert left_at(settled(allowance, START - 500, 100, 400), A_MINUTE, START).tokens == 900


def test_of_two_sources_the_smaller_counts() -> None:
    allowance = sending(told({REQUESTS: "1"}), ONE, A_MINUTE, START)
    assert left_at(allowance, A_MINUTE, START).requests == 0
    allowance = sending(told({REQUESTS: "50"}), ONE, A_MINUTE, START)
    assert left_at(allowance, A_MINUTE, START).requests == 2
