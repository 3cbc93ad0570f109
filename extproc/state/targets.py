"""What has been seen of each target: breaker, latency, limits and load, and what a decision sees.

Requests are not known here, only what they take and what comes of it; `State` keeps those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.outcome import Attempt, Usage
from extproc.snapshot import HealthCheck, Snapshot
from extproc.state import breaker, consumption, latency, limits
from extproc.state.breaker import CLOSED, Circuit, Transition
from extproc.state.consumption import Consumption
from extproc.state.latency import Latency
from extproc.state.limits import NOTHING, UNLIMITED, Allowance, Amount
from extproc.state.reservation import Charge, Link
from extproc.state.view import Breaker, TargetView
from extproc.vocabulary import Target, TargetId

PROBE_GRACE_S: Final = 5.0
VIEW_S_MAX: Final = 0.1
"""How long a target of which nothing new was told may be seen as it was."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is under way at a target by our decisions, and since when without a break."""

    pending: int = 0
    amount: Amount = NOTHING
    since: float = 0.0


IDLE: Final = Load()


class Targets:
    """The targets of one Snapshot after another. All maps are by target, so none is larger."""

    def __init__(self) -> None:
        self._targets: Mapping[TargetId, Target] = {}
        self._health = HealthCheck()
        self._first_byte_timeout_s = 30.0
        self._circuits: dict[TargetId, Circuit] = {}
        self._latencies: dict[TargetId, Latency] = {}
        self._allowances: dict[TargetId, Allowance] = {}
        self._consumptions: dict[TargetId, Consumption] = {}
        self._loads: dict[TargetId, Load] = {}
        self._last_seen: dict[TargetId, float] = {}  # whoever was heard of last stands last
        self._open: dict[TargetId, None] = {}
        self._seen: dict[TargetId, tuple[float, TargetView]] = {}

    def configure(self, snapshot: Snapshot) -> None:
        self._targets = snapshot.targets
        self._first_byte_timeout_s = snapshot.first_byte_timeout_s
        if snapshot.health_check != self._health:
            self._health = snapshot.health_check
            # Counted by another interval, or not to be counted at all.
            self._circuits.clear()
            self._open.clear()
        by_target: tuple[dict[TargetId, Any], ...] = (
            *(self._circuits, self._latencies, self._allowances, self._consumptions),
            *(self._loads, self._last_seen, self._open),
        )
        for known in by_target:
            for target in known.keys() - snapshot.targets.keys():
                del known[target]
        self._seen.clear()

    @property
    def broken(self) -> Collection[TargetId]:
        return self._open.keys()

    def __contains__(self, target: object) -> bool:
        return target in self._targets

    def __iter__(self) -> Iterator[TargetId]:
        return iter(self._targets)

    def __getitem__(self, target: TargetId) -> Target:
        return self._targets[target]

    # For a decision

    def seen(self, target: TargetId, now: float) -> TargetView | None:
        """One target as of `now`; None if it has not been seen."""
        known = self._seen.get(target)
        if known and 0 <= now - known[0] < VIEW_S_MAX:
            return known[1]
        if target not in self._loads and target not in self._last_seen:
            return None
        view = self._view_of(target, now)
        self._seen[target] = now, view
        return view

    def _view_of(self, target: TargetId, now: float) -> TargetView:
        circuit = self._circuits.get(target, CLOSED)
        speed = self._latencies.get(target, latency.UNSEEN)
        allowance = self._allowances.get(target, UNLIMITED)
        load = self._loads.get(target, IDLE)
        left = limits.left_at(allowance, self._targets[target].limits, now)
        return TargetView(
            breaker=breaker.breaker_at(circuit, now),
            probing=breaker.probing(circuit, now),
            not_before=allowance.not_before,
            requests_left=left.requests,
            tokens_left=left.tokens,
            input_tokens_left=left.input_tokens,
            output_tokens_left=left.output_tokens,
            ttfb_ms=speed.fast_ms,
            ms_per_token=speed.ms_per_token,
            spiking=latency.spiking(speed),
            cached_share=consumption.cached_share(self._consumptions.get(target, consumption.NONE)),
            pending=load.pending,
            stale=latency.stale(speed, now),
            silent=load.pending > 0 and latency.silent(speed, load.since, now),
            slow_start=breaker.slow_start_share(circuit, now),
        )

    # What requests take

    def send(self, target: TargetId, amount: Amount, now: float) -> Amount:
        """Reserves `amount`; all that has been sent to `target`, this included."""
        allowance = limits.sending(
            self._allowances.get(target, UNLIMITED), amount, self._targets[target].limits, now
        )
        self._set_allowance(target, allowance)
        return allowance.sent

    def take_back(self, charge: Charge) -> None:
        """Gives back what was reserved and not used."""
        allowance = self._allowances.get(charge.target)
        if allowance:
            self._set_allowance(charge.target, limits.unsent(allowance, charge.amount, charge.at))

    def count(self, target: TargetId, amount: Amount | None, now: float) -> Charge:
        """Charges what nothing was reserved for; without an `amount`, one request as usual."""
        if amount is None:
            usual = self._consumptions.get(target, consumption.NONE)
            amount = Amount(1, consumption.usual_tokens(usual), 0)
        before, limited = self._allowances.get(target, UNLIMITED), self._targets[target].limits
        self._set_allowance(target, limits.charged(before, amount, limited, now))
        return Charge(target, amount, now)

    def settle(self, charge: Charge, usage: Usage) -> None:
        """Corrects the tokens of `charge` to what they were."""
        allowance = self._allowances.get(charge.target, UNLIMITED)
        actual_tokens = usage.input_tokens + usage.output_tokens
        self._set_allowance(
            charge.target,
            limits.settled(allowance, charge.at, charge.amount.tokens, actual_tokens),
        )

    def sent_for_sure(self, target: TargetId) -> Amount:
        """All that was sent but what is under way, which may not have arrived."""
        under_way = self._loads.get(target, IDLE).amount
        return self._allowances.get(target, UNLIMITED).sent.minus(under_way)

    def begin(self, link: Link, now: float) -> None:
        load = self._loads.get(link.target, IDLE)
        since = load.since if load.pending else now
        self._set_load(link.target, Load(load.pending + 1, load.amount.plus(link.amount), since))

    def cease(self, link: Link) -> None:
        load = self._loads.get(link.target, IDLE)
        pending = max(0, load.pending - 1)
        amount = load.amount.minus(link.amount) if pending else NOTHING
        self._set_load(link.target, Load(pending, amount, load.since))

    def take_probes(self, request_id: str, chain: tuple[Link, ...], now: float) -> list[TargetId]:
        """Takes a probe of every target of `chain` that is half open and has none under way."""
        taken: list[TargetId] = []
        until = now + PROBE_GRACE_S
        for link in chain if self._open else ():
            target = self._targets.get(link.target)
            own_s = target.provider.first_byte_timeout_s if target else None
            until += own_s or self._first_byte_timeout_s
            circuit = self._circuits.get(link.target, CLOSED)
            half_open = breaker.breaker_at(circuit, now) is Breaker.HALF_OPEN
            if half_open and not breaker.probing(circuit, now):
                self._set_circuit(link.target, breaker.with_probe(circuit, request_id, until))
                taken.append(link.target)
        return taken

    def give_back_probe(self, target: TargetId, request_id: str) -> None:
        circuit = self._circuits.get(target)
        if circuit:
            self._set_circuit(target, breaker.without_probe(circuit, request_id))

    # What providers did

    def observe(self, attempt: Attempt, sent: Amount, now: float) -> tuple[Transition, ...]:
        """Takes in an attempt, at which `sent` had been sent; how the breaker changed."""
        target = attempt.target
        self._seen.pop(target, None)
        self._last_seen.pop(target, None)
        self._last_seen[target] = now
        speed = self._latencies.get(target, latency.UNSEEN)
        self._latencies[target] = latency.observed(speed, attempt, now)
        if attempt.headers or attempt.status == 429:
            self._observe_limits(attempt, sent, now)
        return self._observe_breaker(attempt, now) if self._health.enabled else ()

    def _observe_limits(self, attempt: Attempt, sent: Amount, now: float) -> None:
        allowance = self._allowances.get(attempt.target, UNLIMITED)
        if attempt.status == 429:
            allowance = limits.refused(allowance, attempt.headers, now)
        answered_at = min(now, attempt.began + (attempt.ttfb_ms or 0.0) / 1000)
        allowance = limits.heard(allowance, attempt.headers, sent, answered_at, now)
        self._set_allowance(attempt.target, allowance)

    def _observe_breaker(self, attempt: Attempt, now: float) -> tuple[Transition, ...]:
        target, health = attempt.target, self._health
        before = self._circuits.get(target, CLOSED)
        after = breaker.observed(before, attempt, health, now)
        if after is before:
            return ()
        if breaker.tripped(after, health, now) and not breaker.shared(
            after, self._peers(target, now), health, now
        ):
            after = breaker.opened(after, health, now)
        self._set_circuit(target, after)
        old, new = breaker.breaker_at(before, now), breaker.breaker_at(after, now)
        if old is new:
            return ()
        waited = old is Breaker.HALF_OPEN
        since = (Transition(target, Breaker.OPEN, Breaker.HALF_OPEN),) if waited else ()
        return (*since, Transition(target, old, new))

    def _peers(self, target: TargetId, now: float) -> Iterator[Circuit]:
        """Those that are not closed, and those heard of within the interval, the latest first."""
        open_ones = [other for other in self._open if other != target][: breaker.PEERS_MAX]
        yield from (self._circuits[other] for other in open_ones)
        places = breaker.PEERS_MAX - len(open_ones)
        for other in reversed(self._last_seen):
            if places <= 0 or now - self._last_seen[other] > self._health.interval_s:
                return
            if other != target and other not in self._open and other in self._circuits:
                places -= 1
                yield self._circuits[other]

    def consume(self, target: TargetId, usage: Usage, now: float) -> None:
        before = self._consumptions.get(target, consumption.NONE)
        self._consumptions[target] = consumption.observed(before, usage, now)
        self._seen.pop(target, None)

    def speak(self, target: TargetId, streaming_ms: float, tokens: int, now: float) -> None:
        speed = self._latencies.get(target, latency.UNSEEN)
        self._latencies[target] = latency.spoken(speed, streaming_ms, tokens, now)
        self._seen.pop(target, None)

    def _set_circuit(self, target: TargetId, circuit: Circuit) -> None:
        self._circuits[target] = circuit
        self._seen.pop(target, None)
        if circuit.open_until is None:
            self._open.pop(target, None)
        else:
            self._open[target] = None

    def _set_allowance(self, target: TargetId, allowance: Allowance) -> None:
        self._allowances[target] = allowance
        self._seen.pop(target, None)

    def _set_load(self, target: TargetId, load: Load) -> None:
        if target in self._targets:
            self._loads[target] = load
            self._seen.pop(target, None)

    # To be looked at

    def report(self, now: float) -> list[dict[str, Any]]:
        """What is known of every configured target, as JSON; times are Unix seconds."""
        return [self._report_of(target, now) for target in self._targets]

    def _report_of(self, target: TargetId, now: float) -> dict[str, Any]:
        view = self._view_of(target, now)
        circuit = self._circuits.get(target, CLOSED)
        speed = self._latencies.get(target, latency.UNSEEN)
        answers = breaker.answers_at(circuit, self._health, now)
        return {
            "target": target,
            "breaker": view.breaker.value,
            "probing": view.probing,
            "until": circuit.open_until if view.breaker is Breaker.OPEN else None,
            "slow_start": view.slow_start,
            "requests": answers.requests,
            "errors": answers.amount,
            "ttfb_ms": view.ttfb_ms,
            "slow_ttfb_ms": speed.slow_ms,
            "ms_per_token": view.ms_per_token,
            "samples": speed.samples,
            "spiking": view.spiking,
            "stale": view.stale,
            "silent": view.silent,
            "cached_share": view.cached_share,
            "requests_left": view.requests_left,
            "tokens_left": view.tokens_left,
            "input_tokens_left": view.input_tokens_left,
            "output_tokens_left": view.output_tokens_left,
            "not_before": view.not_before or None,
            "pending": view.pending,
            "last_seen": self._last_seen.get(target),
        }
