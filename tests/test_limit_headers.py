"""What is said of rate limits, in the words of the other dialect."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.limit_headers import limit_headers
from extproc.state.instants import rfc_3339, rfc_3339_of
from extproc.vocabulary import Surface

NOW = 1_767_225_600.25  # 2026-01-01T00:00:00Z
OPENAIS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1m30s",
    "x-ratelimit-limit-tokens": "40000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "20ms",
}
ANTHROPICS = {
    "anthropic-ratelimit-requests-limit": "60",
    "anthropic-ratelimit-requests-remaining": "59",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:30Z",
    "anthropic-ratelimit-tokens-limit": "40000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:00Z",
}
OF_OPENAI = [Surface.CHAT, Surface.RESPONSES, Surface.EMBEDDINGS]
OF_ANTHROPIC = [Surface.MESSAGES, Surface.COUNT_TOKENS]


def test_every_surface_is_of_one_of_the_two() -> None:
    assert {*OF_OPENAI, *OF_ANTHROPIC} == {*Surface}


@pytest.mark.parametrize("surface", OF_ANTHROPIC)
def test_anthropics_clients_are_told_when_a_limit_resets(surface: Surface) -> None:
    assert dict(limit_headers(OPENAIS, surface, NOW)) == ANTHROPICS


@pytest.mark.parametrize("surface", OF_OPENAI)
def test_openais_clients_are_told_how_long_until_then(surface: Surface) -> None:
    found = dict(limit_headers(ANTHROPICS, surface, NOW))
    resets = {"x-ratelimit-reset-requests": "90s", "x-ratelimit-reset-tokens": "0s"}
    assert found == OPENAIS | resets


@pytest.mark.parametrize("surface", Surface)
def test_what_is_in_the_clients_words_already_or_not_there_adds_nothing(surface: Surface) -> None:
    own = ANTHROPICS if surface in OF_ANTHROPIC else OPENAIS
    assert limit_headers(own, surface, NOW) == ()
    assert limit_headers({"content-type": "application/json"}, surface, NOW) == ()


@pytest.mark.parametrize(
    "odd", ["", "-", "-1", "1.5", "many", "\u0661", "9" * 99, "9999-99-99T00:00:00Z"]
)
def test_what_cannot_be_read_is_left_out_and_nothing_raises(odd: str) -> None:
    for surface, names in ((Surface.CHAT, ANTHROPICS), (Surface.MESSAGES, OPENAIS)):
        for name in names:
            found = limit_headers({name: odd}, surface, NOW)
            assert all(value.isascii() and value.isprintable() for _, value in found)


@given(st.integers(0, 253_402_300_799))
def test_an_instant_is_written_as_datetime_writes_it_and_read_again(unix_s: int) -> None:
    written = rfc_3339_of(unix_s + 0.9)
    assert written == datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
    assert rfc_3339(written) == unix_s


@pytest.mark.parametrize("beyond", [-1.0, 253_402_300_800.0, 1e18])
def test_an_instant_of_no_four_digit_year_is_none(beyond: float) -> None:
    assert rfc_3339_of(beyond) is None
