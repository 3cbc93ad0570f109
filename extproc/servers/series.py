"""Every Prometheus series there is: its name, its labels, its buckets. docs/metrics.md lists them.

Names begin with `extproc_`; units are base units, seconds and US dollars. Label values are names of
the config, or of a closed list, or capped: what a client says never becomes a label as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

_M = TypeVar("_M", Counter, Gauge, Histogram)

_OVERHEAD_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
_TTFB_S: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30)
_DURATION_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
_LAG_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_RATIOS: Final = (0.25, 0.5, 0.67, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2, 4)


class Family(dict[tuple[str, ...], _M], Generic[_M]):
    """A metric's children by their label values, in the metric's order.

    A look-up here takes a fifth of the time that `labels()` does.
    """

    def __init__(self, metric: _M) -> None:
        super().__init__()
        self._metric: _M = metric

    def __missing__(self, values: tuple[str, ...]) -> _M:
        child: _M = self._metric.labels(*values)
        self[values] = child
        return child

    def forget(self, names: Collection[str]) -> None:
        """Drop the series whose first label is among `names`."""
        for values in [values for values in self if values[0] in names]:
            self._metric.remove(*values)
            del self[values]


class Series:
    """All of them, in one registry of their own."""

    def __init__(self) -> None:
        # A second series for each, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # theirs is without types
        self.registry = CollectorRegistry()
        self.of_targets: list[Callable[[Collection[str]], None]] = []
        ProcessCollector(namespace="extproc", registry=self.registry)
        self._define_decisions()
        self._define_outcomes()
        self._define_the_router()

    def _define_decisions(self) -> None:
        self.overhead = self._histogram(
            "overhead_seconds", "From a request's last byte to its decision.", _OVERHEAD_S
        )
        self.decisions = self._counters(
            "decisions",
            "Requests sent on: by route, first target, and what put it first.",
            ("target", "route", "choice"),
        )
        self.tasks = self._counters(
            "tasks", "Requests read: by task type, and who named it.", ("task", "source")
        )
        self.rejections = self._counters(
            "rejections", "Targets that could not serve a request: by reason.", ("reason",)
        )
        self.refusals = self._counters(
            "refusals", "Requests that the router refused: by kind.", ("kind",)
        )
        self.undecided = self._counters(
            "undecided",
            "Requests answered without a decision: by status.",
            ("status",),
        )

    def _define_outcomes(self) -> None:
        by_target = ("target",)
        self.attempts = self._counters(
            "attempts", "Attempts at a target: by result.", ("target", "result")
        )
        self.requests = self._counters(
            "requests", "Requests decided and ended: by route and status.", ("route", "status")
        )
        self.fallbacks = self._counters(
            "fallbacks", "Requests that another than the first target served.", ("route",)
        )
        self.incomplete = self._counters(
            "incomplete",
            "Answers cut off by the provider (truncated) or left by the client (aborted).",
            ("target", "ending"),
        )
        self.ttfb = self._histograms(
            "ttfb_seconds", "From the request to the answer's first byte.", _TTFB_S, by_target
        )
        self.duration = self._histograms(
            "duration_seconds", "From the request to the answer's end.", _DURATION_S, by_target
        )
        self.tokens = self._counters(
            "tokens",
            "Tokens, as reported or else estimated; cached are part of input, reasoning of output.",
            ("target", "kind"),
        )
        self.estimated_usage = self._counters(
            "estimated_usage", "Answers whose provider reported no usage.", by_target
        )
        self.cost = self._counters(
            "cost_usd", "What requests cost, in US dollars.", ("target", "route", "app")
        )
        self.baseline_cost = self._counters(
            "baseline_cost_usd",
            "What the same requests would have cost at the baseline model.",
            ("route", "app"),
        )
        self.estimate_error = self._histogram(
            "input_tokens_ratio", "Reported input tokens by estimated ones.", _RATIOS
        )
        self.breaker = self._gauges("breaker_state", "0 closed, 1 half open, 2 open.", by_target)

    def _define_the_router(self) -> None:
        self.entries = self._counters(
            "access_log_entries", "What Envoy's access logs held: by kind.", ("kind",)
        )
        self.log_dropped = self._counter(
            "decision_log_dropped", "Lines that the decision log could not keep up with."
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop was.", _LAG_S
        )
        self.config = self._gauges("config_info", "1 for the config that runs.", ("config",))
        self.reloads = self._counters("config_reloads", "Reloads: by result.", ("result",))
        self.reloaded_at = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When a config was last taken."
        )
        self.reload_ok = self._gauge(
            "config_last_reload_successful", "1 unless the file as it is now can't be taken."
        )
        self.build = self._gauges("build_info", "1 for what runs.", ("version", "python"))

    def _counter(self, name: str, help_text: str) -> Counter:
        return self._made(Counter, name, help_text, ())

    def _counters(self, name: str, help_text: str, labels: Sequence[str]) -> Family[Counter]:
        return self._family(self._made(Counter, name, help_text, labels), labels)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return self._made(Gauge, name, help_text, ())

    def _gauges(self, name: str, help_text: str, labels: Sequence[str]) -> Family[Gauge]:
        return self._family(self._made(Gauge, name, help_text, labels), labels)

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float]) -> Histogram:
        return self._made(Histogram, name, help_text, (), buckets=buckets)

    def _histograms(
        self, name: str, help_text: str, buckets: Sequence[float], labels: Sequence[str]
    ) -> Family[Histogram]:
        return self._family(self._made(Histogram, name, help_text, labels, buckets=buckets), labels)

    def _made(
        self,
        kind: type[_M],
        name: str,
        help_text: str,
        labels: Sequence[str],
        **more: Any,  # noqa: ANN401  what only some kinds take
    ) -> _M:
        return kind(f"extproc_{name}", help_text, labels, registry=self.registry, **more)

    def _family(self, metric: _M, labels: Sequence[str]) -> Family[_M]:
        family = Family(metric)
        if labels[0] == "target":
            self.of_targets.append(family.forget)
        return family
