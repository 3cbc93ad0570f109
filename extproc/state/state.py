"""All that has been seen of the targets: the one thing here that changes, yet without a clock.

Decisions, attempts and ends of requests go in; a `View` for the next decision comes out. They may
come in any order, twice or never, also from other replicas: attempts are told to all of them, the
end of a request to one. Every map has a bound; `sweep` lets go of what has waited too long.

For one thread: nothing here waits, and a decision and what it reserves must not be torn apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from extproc.outcome import Attempt, Ending, Outcome
from extproc.snapshot import HealthCheck, Snapshot
from extproc.state import breaker, consumption, latency, limits
from extproc.state.breaker import CLOSED, Circuit, Transition
from extproc.state.consumption import Consumption
from extproc.state.latency import Latency
from extproc.state.limits import NOTHING, UNLIMITED, Allowance, Amount
from extproc.state.reservation import Charge, Link, Reservation, is_last
from extproc.state.view import Breaker, TargetView, View
from extproc.text.tokens import Calibration, Family, Output, first_output, updated, with_output
from extproc.vocabulary import Candidate, Decision, Target, TargetId

RESERVATIONS_MAX: Final = 50_000
RESERVED_S_MAX: Final = 600.0
ENDED_S_MAX: Final = 60.0
"""How long what is left of an ended request waits for attempts that are told of late."""

TOLD_MAX: Final = 65_536
TOLD_S_MAX: Final = 600.0
TASKS_MAX: Final = 256
TASK_CHARACTERS_MAX: Final = 64
PROBE_GRACE_S: Final = 5.0
VIEW_S_MAX: Final = 0.1
"""How long a target of which nothing new was told may be seen as it was."""

_END: Final = 0
"""The number of an attempt that stands for the end of its request: they count from 1."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is under way at a target by our decisions, and since when without a break."""

    pending: int = 0
    amount: Amount = NOTHING
    since: float = 0.0


IDLE: Final = Load()


class State:
    """What has been seen of the targets of one Snapshot after another."""

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
        self._calibration: dict[Family, Calibration] = {}
        self._output: dict[str, Output] = {}  # whatever was used last stands last
        self._reserved: dict[str, Reservation] = {}
        self._ended: dict[str, Reservation] = {}
        self._told: dict[tuple[str, int], float] = {}
        self._seen: dict[TargetId, tuple[float, TargetView]] = {}

    # What runs

    def configure(self, snapshot: Snapshot) -> None:
        """Goes by `snapshot` from now on: targets that stay keep what was seen of them."""
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
    def targets(self) -> Mapping[TargetId, Target]:
        return self._targets

    @property
    def broken(self) -> Collection[TargetId]:
        """Those whose breaker is open, or was and may be tried."""
        return self._open.keys()

    # For a decision

    def view(self, now: float) -> View:
        """Everything seen, as of `now`; worked out for the targets that are asked about."""
        return View(_Targets(self, now), self._calibration, self._output)

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

    def decided(self, request_id: str, decision: Decision, now: float) -> None:
        """Reserves what `decision` is going to take: its first target's limits, and its probes."""
        if not decision.chain:
            return
        self._forget(request_id, len(decision.chain))
        if len(self._reserved) >= RESERVATIONS_MAX:
            self._release(self._reserved.pop(next(iter(self._reserved))))
        held = self._reservation(request_id, decision, now)
        self._reserved[request_id] = held
        first = held.chain[0]
        if self._send(first, now):
            held.unused = Charge(first.target, first.amount, now)
            held.sent = self._allowances[first.target].sent
            self._wait_on(held, first, now)
        held.probes = tuple(self._take_probes(request_id, held.chain, now))

    def _forget(self, request_id: str, attempts: int) -> None:
        """Makes room for another request of the same id: clients may name theirs alike."""
        earlier = self._reserved.pop(request_id, None)
        if earlier:
            self._release(earlier)
        self._ended.pop(request_id, None)
        for number in range(_END, attempts + 1):
            self._told.pop((request_id, number), None)

    def _reservation(self, request_id: str, decision: Decision, now: float) -> Reservation:
        output_tokens = decision.estimate.output_tokens if decision.estimate else 0
        chain = tuple(self._link(c, output_tokens) for c in decision.chain)
        return Reservation(request_id, now, chain)

    def _link(self, candidate: Candidate, output_tokens: int) -> Link:
        learned = self._calibration.get(candidate.target.model.family)
        tokens = candidate.input_tokens
        return Link(
            candidate.target.id,
            Amount(1, tokens, output_tokens),
            tokens / learned.ratio if learned else float(tokens),
        )

    def _send(self, link: Link, now: float) -> bool:
        target = self._targets.get(link.target)
        if not target:
            return False
        before = self._allowances.get(target.id, UNLIMITED)
        self._allowances[target.id] = limits.sending(before, link.amount, target.limits, now)
        return True

    def _take_probes(
        self, request_id: str, chain: tuple[Link, ...], now: float
    ) -> Iterator[TargetId]:
        """A probe of every target of `chain` that is half open and has none under way."""
        if not self._open:
            return
        until = now + PROBE_GRACE_S
        for link in chain:
            target = self._targets.get(link.target)
            own_s = target.provider.first_byte_timeout_s if target else None
            until += own_s or self._first_byte_timeout_s
            circuit = self._circuits.get(link.target, CLOSED)
            if breaker.breaker_at(circuit, now) is not Breaker.HALF_OPEN:
                continue
            if not breaker.probing(circuit, now):
                self._set_circuit(link.target, breaker.with_probe(circuit, request_id, until))
                yield link.target

    # What providers did

    def attempted(self, attempt: Attempt, now: float) -> tuple[Transition, ...]:
        """Takes in one attempt; how its target's breaker changed, time's part in it included."""
        if not self._is_new(attempt.request_id, attempt.number, now):
            return ()
        held = self._held(attempt.request_id, now)
        changes: tuple[Transition, ...] = ()
        if attempt.target in self._targets:
            changes = self._observe(attempt, self._charge(held, attempt, now), now)
        self._move_on(held, attempt, now)
        self._learn_pace(held, now)
        return changes

    def _held(self, request_id: str, now: float) -> Reservation:
        """What the request holds; nothing, if it was decided elsewhere or is long over."""
        held = self._reserved.get(request_id) or self._ended.get(request_id)
        return held or self._end(Reservation(request_id, now), now)

    def _charge(self, held: Reservation, attempt: Attempt, now: float) -> Amount:
        """Counts `attempt`, unless its decision has; what had been sent when it was answered."""
        target = attempt.target
        if held.unused and held.unused.target == target:
            held.used.append(held.unused)
            held.unused = None
            return held.sent
        if held.answered == target:
            held.answered = None
        else:
            self._count(held, target, now)
        # What is under way may not have been there yet.
        under_way = self._loads.get(target, IDLE).amount
        return self._allowances.get(target, UNLIMITED).sent.minus(under_way)

    def _count(self, held: Reservation, target: TargetId, now: float) -> None:
        link = held.link_of(target)
        if link:
            amount = link.amount
        else:
            usual = self._consumptions.get(target, consumption.NONE)
            amount = Amount(1, consumption.usual_tokens(usual), 0)
        before = self._allowances.get(target, UNLIMITED)
        limited = self._targets[target].limits
        self._allowances[target] = limits.charged(before, amount, limited, now)
        held.used.append(Charge(target, amount, now))

    def _observe(self, attempt: Attempt, sent: Amount, now: float) -> tuple[Transition, ...]:
        target = attempt.target
        self._seen.pop(target, None)
        self._last_seen.pop(target, None)
        self._last_seen[target] = now
        speed = self._latencies.get(target, latency.UNSEEN)
        self._latencies[target] = latency.observed(speed, attempt, now)
        if attempt.headers:
            allowance = self._allowances.get(target, UNLIMITED)
            if attempt.status == 429:
                allowance = limits.refused(allowance, attempt.headers, now)
            answered_at = min(now, attempt.began + (attempt.ttfb_ms or 0.0) / 1000)
            self._allowances[target] = limits.heard(
                allowance, attempt.headers, sent, answered_at, now
            )
        elif attempt.status == 429:
            allowance = self._allowances.get(target, UNLIMITED)
            self._allowances[target] = limits.refused(allowance, {}, now)
        return self._observe_breaker(attempt, now) if self._health.enabled else ()

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

    def _set_circuit(self, target: TargetId, circuit: Circuit) -> None:
        self._circuits[target] = circuit
        self._seen.pop(target, None)
        if circuit.open_until is None:
            self._open.pop(target, None)
        else:
            self._open[target] = None

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

    def _move_on(self, held: Reservation, attempt: Attempt, now: float) -> None:
        """What `attempt` means for the request: where it is now, and what it holds no longer."""
        target = attempt.target
        self._give_back_probes(held, [t for t in held.probes if t == target])
        answered = attempt.status is not None and attempt.status < 400
        if answered and attempt.streamed and attempt.ttfb_ms is not None:
            held.streamed_by = target
            held.streaming_ms = attempt.duration_ms - attempt.ttfb_ms
        if held.request_id not in self._reserved:
            return
        if is_last(attempt, len(held.chain)):
            self._end(held, now)
        elif held.waits_on is None or held.waits_on.target == target:
            self._wait_on(held, held.after(target), now)

    # What became of requests

    def finished(
        self, request_id: str, record: Mapping[str, Any], outcome: Outcome, now: float
    ) -> None:
        """Takes in the end of a request, told with its decision's public record."""
        if not self._is_new(request_id, _END, now):
            return
        held = self._held(request_id, now)
        if outcome.target in self._targets:
            self._settle(held, outcome, now)
            self._learn(held, record, outcome, now)
        if request_id in self._reserved:
            self._end(held, now)

    def _settle(self, held: Reservation, outcome: Outcome, now: float) -> None:
        """Corrects what was charged for the tokens to what they were."""
        target, usage = outcome.target, outcome.usage
        assert target
        if held.unused and held.unused.target == target:
            held.used.append(held.unused)
            held.unused, held.answered = None, target
        charge = next((c for c in reversed(held.used) if c.target == target), None)
        if charge is None:
            self._count(held, target, now)
            charge, held.answered = held.used[-1], target
        if usage:
            self._allowances[target] = limits.settled(
                self._allowances.get(target, UNLIMITED),
                charge.at,
                charge.amount.tokens,
                usage.input_tokens + usage.output_tokens,
            )
        self._seen.pop(target, None)

    def _learn(
        self, held: Reservation, record: Mapping[str, Any], outcome: Outcome, now: float
    ) -> None:
        """What the provider's own count teaches: of the target, the family and the task."""
        target, usage = outcome.target, outcome.usage
        if target is None or usage is None or outcome.usage_estimated:
            return
        before = self._consumptions.get(target, consumption.NONE)
        self._consumptions[target] = consumption.observed(before, usage, now)
        link = held.link_of(target)
        if link:
            family = self._targets[target].model.family
            known = self._calibration.get(family, Calibration())
            learned = updated(known, link.uncalibrated, usage.input_tokens)
            self._calibration = {**self._calibration, family: learned}
        task = record.get("task")
        task_type = task.get("type") if isinstance(task, Mapping) else None
        if isinstance(task_type, str) and outcome.ending is Ending.COMPLETE:
            # What is thought is estimated apart, by the effort that a request asks for.
            self._learn_output(task_type, usage.output_tokens - usage.reasoning_tokens)
        held.output_tokens = usage.output_tokens
        self._learn_pace(held, now)

    def _learn_output(self, task: str, tokens: int) -> None:
        if len(task) > TASK_CHARACTERS_MAX:
            return
        known = self._output.pop(task, None)
        if known is None and len(self._output) >= TASKS_MAX:
            del self._output[next(iter(self._output))]
        self._output[task] = with_output(known or first_output(task), tokens)

    def _learn_pace(self, held: Reservation, now: float) -> None:
        """Once both are known of an answer: how long it streamed, and how much."""
        target = held.streamed_by
        if target is None or not held.output_tokens or target not in self._targets:
            return
        speed = self._latencies.get(target, latency.UNSEEN)
        self._latencies[target] = latency.spoken(speed, held.streaming_ms, held.output_tokens, now)
        self._seen.pop(target, None)
        held.output_tokens = 0

    # What is held

    def _wait_on(self, held: Reservation, link: Link | None, now: float) -> None:
        """Counts the request as under way at the target of `link`, and nowhere else."""
        before, held.waits_on = held.waits_on, link
        if before:
            load = self._loads.get(before.target, IDLE)
            pending = max(0, load.pending - 1)
            amount = load.amount.minus(before.amount) if pending else NOTHING
            self._set_load(before.target, Load(pending, amount, load.since))
        if link:
            load = self._loads.get(link.target, IDLE)
            since = load.since if load.pending else now
            self._set_load(
                link.target, Load(load.pending + 1, load.amount.plus(link.amount), since)
            )

    def _set_load(self, target: TargetId, load: Load) -> None:
        if target in self._targets:
            self._loads[target] = load
            self._seen.pop(target, None)

    def _release(self, held: Reservation) -> None:
        """Gives back all that was not used."""
        self._wait_on(held, None, held.at)
        self._give_back_probes(held, held.probes)
        unused, held.unused = held.unused, None
        if unused and unused.target in self._allowances:
            before = self._allowances[unused.target]
            self._allowances[unused.target] = limits.unsent(before, unused.amount, unused.at)
            self._seen.pop(unused.target, None)

    def _give_back_probes(self, held: Reservation, targets: Sequence[TargetId]) -> None:
        if not targets:
            return
        held.probes = tuple(target for target in held.probes if target not in targets)
        for target in targets:
            circuit = self._circuits.get(target)
            if circuit:
                self._set_circuit(target, breaker.without_probe(circuit, held.request_id))

    def _end(self, held: Reservation, now: float) -> Reservation:
        """Releases `held`, and keeps it for what is told late."""
        self._reserved.pop(held.request_id, None)
        self._release(held)
        if len(self._ended) >= RESERVATIONS_MAX:
            del self._ended[next(iter(self._ended))]
        held.ended_at = now
        self._ended[held.request_id] = held
        return held

    def _is_new(self, request_id: str, number: int, now: float) -> bool:
        """Whether this attempt, or end, was not told of before; from now on it was."""
        key = request_id, number
        if key in self._told:
            return False
        if len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[key] = now
        return True

    def sweep(self, now: float) -> None:
        """Lets go of what has waited too long. To be called every second or so."""
        while held := next(iter(self._reserved.values()), None):
            if abs(now - held.at) <= RESERVED_S_MAX:
                break
            self._release(self._reserved.pop(held.request_id))
        while ended := next(iter(self._ended.values()), None):
            if abs(now - ended.ended_at) <= ENDED_S_MAX:
                break
            del self._ended[ended.request_id]
        while key := next(iter(self._told), None):
            if abs(now - self._told[key]) <= TOLD_S_MAX:
                break
            del self._told[key]

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


class _Targets(Mapping[TargetId, TargetView]):
    """The targets of a `State` as of one moment: each as it is when first asked about."""

    __slots__ = ("_now", "_seen", "_state")

    def __init__(self, state: State, now: float) -> None:
        self._state = state
        self._now = now
        self._seen: dict[TargetId, TargetView] = {}

    def __getitem__(self, target: TargetId) -> TargetView:
        known = self._seen.get(target)
        if known is None:
            known = self._state.seen(target, self._now)
            if known is None:
                raise KeyError(target)
            self._seen[target] = known
        return known

    def __iter__(self) -> Iterator[TargetId]:
        return (target for target in self._state.targets if target in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
