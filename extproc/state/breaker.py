"""The breaker of one target: opens when it keeps failing, lets one probe through, closes slowly.

Closed, it counts. It opens when too large a share of the answers in `health.interval_s` were
errors, or at some errors in a row, unless most of the pool fails alike: then the cause is not this
target, and leaving it out would help nobody. Open, it waits, twice as long each time; then it is
half open and takes one probe at a time. A probe that succeeds closes it, and its share of the
requests grows from little to all; one that fails opens it again.

What decides is what began after the wait: an answer that was under way when it opened says nothing
new.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from extproc.outcome import Attempt
from extproc.snapshot import HealthCheck
from extproc.state import window
from extproc.state.view import Breaker
from extproc.state.window import Span, Window
from extproc.vocabulary import TargetId

REQUESTS_MIN: Final = 10
ERRORS_MIN: Final = 2
"""One error is no rate: a second one tells whether the peers had theirs meanwhile."""

ROW_MAX: Final = 5
"""Errors in a row that open it, however few requests there were."""

OPEN_S: Final = 10.0
OPEN_S_MAX: Final = 300.0
SLOW_START_S: Final = 30.0
SLOW_START_SHARE_MIN: Final = 0.1
ALIKE_SHARE: Final = 0.7
"""The part of the pool, itself included, that has to fail alike to keep it closed."""

PEERS_MAX: Final = 64
"""Peers that are looked at, those heard of last: opening must not cost more in a larger fleet."""

_BUCKETS: Final = 20
_DOUBLINGS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Circuit:
    """`answers` counts requests and, as amount, their errors; `row` errors since a success.

    `well_at` is when the latest success ended: what failed before is in no row, however late it is
    told of.

    `open_until` is None while it is closed; past it the breaker is half open. `reopenings` counts
    how often it opened again without having been well for long, `closed_at` is when it last closed.
    `probe` names the request that holds the one probe, until `probe_until` at most.
    """

    answers: Window = window.EMPTY
    row: int = 0
    well_at: float = 0.0
    open_until: float | None = None
    reopenings: int = 0
    closed_at: float | None = None
    probe: str | None = None
    probe_until: float = 0.0


CLOSED: Final = Circuit()


@dataclass(frozen=True, slots=True)
class Transition:
    """One breaker, going from one state into another."""

    target: TargetId
    old: Breaker
    new: Breaker


def breaker_at(circuit: Circuit, now: float) -> Breaker:
    """No wait is longer than `OPEN_S_MAX`: one that seems to be is of a clock that was set back."""
    if circuit.open_until is None:
        return Breaker.CLOSED
    left_s = circuit.open_until - now
    return Breaker.OPEN if 0 < left_s <= OPEN_S_MAX else Breaker.HALF_OPEN


def probing(circuit: Circuit, now: float) -> bool:
    return circuit.probe is not None and now < circuit.probe_until


def slow_start_share(circuit: Circuit, now: float) -> float:
    """The share of its requests that a target which has just closed should get; 1: all."""
    if circuit.closed_at is None or circuit.open_until is not None:
        return 1.0
    since_s = now - circuit.closed_at
    if not 0 <= since_s < SLOW_START_S:
        return 1.0
    return max(SLOW_START_SHARE_MIN, since_s / SLOW_START_S)


def with_probe(circuit: Circuit, request_id: str, until: float) -> Circuit:
    return replace(circuit, probe=request_id, probe_until=until)


def without_probe(circuit: Circuit, request_id: str) -> Circuit:
    """`circuit` with the probe given back, if `request_id` is who holds it."""
    return replace(circuit, probe=None) if circuit.probe == request_id else circuit


def observed(circuit: Circuit, attempt: Attempt, health: HealthCheck, now: float) -> Circuit:
    """`circuit` after one more attempt. A closed one stays closed: see `tripped`."""
    failed = attempt.failure is not None
    if not failed and (attempt.status is None or attempt.status == 429):
        return circuit  # the client left, or it has to wait: neither well nor ill
    if circuit.open_until is None:
        answers = window.counted(circuit.answers, span_of(health), now, 1, int(failed))
        ended_at = min(now, attempt.began + attempt.duration_ms / 1000)
        well_at = circuit.well_at if circuit.well_at <= now else 0.0  # a clock was set back
        if failed:
            row = circuit.row + (ended_at >= well_at)
            return replace(circuit, answers=answers, row=row, well_at=well_at)
        return replace(circuit, answers=answers, row=0, well_at=max(well_at, ended_at))
    its_probe = circuit.probe == attempt.request_id
    if breaker_at(circuit, now) is Breaker.OPEN or not (
        its_probe or attempt.began >= circuit.open_until
    ):
        return circuit
    if failed:
        return _opened(circuit, circuit.reopenings + 1, now)
    return Circuit(reopenings=circuit.reopenings, closed_at=now)


def tripped(circuit: Circuit, health: HealthCheck, now: float) -> bool:
    """Whether a closed breaker has reason to open, its peers aside."""
    if circuit.open_until is not None or not circuit.row:
        return False
    return circuit.row >= ROW_MAX or _error_rate(circuit, health, now) > health.error_rate_threshold


def shared(circuit: Circuit, peers: Iterable[Circuit], health: HealthCheck, now: float) -> bool:
    """Whether most of the pool (`circuit` and its `peers`) fails as `circuit` does.

    A pool of one shares nothing. Peers without a request in the interval do not count, unless they
    are open.
    """
    pool = alike = 1
    for peer in peers:
        if peer.open_until is not None:
            pool, alike = pool + 1, alike + 1
        elif window.current(peer.answers, span_of(health), now).requests:
            pool, alike = pool + 1, alike + _alike(circuit, peer, health, now)
    return pool > 1 and alike >= ALIKE_SHARE * pool


def opened(circuit: Circuit, health: HealthCheck, now: float) -> Circuit:
    """`circuit`, opened: for longer, if it has not been well for an interval since slow start."""
    closed_at = circuit.closed_at
    well = closed_at is None or now - closed_at > SLOW_START_S + health.interval_s
    return _opened(circuit, 0 if well else circuit.reopenings + 1, now)


def answers_at(circuit: Circuit, health: HealthCheck, now: float) -> Window:
    return window.current(circuit.answers, span_of(health), now)


def span_of(health: HealthCheck) -> Span:
    return Span(max(health.interval_s, 0.001) / _BUCKETS, _BUCKETS)


def _opened(circuit: Circuit, reopenings: int, now: float) -> Circuit:
    wait_s = min(OPEN_S_MAX, OPEN_S * 2 ** min(reopenings, _DOUBLINGS_MAX))
    return Circuit(row=circuit.row, open_until=now + wait_s, reopenings=reopenings)


def _error_rate(circuit: Circuit, health: HealthCheck, now: float) -> float:
    """The share of errors, 0 where there were too few requests or errors to speak of one."""
    answers = answers_at(circuit, health, now)
    enough = answers.requests >= REQUESTS_MIN and answers.amount >= ERRORS_MIN
    return answers.amount / answers.requests if enough else 0.0


def _alike(circuit: Circuit, peer: Circuit, health: HealthCheck, now: float) -> bool:
    """Whether `peer` has at least half of the trouble: in a row, or as a rate.

    Relative, so that one stray error of a peer keeps no failing target closed; half, since where
    one request walks its chain the later targets' attempts are told of last.
    """
    if circuit.row > 1 and peer.row >= min(circuit.row, ROW_MAX) / 2:
        return True
    rate = _error_rate(circuit, health, now)
    answers = answers_at(peer, health, now)
    return (
        rate > 0
        and answers.amount >= ERRORS_MIN
        and (answers.amount / answers.requests >= rate / 2)
    )
