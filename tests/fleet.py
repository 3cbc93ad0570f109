"""A fleet of providers that exists in fake time only: clients ask, logs come late, none sleeps."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from random import Random

from configs import request_of, snapshot_of

from extproc.decide import decide
from extproc.outcome import Attempt, Outcome, Usage
from extproc.policy.draw import DRAW_BITS
from extproc.record import record
from extproc.snapshot import Snapshot
from extproc.state.state import State
from extproc.vocabulary import TargetId

START = 1_767_225_600.0
LOG_DELAY_S = 0.2
JITTER = 0.2

Speed = Callable[[float], float]
"""Seconds since the start → milliseconds to the first byte, on average."""


@cache
def route_over(names: str, objective: str = "latency", more: str = "") -> Snapshot:
    """One route over targets named by one letter each; `more` is YAML for every model."""
    return snapshot_of(
        "providers: {home: {baseUrl: http://home.test/v1}}\n"
        "models:\n"
        + "".join(
            f"  {n}: {{targets: [{{provider: home}}], contextWindow: 9000,\n"
            f"       price: {{inputPerMTok: 1, outputPerMTok: 1}}{more}}}\n"
            for n in names
        )
        + f"routes: [{{match: {{default: true}}, candidates: [{', '.join(names)}],"
        f" objective: {objective}}}]\n"
    )


@dataclass(frozen=True)
class Served:
    """One request, `at` seconds since the start, and how many were then at its target with it."""

    at: float
    target: str
    outstanding: int


@dataclass
class Fleet:
    """Targets named by letters, all of one route; `speeds` says how fast each is when."""

    snapshot: Snapshot
    speeds: Mapping[str, Speed]
    seed: int = 1
    log_delay_s: float = LOG_DELAY_S
    now: float = 0.0
    served: list[Served] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State()
        self.state.configure(self.snapshot)
        self.rng = Random(self.seed)
        self.outstanding: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = count()
        self._request = request_of(max_tokens=1)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until

    def clients(self, number: int, at: float = 0.0) -> None:
        """So many clients, each of which asks again as soon as it has its answer."""
        for _ in range(number):
            self.at(at + self.rng.uniform(0, 0.1), lambda: self.ask(again=True))

    def steadily(self, per_second: float, until: float) -> None:
        """Requests at a rate, however long the answers take."""
        for i in range(int(per_second * (until - self.now))):
            self.at(self.now + i / per_second, self.ask)

    def at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._ids), event))

    def ask(self, *, again: bool = False) -> None:
        now = START + self.now
        draw = self.rng.getrandbits(DRAW_BITS)
        decision = decide(self._request, self.snapshot, self.state.view(now), now=now, draw=draw)
        request_id = str(next(self._ids))
        self.state.decided(request_id, decision, now)
        target = decision.chain[0].target.model.name
        self.outstanding[target] += 1
        self.served.append(Served(self.now, target, self.outstanding[target]))
        ttfb_ms = self.speeds[target](self.now) * self.rng.uniform(1 - JITTER, 1 + JITTER)
        home = TargetId(f"home/{target}")
        attempt = Attempt(request_id, 1, home, now, 200, None, ttfb_ms, ttfb_ms)
        outcome = Outcome(home, 1, 200, ttfb_ms, ttfb_ms, usage=Usage(10, 1))

        def answer() -> None:
            self.outstanding[target] -= 1
            if again:
                self.ask(again=True)

        def log() -> None:
            self.state.attempted(attempt, START + self.now)
            self.state.finished(request_id, record(decision), outcome, START + self.now)

        self.at(self.now + ttfb_ms / 1000, answer)
        self.at(self.now + ttfb_ms / 1000 + self.log_delay_s, log)

    def shares(self, since: float, until: float) -> Mapping[str, float]:
        """Which part of the requests of that time each target got."""
        counts = Counter(s.target for s in self.served if since <= s.at < until)
        return {name: counts[name] / max(1, counts.total()) for name in self.speeds}

    def most_outstanding(self, target: str, since: float, until: float) -> int:
        """How many requests were at `target` at once, by those that went there in that time."""
        return max(
            (s.outstanding for s in self.served if s.target == target and since <= s.at < until),
            default=0,
        )
