"""All that has been seen of the targets: the one thing here that changes, yet without a clock.

Decisions, attempts and ends of requests go in; a `View` for the next decision comes out. They may
come in any order, twice or never, also from other replicas: attempts are told to all of them, the
end of a request to one. Every map has a bound; `sweep` lets go of what has waited too long.

For one thread: nothing here waits, and a decision and what it reserves must not be torn apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from extproc.outcome import Attempt, Ending, Outcome
from extproc.snapshot import Snapshot
from extproc.state.breaker import Transition
from extproc.state.limits import Amount
from extproc.state.reservation import Charge, Link, Reservation, is_last
from extproc.state.targets import Targets
from extproc.state.view import TargetView, View
from extproc.text.tokens import Calibration, Family, Output, first_output, updated, with_output
from extproc.vocabulary import Candidate, Decision, TargetId

RESERVATIONS_MAX: Final = 20_000
RESERVED_S_MAX: Final = 600.0
ENDED_S_MAX: Final = 5.0
"""How long what is left of an ended request waits for attempts that are told of late."""

TOLD_MAX: Final = 32_768
TOLD_S_MAX: Final = 60.0
TASKS_MAX: Final = 256
TASK_CHARACTERS_MAX: Final = 64

_END: Final = 0
"""The number of an attempt that stands for the end of its request: they count from 1."""


class State:
    """What has been seen of the targets of one Snapshot after another."""

    def __init__(self) -> None:
        self._targets = Targets()
        self._calibration: dict[Family, Calibration] = {}
        self._output: dict[str, Output] = {}  # whatever was used last stands last
        self._reserved: dict[str, Reservation] = {}
        self._ended: dict[str, Reservation] = {}
        self._told: dict[tuple[str, int], float] = {}

    def configure(self, snapshot: Snapshot) -> None:
        """Goes by `snapshot` from now on: targets that stay keep what was seen of them."""
        self._targets.configure(snapshot)

    def view(self, now: float) -> View:
        """Everything seen, as of `now`; worked out for the targets that are asked about."""
        return View(_Seen(self._targets, now), self._calibration, self._output)

    @property
    def broken(self) -> Collection[TargetId]:
        """Those whose breaker is open, or was and may be tried."""
        return self._targets.broken

    def report(self, now: float) -> list[dict[str, Any]]:
        """What is known of every configured target, as JSON; times are Unix seconds."""
        return self._targets.report(now)

    # What was decided

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
        if first.target in self._targets:
            held.sent = self._targets.send(first.target, first.amount, now)
            held.unused = Charge(first.target, first.amount, now)
            self._wait_on(held, first, now)
        held.probes = tuple(self._targets.take_probes(request_id, held.chain, now))

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
        chain = tuple(
            self._link(
                c, Amount(1) if decision.counting else Amount(1, c.input_tokens, output_tokens)
            )
            for c in decision.chain
        )
        return Reservation(request_id, now, chain)

    def _link(self, candidate: Candidate, amount: Amount) -> Link:
        learned = self._calibration.get(candidate.target.model.family)
        tokens = candidate.input_tokens
        return Link(
            candidate.target.id,
            amount,
            tokens / learned.ratio if learned else float(tokens),
        )

    # What providers did

    def attempted(self, attempt: Attempt, now: float) -> tuple[Transition, ...]:
        """Takes in one attempt; how its target's breaker changed, time's part in it included."""
        if not self._is_new(attempt.request_id, attempt.number, now):
            return ()
        held = self._held(attempt.request_id, now)
        changes: tuple[Transition, ...] = ()
        if attempt.target in self._targets:
            changes = self._targets.observe(attempt, self._charge(held, attempt, now), now)
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
        return self._targets.sent_for_sure(target)

    def _count(self, held: Reservation, target: TargetId, now: float) -> Charge:
        link = held.link_of(target)
        charge = self._targets.count(target, link.amount if link else None, now)
        held.used.append(charge)
        return charge

    def _move_on(self, held: Reservation, attempt: Attempt, now: float) -> None:
        """What `attempt` means for the request: where it is now, and what it holds no longer."""
        target = attempt.target
        self._give_back_probe(held, target)
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
        target = outcome.target
        assert target
        if held.unused and held.unused.target == target:
            held.used.append(held.unused)
            held.unused, held.answered = None, target
        charge = next((c for c in reversed(held.used) if c.target == target), None)
        if charge is None:
            charge, held.answered = self._count(held, target, now), target
        if outcome.usage:
            self._targets.settle(charge, outcome.usage)

    def _learn(
        self, held: Reservation, record: Mapping[str, Any], outcome: Outcome, now: float
    ) -> None:
        """What the provider's own count teaches: of the target, the family and the task."""
        target, usage = outcome.target, outcome.usage
        if target is None or usage is None or outcome.usage_estimated:
            return
        self._targets.consume(target, usage, now)
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
        if target is not None and held.output_tokens and target in self._targets:
            self._targets.speak(target, held.streaming_ms, held.output_tokens, now)
            held.output_tokens = 0

    # What is held

    def _wait_on(self, held: Reservation, link: Link | None, now: float) -> None:
        """Counts the request as under way at the target of `link`, and nowhere else."""
        before, held.waits_on = held.waits_on, link
        if before:
            self._targets.cease(before)
        if link:
            self._targets.begin(link, now)

    def _release(self, held: Reservation) -> None:
        """Gives back all that was not used."""
        self._wait_on(held, None, held.at)
        for target in held.probes:
            self._give_back_probe(held, target)
        if held.unused:
            self._targets.take_back(held.unused)
            held.unused = None

    def _give_back_probe(self, held: Reservation, target: TargetId) -> None:
        if target in held.probes:
            held.probes = tuple(other for other in held.probes if other != target)
            self._targets.give_back_probe(target, held.request_id)

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


class _Seen(Mapping[TargetId, TargetView]):
    """The targets as of one moment: each as it is when first asked about."""

    __slots__ = ("_now", "_seen", "_targets")

    def __init__(self, targets: Targets, now: float) -> None:
        self._targets = targets
        self._now = now
        self._seen: dict[TargetId, TargetView] = {}

    def __getitem__(self, target: TargetId) -> TargetView:
        known = self._seen.get(target)
        if known is None:
            known = self._targets.seen(target, self._now)
            if known is None:
                raise KeyError(target)
            self._seen[target] = known
        return known

    def __iter__(self) -> Iterator[TargetId]:
        return (target for target in self._targets if target in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
