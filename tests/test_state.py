"""The state of all targets: what decisions reserve, attempts tell and ends settle, in any order."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from attempts import START, A, B, C, attempt, failed
from configs import request_of
from fleet import route_over

from extproc.decide import decide
from extproc.outcome import Attempt, Ending, Outcome, Usage
from extproc.snapshot import HealthCheck, Snapshot
from extproc.state import state as bounds
from extproc.state.breaker import Transition
from extproc.state.state import State
from extproc.state.view import UNSEEN, Breaker
from extproc.text.tokens import Family
from extproc.vocabulary import Decision, Surface, TargetId

ORDER = route_over("abc", "order")
LIMITED = route_over("abc", "order", ", limits: {requestsPerMinute: 2, tokensPerMinute: 5000}")
RECORD: dict[str, Any] = {"task": {"type": "chat"}}


class World:
    """A State at a time that tests move."""

    def __init__(self, snapshot: Snapshot = ORDER) -> None:
        self.state = State()
        self.snapshot = snapshot
        self.state.configure(snapshot)
        self.at = 0.0

    @property
    def now(self) -> float:
        return START + self.at

    def decide(
        self,
        request_id: str,
        surface: Surface = Surface.CHAT,
        **fields: Any,  # noqa: ANN401  JSON
    ) -> Decision:
        request = replace(request_of(**fields), surface=surface)
        decision = decide(
            request, self.snapshot, self.state.view(self.now), now=self.now, draw=2**79
        )
        self.state.decided(request_id, decision, self.now)
        return decision

    def attempt(self, *attempts: Attempt) -> list[Transition]:
        return [t for one in attempts for t in self.state.attempted(one, self.now)]

    def finish(self, request_id: str, target: TargetId | None = A, **facts: Any) -> None:  # noqa: ANN401  its fields
        outcome = Outcome(target, 1, 200, 100, 100, **facts)
        self.state.finished(request_id, RECORD, outcome, self.now)

    def fail(self, target: TargetId, times: int = 5) -> list[Transition]:
        return self.attempt(*(failed(target, at=self.at) for _ in range(times)))

    def report(self, target: TargetId = A) -> dict[str, Any]:
        self.state.sweep(self.now)
        return next(one for one in self.state.report(self.now) if one["target"] == target)

    def pending(self) -> list[int]:
        return [self.report(target)["pending"] for target in (A, B, C)]

    def left(self, target: TargetId = A) -> float:
        left = self.report(target)["requests_left"]
        assert isinstance(left, int)
        return left


def chain_of(decision: Decision) -> str:
    return "".join(candidate.target.model.name for candidate in decision.chain)


# What a decision reserves


def test_a_target_that_nobody_asked_has_not_been_seen() -> None:
    view = World().state.view(START)
    assert view.of(A) is UNSEEN
    assert view.of(TargetId("home/nowhere")) is UNSEEN
    assert list(view.targets) == []


def test_a_decision_is_under_way_at_its_first_target_and_then_where_it_went() -> None:
    world = World()
    world.decide("r")
    assert world.pending() == [1, 0, 0]
    world.attempt(failed(A, request_id="r"))
    assert world.pending() == [0, 1, 0]
    world.attempt(attempt(B, request_id="r", number=2))
    assert world.pending() == [0, 0, 0]


@pytest.mark.parametrize("last", ["answer", "mistake", "client left", "end", "nothing"])
def test_what_a_decision_holds_is_given_back_whatever_becomes_of_it(last: str) -> None:
    world = World(LIMITED)
    world.decide("r")
    assert world.left() == 1
    if last == "answer":
        world.attempt(attempt(B, request_id="r"))  # Envoy passed A over
    elif last == "mistake":
        world.attempt(attempt(B, request_id="r", status=400))
    elif last == "client left":
        world.attempt(attempt(B, request_id="r", status=None))
    elif last == "end":
        world.finish("r", B)
    else:
        world.at = bounds.RESERVED_S_MAX + 1
    assert world.pending() == [0, 0, 0]
    assert world.left() == 2


def test_a_count_of_tokens_is_a_request_and_takes_no_tokens() -> None:
    world = World(LIMITED)
    world.decide("r", surface=Surface.COUNT_TOKENS)
    assert (world.left(), world.report()["tokens_left"]) == (1, 5000)
    world.attempt(attempt(A, request_id="r"))
    world.finish("r")
    assert (world.left(), world.report()["tokens_left"]) == (1, 5000)


def test_a_refusal_reserves_nothing() -> None:
    world = World()
    assert world.decide("r", model="nobody").refusal
    assert world.state.view(START).of(A) is UNSEEN


def test_the_configured_requests_of_a_minute_are_never_exceeded() -> None:
    world = World(LIMITED)
    firsts = ""
    for i in range(6):
        firsts += chain_of(world.decide(f"r{i}"))[0]
        world.attempt(attempt(TargetId(f"home/{firsts[-1]}"), request_id=f"r{i}"))
    assert firsts == "aabbcc"
    world.at = 62.1
    assert chain_of(world.decide("later"))[0] == "a"


def test_attempts_at_fallbacks_and_of_other_replicas_are_charged() -> None:
    world = World(LIMITED)
    world.decide("r")
    world.attempt(failed(A, request_id="r"), attempt(B, request_id="r", number=2))
    assert (world.left(A), world.left(B), world.left(C)) == (1, 1, 2)
    world.attempt(attempt(A, request_id="of another replica"))
    assert world.left(A) == 0


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_it_is_told_a_request_is_charged_once(order: Sequence[int]) -> None:
    world = World(LIMITED)
    world.decide("r", max_tokens=100)
    for step in (*order, *order):  # and all of it twice
        if step == 0:
            world.attempt(failed(A, request_id="r"))
        elif step == 1:
            world.attempt(attempt(B, request_id="r", number=2))
        else:
            world.finish("r", B, usage=Usage(60, 40))
    assert (world.left(A), world.left(B), world.left(C)) == (1, 1, 2)
    assert world.pending() == [0, 0, 0]
    assert world.report(B)["tokens_left"] == 4900


@pytest.mark.parametrize("decided_here", [True, False])
@pytest.mark.parametrize("end_first", [True, False])
def test_tokens_are_settled_to_what_the_provider_counted(
    *, decided_here: bool, end_first: bool
) -> None:
    world = World(LIMITED)
    if decided_here:
        world.decide("r", max_tokens=100)
    if end_first:
        world.finish("r", usage=Usage(1000, 500))
    world.attempt(attempt(A, request_id="r"))
    if not end_first:
        world.finish("r", usage=Usage(1000, 500))
    assert world.report()["tokens_left"] == 3500
    assert world.left() == 1


def test_an_id_that_a_client_uses_again_stands_for_another_request() -> None:
    world = World(LIMITED)
    for _ in range(2):
        world.decide("same")
        world.attempt(attempt(A, request_id="same"))
        world.finish("same", usage=Usage(10, 10))
    assert world.left() == 0
    assert world.report()["samples"] == 2


# Headroom


def test_headroom_that_runs_down_moves_traffic_before_the_first_429() -> None:
    world = World()
    told = replace(attempt(A), headers={"x-ratelimit-remaining-requests": "2"})
    world.attempt(told)
    assert [chain_of(world.decide(f"r{i}"))[0] for i in range(3)] == ["a", "a", "b"]
    world.at = 61
    assert chain_of(world.decide("later"))[0] == "a"


def test_what_is_left_is_told_after_the_request_and_before_those_decided_since() -> None:
    world = World()
    for i in range(4):
        world.decide(f"r{i}")
    headers = {"x-ratelimit-remaining-requests": "10"}
    world.attempt(replace(attempt(A, request_id="r1"), headers=headers))
    assert world.report()["requests_left"] == 8
    foreign = replace(attempt(A, at=1), headers=headers)
    world.at = 2
    world.attempt(foreign)  # three of ours are under way, and may not have been counted
    assert world.report()["requests_left"] == 7


def test_a_429_takes_a_target_out_for_as_long_as_it_says() -> None:
    world = World()
    world.attempt(replace(attempt(A, status=429), headers={"retry-after": "90"}))
    for at, first in ((0.0, "b"), (30.0, "b"), (89.9, "b"), (90.1, "a")):
        world.at = at
        assert chain_of(world.decide(f"at {at}"))[0] == first
        world.attempt(attempt(A, at=at, request_id=f"at {at}"))  # a success cancels nothing


def test_a_429_that_says_nothing_is_a_second() -> None:
    world = World()
    world.attempt(attempt(A, status=429))
    assert world.report()["not_before"] == START + 1


# Breakers


def test_a_burst_of_errors_moves_new_decisions_away_and_is_told_of() -> None:
    world = World()
    world.attempt(attempt(B), attempt(C))
    assert world.fail(A) == [Transition(A, Breaker.CLOSED, Breaker.OPEN)]
    assert chain_of(world.decide("r")) == "bc"
    assert world.report()["until"] == START + 10


def test_one_probe_at_a_time_and_its_success_closes_the_breaker() -> None:
    world = World()
    world.fail(A)
    world.at = 10.1
    assert chain_of(world.decide("probe")) == "abc"
    assert world.report()["probing"]
    assert chain_of(world.decide("other")) == "bc"
    assert world.attempt(attempt(A, at=10.1, request_id="probe")) == [
        Transition(A, Breaker.OPEN, Breaker.HALF_OPEN),
        Transition(A, Breaker.HALF_OPEN, Breaker.CLOSED),
    ]
    assert world.report()["slow_start"] == 0.1
    assert chain_of(world.decide("later")) == "bca"


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    world = World()
    world.fail(A)
    world.at = 10.1
    world.decide("probe")
    assert world.attempt(failed(A, at=10.1, request_id="probe"))[-1] == Transition(
        A, Breaker.HALF_OPEN, Breaker.OPEN
    )
    assert world.report()["until"] == world.now + 20


def test_a_probe_anywhere_in_the_chain_is_given_back_if_it_was_not_made() -> None:
    world = World()
    world.fail(C)
    world.at = 10.1
    assert chain_of(world.decide("r")) == "abc"
    assert world.report(C)["probing"]
    assert chain_of(world.decide("s")) == "ab"
    world.attempt(attempt(A, request_id="r"))
    assert not world.report(C)["probing"]
    assert chain_of(world.decide("t")) == "abc"


@pytest.mark.parametrize(("target", "wait_s"), [(A, 35), (C, 95)])
def test_a_probe_that_is_never_told_of_is_given_back(target: TargetId, wait_s: float) -> None:
    """After the time to the first byte, of those before it too, and five seconds."""
    world = World()
    world.fail(target)
    world.at = 10.1
    world.decide("lost")
    world.at += wait_s - 0.2
    assert world.report(target)["probing"]
    world.at += 0.4
    assert not world.report(target)["probing"]
    world.decide("next")
    world.attempt(attempt(target, status=429, request_id="lost", number=9))
    assert world.report(target)["probing"]  # that of `next`


@pytest.mark.parametrize("targets", [(A, B), (A, B, C)])
@pytest.mark.parametrize("well", [0, 15, 200])
def test_a_failure_of_everything_alike_opens_nothing(
    targets: Sequence[TargetId], well: int
) -> None:
    world = World()
    for _ in range(well):
        world.attempt(*(attempt(target) for target in targets))
    for i in range(50):
        for number, target in enumerate(targets, 1):
            one = replace(failed(target, request_id=f"r{i}"), number=number)
            assert world.attempt(one) == []


@pytest.mark.parametrize("wells", [(5, 300, 40), (300, 5, 40), (10, 0, 0), (400, 0, 12)])
def test_nor_where_the_targets_had_unlike_traffic_before(wells: Sequence[int]) -> None:
    world = World()
    for target, well in zip((A, B, C), wells, strict=True):
        world.attempt(*(attempt(target) for _ in range(well)))
    for _ in range(50):
        assert world.attempt(failed(A), failed(B), failed(C)) == []


def test_but_one_that_fails_alone_opens_and_so_does_the_only_one() -> None:
    world = World()
    for _ in range(20):
        world.attempt(attempt(B), attempt(C))
    world.attempt(failed(B))  # a stray error
    assert [t.new for t in world.fail(A)] == [Breaker.OPEN]
    alone = World()
    assert [t.new for t in alone.fail(A)] == [Breaker.OPEN]


def test_health_checks_that_are_off_open_nothing() -> None:
    world = World(replace(ORDER, health_check=HealthCheck(enabled=False)))
    assert world.fail(A, 50) == []
    assert chain_of(world.decide("r")) == "abc"


# What is learned


def test_the_pace_the_cached_share_and_the_answers_length_are_learned_of_an_answer() -> None:
    for end_first in (True, False):
        world = World()
        one = replace(attempt(A, request_id="r"), duration_ms=1100, streamed=True)
        usage = Usage(100, 200, cache_read_tokens=50, reasoning_tokens=100)
        steps = [
            lambda w=world, o=one: w.attempt(o),
            lambda w=world, u=usage: w.finish("r", usage=u),
        ]
        for step in reversed(steps) if end_first else steps:
            step()
        report = world.report()
        assert report["ms_per_token"] == 5
        assert report["cached_share"] == 0.5
        output = world.state.view(world.now).output["chat"]
        assert output.mean_tokens == pytest.approx((250 * 5 + 100) / 6)


def test_the_estimate_of_a_family_is_calibrated_by_what_its_provider_counted() -> None:
    world = World()
    before = world.decide("first", messages=[{"role": "user", "content": "word " * 2000}])
    estimated = before.chain[0].input_tokens
    for i in range(200):
        world.decide(f"r{i}", messages=[{"role": "user", "content": "word " * 2000}])
        world.finish(f"r{i}", usage=Usage(round(estimated * 1.3), 10))
    ratio = world.state.view(world.now).calibration[Family.DEFAULT].ratio
    assert ratio == pytest.approx(1.3, abs=0.02)


@pytest.mark.parametrize(
    "facts",
    [{}, {"usage": Usage(900, 9), "usage_estimated": True}],
)
def test_nothing_is_learned_of_what_the_provider_did_not_count(facts: dict[str, Any]) -> None:
    world = World()
    world.decide("r")
    world.finish("r", **facts)
    view = world.state.view(world.now)
    assert not view.calibration
    assert not view.output
    assert view.of(A).cached_share == 0


def test_an_answer_that_was_cut_off_says_nothing_of_how_long_answers_are() -> None:
    world = World()
    world.decide("r")
    world.finish("r", usage=Usage(900, 9), ending=Ending.ABORTED)
    assert not world.state.view(world.now).output
    assert world.state.view(world.now).calibration


def test_tasks_are_named_by_clients_so_only_the_latest_256_are_known() -> None:
    world = World()
    usage = Usage(10, 10)
    for i in range(1000):
        outcome = Outcome(A, 1, 200, 1, 1, usage=usage)
        for task in ("chat", f"task-{i}", "x" * 65):
            record = {"task": {"type": task}}
            world.state.finished(f"{task}-{i}", record, outcome, world.now)
    output = world.state.view(world.now).output
    assert len(output) == bounds.TASKS_MAX
    assert "chat" in output
    assert "task-999" in output
    assert "task-0" not in output


@pytest.mark.parametrize("record", [{}, {"task": None}, {"task": "chat"}, {"task": {"type": 3}}])
def test_a_record_may_lack_a_task(record: dict[str, Any]) -> None:
    world = World()
    world.state.finished("r", record, Outcome(A, 1, 200, 1, 1, usage=Usage(9, 9)), world.now)
    assert not world.state.view(world.now).output


# Reload and bounds


def test_targets_that_stay_keep_their_state_and_those_removed_are_forgotten() -> None:
    world = World()
    world.attempt(attempt(B), attempt(C))
    world.fail(A)
    world.decide("r")
    world.state.configure(route_over("ac", "order"))
    assert world.state.view(world.now).of(A).breaker is Breaker.OPEN
    assert world.state.view(world.now).of(B) is UNSEEN
    assert [one["target"] for one in world.state.report(world.now)] == [A, C]
    world.attempt(attempt(B, request_id="r"), failed(B))  # told late, of one that is gone
    world.finish("r", B, usage=Usage(1, 1))
    world.state.configure(ORDER)
    assert world.state.view(world.now).of(B) is UNSEEN


def test_every_map_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESERVATIONS_MAX", "TOLD_MAX"):
        monkeypatch.setattr(bounds, name, 50)
    world = World(LIMITED)
    for i in range(500):
        world.decide(f"d{i}")
        world.attempt(attempt(A, request_id=f"a{i}"))
        world.finish(f"f{i}")
    assert sum(world.pending()) <= 50
    sizes = {name: len(held) for name, held in vars(world.state).items() if isinstance(held, dict)}
    assert all(size <= 50 for size in sizes.values()), sizes


def test_a_sweep_lets_go_of_all_that_has_waited_too_long() -> None:
    world = World()
    world.decide("r")
    world.attempt(attempt(A))
    world.at = 601
    world.state.sweep(world.now)
    assert world.pending() == [0, 0, 0]
    assert not world.state._reserved  # noqa: SLF001  nothing shows it but memory
    assert not world.state._ended  # noqa: SLF001
    assert not world.state._told  # noqa: SLF001


def test_the_report_names_every_configured_target_seen_or_not() -> None:
    world = World()
    world.decide("r")
    world.attempt(attempt(A, request_id="r"))
    seen, *others = world.state.report(world.now)
    assert seen == others[0] | {
        "target": A,
        "requests": 1,
        "ttfb_ms": 100,
        "slow_ttfb_ms": 100,
        "samples": 1,
        "last_seen": START,
    }
    assert others[0] == others[1] | {"target": B}
