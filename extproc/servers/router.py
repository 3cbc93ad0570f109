"""What one router process knows, and whom it tells: the loop from a decision to its outcome.

    decision ──► state (what it reserves), metrics, `/decisions`, and its record into the request
    attempt  ──► state (health, limits, latency), metrics
    ended    ──► outcome and cost ──► state, metrics, `/decisions`, decision log, OpenTelemetry

Attempts and ended requests come from Envoy's access logs, some of a second late; of requests that
any replica has decided, and in any order. Everything runs on the event loop, nothing here waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from extproc.explain import explain, written_request
from extproc.outcome import Attempt, Ended, Finished
from extproc.policy.draw import DRAW_BITS
from extproc.record import iso_time, record, with_outcome
from extproc.servers.decision_log import DecisionLog
from extproc.servers.decisions import Decisions
from extproc.servers.metrics import Metrics
from extproc.servers.telemetry import Exporter
from extproc.settle import settled
from extproc.snapshot import Snapshot
from extproc.state.state import State
from extproc.state.view import Breaker, View
from extproc.vocabulary import Decision

SNAPSHOTS_MAX: Final = 8
"""Configs that are remembered for their prices: a request may end under a later one."""

WRITTEN_MAX: Final = 65_536
"""Records that are known to be written, so that one told of twice is written once."""

_TIMES: Final = ("until", "not_before", "last_seen")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Router:
    """One for each process. `snapshot` is the config that runs; an exchange takes it once."""

    def __init__(
        self,
        snapshot: Snapshot,
        metrics: Metrics,
        log: DecisionLog,
        exporter: Exporter | None = None,
    ) -> None:
        self.metrics = metrics
        self.decisions = Decisions()
        self.state = State()
        self._log = log
        self._exporter = exporter
        self._recent: dict[str, Snapshot] = {}
        self._written: dict[str, None] = dict.fromkeys(log.last_ids())
        self.snapshot = snapshot
        self.use(snapshot)

    def use(self, snapshot: Snapshot) -> None:
        """Decide by `snapshot` from now on."""
        was_broken = list(self.state.broken)
        self.snapshot = snapshot
        self.state.configure(snapshot)
        self.metrics.configured(snapshot)
        for target in was_broken:
            if target not in self.state.broken:  # another `healthCheck` begins anew
                self.metrics.breaker_changed(target, Breaker.CLOSED)
        self._recent.pop(snapshot.config, None)
        self._recent[snapshot.config] = snapshot
        if len(self._recent) > SNAPSHOTS_MAX:
            del self._recent[next(iter(self._recent))]

    def view(self, now: float) -> View:
        return self.state.view(now)

    def decided(self, request_id: str, decision: Decision, decide_us: int) -> bytes:
        """The record of `decision` as JSON, for the request to carry."""
        told = _encode(record(decision, decide_us))
        self.state.decided(request_id, decision, decision.time)
        self.metrics.decided(decision, decide_us)
        self.decisions.decided(decision.id, told)
        return told

    def attempted(self, attempt: Attempt) -> None:
        now = time.time()
        for change in self.state.attempted(attempt, now):
            self.metrics.breaker_changed(change.target, change.new)
        self.metrics.attempted(attempt)

    def ended(self, ended: Ended) -> None:
        """Raises `msgspec.DecodeError` and the like if its record is none."""
        decided = _decode(ended.record)
        if not self._is_new(decided["id"]):
            self.metrics.entries("duplicate")
            return
        outcome = settled(ended, decided, self._recent.get(decided["config"], self.snapshot))
        told = with_outcome(ended.record.encode(), outcome)
        self.state.finished(ended.request_id, decided, outcome, time.time())
        self.decisions.finished(decided["id"], told)
        self._log.write(told)
        finished = Finished(ended.request_id, decided, outcome, ended.began, ended.traceparent)
        self.metrics.finished(finished)
        if self._exporter:
            self._exporter.finished(finished)

    async def written(self) -> None:
        """Returns when what has ended so far is in the decision log."""
        await self._log.written()

    def sweep(self) -> None:
        """Once a second or so: let go of what waited too long, show what time alone has changed."""
        now = time.time()
        self.state.sweep(now)
        view = self.state.view(now)
        for target in self.state.broken:
            self.metrics.breaker_changed(target, view.of(target).breaker)

    # For the admin server

    def report(self) -> Sequence[Mapping[str, Any]]:
        """Every target of the config, as it is seen now; what is null has not been seen."""
        return [
            {**told, **{name: told[name] and iso_time(told[name]) for name in _TIMES}}
            for told in self.state.report(time.time())
        ]

    def explain(self, request: bytes) -> Mapping[str, Any]:
        """The record of what would be decided now. Raises `RequestError` for what is no request."""
        now, draw = time.time(), random.getrandbits(DRAW_BITS)
        written = written_request(request)
        return record(explain(written, self.snapshot, self.view(now), now=now, draw=draw))

    def close(self) -> None:
        """Write and export what is left."""
        self._log.close()
        if self._exporter:
            self._exporter.close()

    def _is_new(self, decision_id: str) -> bool:
        if decision_id in self._written:
            return False
        self._written[decision_id] = None
        if len(self._written) > WRITTEN_MAX:
            del self._written[next(iter(self._written))]
        return True
