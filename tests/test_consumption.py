"""What requests to a target have taken."""

import pytest
from attempts import START

from extproc.outcome import Usage
from extproc.state.consumption import NONE, cached_share, observed, usual_tokens


def test_nothing_seen_is_nothing_cached() -> None:
    assert cached_share(NONE) == usual_tokens(NONE) == 0


def test_the_cached_share_is_by_tokens() -> None:
    taken = observed(NONE, Usage(1000, 10, cache_read_tokens=900), START)
    taken = observed(taken, Usage(500, 30), START)
    assert cached_share(taken) == pytest.approx(0.6)
    assert usual_tokens(taken) == 770


def test_what_was_cached_long_ago_fades() -> None:
    taken = observed(NONE, Usage(1000, 0, cache_read_tokens=1000), START)
    assert cached_share(observed(taken, Usage(1000, 0), START + 300)) == pytest.approx(
        0.269, abs=0.001
    )


@pytest.mark.parametrize("usage", [Usage(0, 5), Usage(-1, 5), Usage(5, -1)])
def test_what_cannot_be_a_count_changes_nothing(usage: Usage) -> None:
    assert observed(NONE, usage, START) is NONE


def test_no_more_is_cached_than_there_was() -> None:
    assert cached_share(observed(NONE, Usage(10, 1, cache_read_tokens=99), START)) == 1
