"""When a breaker opens, half-opens and closes, and what its peers have to do with it."""

import pytest
from attempts import START, attempt, failed

from extproc.outcome import Attempt, Failure
from extproc.snapshot import HealthCheck
from extproc.state.breaker import (
    CLOSED,
    OPEN_S_MAX,
    Circuit,
    breaker_at,
    observed,
    opened,
    probing,
    shared,
    slow_start_share,
    tripped,
    with_probe,
    without_probe,
)
from extproc.state.view import Breaker

HEALTH = HealthCheck(interval_s=30.0, error_rate_threshold=0.05)
WELL, ERROR, NEUTRAL = ".", "x", "-"


def told(circuit: Circuit, answers: str, *, since: float = 0.0, every: float = 0.1) -> Circuit:
    """`circuit` after attempts that went well (`.`), failed (`x`) or were told to wait (`-`)."""
    for i, answer in enumerate(answers):
        at = since + i * every
        circuit = observed(circuit, _attempt(answer, at), HEALTH, START + at)
        if tripped(circuit, HEALTH, START + at):
            circuit = opened(circuit, HEALTH, START + at)
    return circuit


def _attempt(answer: str, at: float) -> Attempt:
    if answer == ERROR:
        return failed(at=at)
    return attempt(at=at, status=429 if answer == NEUTRAL else 200)


def state_of(circuit: Circuit, at: float) -> Breaker:
    return breaker_at(circuit, START + at)


def test_errors_that_are_told_of_after_a_later_success_are_no_row() -> None:
    """Good answers that say little is left overtake the others: Envoy tells of them at once."""
    circuit = told(CLOSED, ".", since=1.0)
    for number in range(5):
        circuit = observed(circuit, failed(at=number / 10), HEALTH, START + 1.2)
    assert (circuit.row, circuit.answers.amount) == (0, 5)
    assert not tripped(circuit, HEALTH, START + 1.2)
    assert state_of(told(circuit, "xxxxx", since=1.2), 1.6) is Breaker.OPEN


def test_a_clock_that_was_set_back_does_not_hide_a_row() -> None:
    circuit = told(told(CLOSED, ".", since=100.0), "xxxxx", since=1.0)
    assert state_of(circuit, 1.5) is Breaker.OPEN


@pytest.mark.parametrize(
    ("answers", "opens"),
    [
        ("", False),
        ("xxxx", False),
        ("xxxxx", True),
        ("xxxx.xxxx", False),  # nine requests are too few to speak of a rate
        ("xxxx.xxxx.x", True),
        ("....xxxx.x", True),
        ("xxxx-x", True),  # a 429 is neither well nor ill
        ("xxxx-", False),
        (".........x", False),  # one error is no rate
        ("........x.x", True),
        ("." * 38 + "xx", False),  # 5 % is not above 5 %
        ("." * 37 + "xx", True),
        ("----------", False),
    ],
)
def test_it_opens_at_five_errors_in_a_row_or_at_too_high_a_rate_of_ten_requests(
    answers: str, *, opens: bool
) -> None:
    circuit = told(CLOSED, answers)
    assert (state_of(circuit, len(answers) * 0.1) is Breaker.OPEN) == opens


@pytest.mark.parametrize(
    ("status", "failure", "counts"),
    [
        (200, None, "well"),
        (400, None, "well"),
        (404, None, "well"),
        (429, None, "not"),
        (None, None, "not"),  # the client left
        (500, Failure.STATUS, "ill"),
        (529, Failure.STATUS, "ill"),
        (200, Failure.RESET, "ill"),
        (None, Failure.RESET, "ill"),
        (None, Failure.CONNECT, "ill"),
        (None, Failure.TIMEOUT, "ill"),
    ],
)
def test_what_counts_is_what_the_provider_did(
    status: int | None, failure: Failure | None, counts: str
) -> None:
    four = told(CLOSED, "xxxx")
    after = observed(four, attempt(status=status, failure=failure, at=1), HEALTH, START + 1)
    assert after.row == {"well": 0, "not": 4, "ill": 5}[counts]


def test_errors_of_longer_ago_than_the_interval_do_not_count() -> None:
    slowly = told(CLOSED, "x...x...x...x...x", every=15)
    assert state_of(slowly, 16 * 15) is Breaker.CLOSED


def test_it_waits_twice_as_long_each_time_that_a_probe_fails_and_at_most_five_minutes() -> None:
    circuit, at = told(CLOSED, "xxxxx", every=0), 0.0
    for wait in (10, 20, 40, 80, 160, 300, 300, 300):
        assert state_of(circuit, at + wait - 0.1) is Breaker.OPEN
        at += wait
        assert state_of(circuit, at) is Breaker.HALF_OPEN
        circuit = told(circuit, "x", since=at)


def test_a_probe_that_succeeds_closes_it_and_its_share_grows_over_30_s() -> None:
    circuit = told(told(CLOSED, "xxxxx", every=0), ".", since=10)
    assert state_of(circuit, 10) is Breaker.CLOSED
    shares = [slow_start_share(circuit, START + at) for at in (10, 11, 13, 25, 39, 40, 999)]
    assert shares == pytest.approx([0.1, 0.1, 0.1, 0.5, 29 / 30, 1, 1])
    assert slow_start_share(CLOSED, START) == 1


def test_a_probe_that_is_told_to_wait_decides_nothing_and_is_made_again() -> None:
    circuit = told(told(CLOSED, "xxxxx", every=0), "-", since=10)
    assert state_of(circuit, 10) is Breaker.HALF_OPEN


@pytest.mark.parametrize("late", [WELL, ERROR])
def test_what_began_before_the_wait_was_over_decides_nothing(late: str) -> None:
    circuit = told(CLOSED, "xxxxx", every=0)
    for heard_at in (1.0, 9.9, 10.0, 15.0):
        assert observed(circuit, _attempt(late, 9.5), HEALTH, START + heard_at) == circuit


def test_the_probe_itself_decides_whatever_its_clock_says() -> None:
    circuit = with_probe(told(CLOSED, "xxxxx", every=0), "r", START + 45)
    ahead = attempt(request_id="r", at=-100)
    assert observed(circuit, ahead, HEALTH, START + 12).open_until is None


@pytest.mark.parametrize(("again_at", "wait"), [(11, 20), (39, 20), (69, 20), (71, 10), (1000, 10)])
def test_how_often_it_opened_is_forgotten_an_interval_after_slow_start(
    again_at: float, wait: float
) -> None:
    circuit = told(told(CLOSED, "xxxxx", every=0), ".", since=10)
    circuit = told(circuit, "xxxxx", since=again_at, every=0)
    assert circuit.open_until == START + again_at + wait


def test_a_probe_belongs_to_one_request_until_its_time_is_up() -> None:
    circuit = with_probe(told(CLOSED, "xxxxx", every=0), "r", START + 45)
    assert probing(circuit, START + 44)
    assert not probing(circuit, START + 45)
    assert without_probe(circuit, "other") == circuit
    assert not probing(without_probe(circuit, "r"), START + 11)


def test_a_clock_that_was_set_back_keeps_it_open_no_longer_than_ever() -> None:
    circuit = told(CLOSED, "xxxxx", every=0)
    assert state_of(circuit, -OPEN_S_MAX - 1) is Breaker.HALF_OPEN
    back = told(circuit, ".", since=10)
    assert slow_start_share(back, START - 3600) == 1


# Peers

OPEN = told(CLOSED, "xxxxx")


@pytest.mark.parametrize(
    ("answers", "peers", "together"),
    [
        ("xxxxx", [], False),  # alone
        ("xxxxx", ["xxxxx"], True),
        ("xxxxx", ["xxxx"], True),
        ("xxxxx", ["xxx"], True),
        ("xxxxx", ["xx"], False),
        ("xxxxx", ["........"], False),
        ("xxxxx", ["xxxxx."], False),
        ("xxxxx", ["xxxx", "......"], False),  # two of three are not 70 %
        ("xxxxx", ["xxxx", "xxxx", "......"], True),  # three of four are
        ("xxxxx", [""], False),  # without traffic it is no peer
        ("xxxxx", ["", "xxxx"], True),
        ("xxxxx", ["open"], True),
        ("xxxxx", ["open", "....."], False),
        # By rate: half of one's own, and more than a stray error.
        ("x.x.x.x.x.", ["x.x.x.x.x."], True),
        ("x.x.x.x.x.x", ["x..x..x..x.."], True),
        ("x.x.x.x.x.x", ["x.........x."], False),
        ("x.x.x.x.x.x", ["............x"], False),
        (".........xx", ["..........x"], True),  # interleaved: a failure of all at its start
        (".........xxx", ["..........x"], False),  # a stray error holds nobody up
    ],
)
def test_it_stays_closed_when_seven_in_ten_of_the_pool_fail_alike(
    answers: str, peers: list[str], *, together: bool
) -> None:
    circuit = seen(answers)
    pool = [OPEN if peer == "open" else seen(peer) for peer in peers]
    assert shared(circuit, pool, HEALTH, START + 2) == together


def seen(answers: str) -> Circuit:
    """A breaker that stays closed, whatever it counts."""
    circuit = CLOSED
    for i, answer in enumerate(answers):
        circuit = observed(circuit, _attempt(answer, i * 0.1), HEALTH, START + i * 0.1)
    return circuit
