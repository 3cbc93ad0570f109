"""What is counted of decisions, attempts, outcomes and the router itself: events in, series out.

Called on the event loop, for every request; so nothing here waits, and label values are looked up
in dicts. What clients name (apps, task types) is capped.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry

from extproc import __version__
from extproc.outcome import Attempt, Ending, Finished, Outcome
from extproc.policy.task import UNKNOWN_TASK
from extproc.servers.series import Series
from extproc.snapshot import Snapshot
from extproc.state.view import Breaker
from extproc.vocabulary import Decision, TargetId

APPS_MAX: Final = 100
"""Apps that have series of their own, beside those that the config names."""

COST_SERIES_MAX: Final = 10_000
"""Combinations of target, route and app whose cost is told apart."""

OTHER: Final = "other"
NONE: Final = "none"

_MS: Final = 1e-3
_US: Final = 1e-6
_BREAKER: Final = {Breaker.CLOSED: 0, Breaker.HALF_OPEN: 1, Breaker.OPEN: 2}


class Metrics:
    """One method per event; `registry` is what `/metrics` shows."""

    def __init__(self) -> None:
        self._series = Series()
        self._apps = Capped(APPS_MAX)
        self._tasks = Capped(0)
        self._tasks.admit([UNKNOWN_TASK])
        self._targets: Collection[TargetId] = ()
        for result in ("ok", "failed"):
            self._series.reloads[(result,)].inc(0)  # from 0, so that the first one is an increase
        self._series.build[__version__, platform.python_version()].set(1)

    @property
    def registry(self) -> CollectorRegistry:
        return self._series.registry

    # The config

    def configured(self, snapshot: Snapshot) -> None:
        """`snapshot` runs from now on: its hash is shown, its apps and task types told apart.

        Of targets that it does not have nothing is shown, though their requests may still end.
        """
        self._forget(set(self._targets) - snapshot.targets.keys())
        self._targets = snapshot.targets.keys()
        self._series.config.forget([values[0] for values in self._series.config])
        self._series.config[(snapshot.config,)].set(1)
        self._apps.admit(snapshot.apps.allowed)
        self._tasks.admit(snapshot.classifier.types if snapshot.classifier else ())
        for route in snapshot.routes:
            self._apps.admit(name for name in route.match.apps if "*" not in name)
            self._tasks.admit(route.match.task_types)

    def loaded(self, now: float) -> None:
        """The file was taken as it is: at the start, or by a reload."""
        self._series.reload_ok.set(1)
        self._series.reloaded_at.set(now)

    def reloaded(self, *, ok: bool, now: float) -> None:
        """A reload took the file, or did not."""
        self._series.reloads[("ok" if ok else "failed",)].inc()
        if ok:
            self.loaded(now)
        else:
            self._series.reload_ok.set(0)

    # Requests

    def decided(self, decision: Decision, decide_us: int) -> None:
        series = self._series
        series.overhead.observe(decide_us * _US)
        if decision.task:
            task = self._tasks.of(decision.task.type)
            series.tasks[task, decision.task.source.value].inc()
        reasons = [c.rejection.reason.value for c in decision.candidates if c.rejection]
        for reason, count in Counter(reasons).items() if reasons else ():
            series.rejections[(reason,)].inc(count)
        if decision.refusal:
            series.refusals[(decision.refusal.kind,)].inc()
        elif decision.chain and (first := decision.chain[0].target.id) in self._targets:
            choice = decision.choice.value if decision.choice else NONE
            series.decisions[first, decision.route or NONE, choice].inc()

    def attempted(self, attempt: Attempt) -> None:
        if attempt.target in self._targets:
            self._series.attempts[attempt.target, result_of(attempt)].inc()

    def finished(self, finished: Finished) -> None:
        series, record, outcome = self._series, finished.record, finished.outcome
        route = record.get("route") or NONE
        series.requests[route, status_class(outcome.status)].inc()
        target = outcome.target
        if target is None:
            return
        if _first_target(record) not in {None, target}:
            series.fallbacks[(route,)].inc()
        if target not in self._targets:
            return
        if outcome.ending is not Ending.COMPLETE:
            series.incomplete[target, outcome.ending.value].inc()
        series.duration[(target,)].observe(outcome.duration_ms * _MS)
        if outcome.ttfb_ms is not None:
            series.ttfb[(target,)].observe(outcome.ttfb_ms * _MS)
        self._count_tokens(target, record, outcome)
        self._count_cost(target, route, record.get("app"), outcome)

    def undecided(self, status: int) -> None:
        """A request was answered at once: it asked for no decision, or in the wrong way."""
        self._series.undecided[(f"{status}" if 0 <= status < 600 else OTHER,)].inc()

    def _count_tokens(self, target: TargetId, record: Any, outcome: Outcome) -> None:  # noqa: ANN401  JSON
        usage = outcome.usage
        if usage is None:
            return
        tokens = self._series.tokens
        tokens[target, "input"].inc(usage.input_tokens)
        tokens[target, "output"].inc(usage.output_tokens)
        if usage.cache_read_tokens:
            tokens[target, "cache_read"].inc(usage.cache_read_tokens)
        if usage.cache_write_tokens:
            tokens[target, "cache_write"].inc(usage.cache_write_tokens)
        if usage.reasoning_tokens:
            tokens[target, "reasoning"].inc(usage.reasoning_tokens)
        if outcome.usage_estimated:
            self._series.estimated_usage[(target,)].inc()
            return
        estimated = (record.get("estimate") or {}).get("input_tokens")
        if estimated:
            self._series.estimate_error.observe(usage.input_tokens / estimated)

    def _count_cost(self, target: TargetId, route: str, app: str | None, outcome: Outcome) -> None:
        if outcome.cost_usd is None:
            return
        series = self._series
        label = self._apps.of(app)
        if (target, route, label) not in series.cost and len(series.cost) >= COST_SERIES_MAX:
            label = OTHER
        series.cost[target, route, label].inc(outcome.cost_usd)
        if outcome.baseline_cost_usd is not None:
            series.baseline_cost[route, label].inc(outcome.baseline_cost_usd)

    def _forget(self, targets: Collection[TargetId]) -> None:
        for forget in self._series.of_targets:
            forget(targets)

    # The router

    def breaker_changed(self, target: TargetId, state: Breaker) -> None:
        if target in self._targets:
            self._series.breaker[(target,)].set(_BREAKER[state])

    def loop_lagged(self, seconds: float) -> None:
        self._series.loop_lag.observe(seconds)

    def entries(self, kind: str, count: int = 1) -> None:
        """`kind` is of the access-log service's own short list, never what an entry holds."""
        self._series.entries[(kind,)].inc(count)

    def log_dropped(self, count: int) -> None:
        """Lines of the decision log; may be called from any thread."""
        self._series.log_dropped.inc(count)


class Capped:
    """Names that clients give, as label values: those admitted, `room` others, then `other`."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._known: set[str] = set()

    def admit(self, names: Iterable[str]) -> None:
        self._known.update(names)

    def of(self, name: str | None) -> str:
        if name is None:
            return NONE
        if name not in self._known:
            if self._room <= 0:
                return OTHER
            self._room -= 1
            self._known.add(name)
        return name


def result_of(attempt: Attempt) -> str:
    """`ok`, `429`, `client_error`, `none` where the client left first, or why it failed."""
    if attempt.failure:
        return attempt.failure.value
    if attempt.status is None:
        return NONE
    if attempt.status == 429:
        return "429"
    return "client_error" if attempt.status >= 400 else "ok"


def status_class(status: int) -> str:
    """`2xx` and the like; `none` where the client got no answer."""
    return f"{status // 100}xx" if 100 <= status < 600 else NONE


def _first_target(record: Any) -> str | None:  # noqa: ANN401  JSON
    chain = record.get("chain")
    return chain[0].get("target") if chain else None
