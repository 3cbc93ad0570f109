"""Which eligible targets can take a request now, and what happens when none can."""

from collections import Counter
from functools import cache
from itertools import permutations

import pytest
from configs import request_of, snapshot_of

from extproc.decide import decide
from extproc.policy.availability import badness, unavailable
from extproc.policy.draw import Draw
from extproc.policy.request import Request
from extproc.snapshot import Snapshot
from extproc.state.view import UNSEEN, Breaker, TargetView, View
from extproc.vocabulary import Choice, Decision, Reason, TargetId

NOW = 1_767_225_600.0

OPEN = TargetView(breaker=Breaker.OPEN)
PROBING = TargetView(breaker=Breaker.HALF_OPEN, probing=True)
TO_PROBE = TargetView(breaker=Breaker.HALF_OPEN)
WAITING = TargetView(not_before=NOW + 30)
NO_REQUESTS = TargetView(requests_left=0)
NO_TOKENS = TargetView(tokens_left=0)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (UNSEEN, None),
        (TargetView(breaker=Breaker.CLOSED, probing=True), None),
        (OPEN, Reason.BREAKER_OPEN),
        (TargetView(breaker=Breaker.OPEN, probing=True), Reason.BREAKER_OPEN),
        (TO_PROBE, None),
        (PROBING, Reason.BREAKER_OPEN),
        (WAITING, Reason.NOT_BEFORE),
        (TargetView(not_before=NOW), None),
        (TargetView(not_before=NOW - 1), None),
        (TargetView(not_before=NOW + 0.001), Reason.NOT_BEFORE),
        (NO_REQUESTS, Reason.REQUESTS_EXHAUSTED),
        (TargetView(requests_left=-3), Reason.REQUESTS_EXHAUSTED),
        (TargetView(requests_left=0.9), Reason.REQUESTS_EXHAUSTED),
        (TargetView(requests_left=1), None),
        (NO_TOKENS, Reason.TOKENS_EXHAUSTED),
        (TargetView(tokens_left=-50), Reason.TOKENS_EXHAUSTED),
        (TargetView(tokens_left=149), Reason.TOKENS_EXHAUSTED),
        (TargetView(tokens_left=150), None),
        (TargetView(requests_left=1, tokens_left=150), None),
        # Counted apart: 100 tokens of input, 50 of output.
        (TargetView(input_tokens_left=99), Reason.TOKENS_EXHAUSTED),
        (TargetView(output_tokens_left=49), Reason.TOKENS_EXHAUSTED),
        (TargetView(input_tokens_left=100, output_tokens_left=50), None),
        (TargetView(pending=99, stale=True, silent=True, slow_start=0.1), None),
        (TargetView(requests_left=0, tokens_left=0), Reason.REQUESTS_EXHAUSTED),
        (TargetView(requests_left=0, not_before=NOW + 1), Reason.NOT_BEFORE),
        (TargetView(breaker=Breaker.OPEN, not_before=NOW + 1), Reason.BREAKER_OPEN),
        (TargetView(breaker=Breaker.HALF_OPEN, not_before=NOW + 1), Reason.NOT_BEFORE),
        (TargetView(spiking=True, ttfb_ms=1e6, ms_per_token=1e6), None),
    ],
)
def test_a_target_is_left_out_for_the_gravest_of_its_reasons(
    seen: TargetView, reason: Reason | None
) -> None:
    found = unavailable(TargetId("home/m"), seen, 100, 50, NOW)
    assert (found.reason if found else None) == reason
    assert found is None or found.target == "home/m"


@pytest.mark.parametrize(
    ("seen", "detail"),
    [
        (PROBING, "its one probe is under way"),
        (WAITING, "asked to be left alone for 30 s"),
        (TargetView(tokens_left=20.4), "needs 150 tokens, 20 left in this minute"),
        (TargetView(tokens_left=-20), "needs 150 tokens, 0 left in this minute"),
        (TargetView(output_tokens_left=9), "needs 50 output tokens, 9 left in this minute"),
    ],
)
def test_the_reason_tells_how_far_it_is_from_available(seen: TargetView, detail: str) -> None:
    found = unavailable(TargetId("home/m"), seen, 100, 50, NOW)
    assert found
    assert found.detail == detail


def test_the_least_bad_is_short_of_headroom_then_soonest_then_failing() -> None:
    in_order = [
        NO_REQUESTS,
        TargetView(tokens_left=0, spiking=True),
        TargetView(not_before=NOW + 1),
        TargetView(not_before=NOW + 2),
        OPEN,
        TargetView(breaker=Breaker.OPEN, not_before=NOW + 60),
    ]
    for some in permutations(in_order, 3):
        ranked = sorted(some, key=lambda seen: badness(seen, NOW))
        assert ranked == sorted(some, key=in_order.index)


# In a decision

UNAVAILABLE = [OPEN, PROBING, WAITING, NO_REQUESTS, NO_TOKENS]
REASONS = [
    Reason.BREAKER_OPEN,
    Reason.BREAKER_OPEN,
    Reason.NOT_BEFORE,
    Reason.REQUESTS_EXHAUSTED,
    Reason.TOKENS_EXHAUSTED,
]


@cache
def world(objective: str = "order") -> Snapshot:
    model = "contextWindow: 9000, price: {inputPerMTok: 1, outputPerMTok: 1}"
    return snapshot_of(
        "providers: {home: {baseUrl: http://home.test/v1}}\n"
        "models:\n"
        + "".join(f"  {n}: {{targets: [{{provider: home}}], {model}}}\n" for n in "abcd")
        + "  small: {targets: [{provider: home}], contextWindow: 20}\n"
        f"routes: [{{match: {{default: true}}, candidates: [a, b], objective: {objective},\n"
        "           fallback: [c, d, small]}]\n"
        "maxAttempts: 4\noverrides: {allow: [no-fallback]}\n"
    )


def seen(**targets: TargetView) -> View:
    return View({TargetId(f"home/{name}"): target for name, target in targets.items()})


def decided(view: View, objective: str = "order", request: Request | None = None) -> Decision:
    return decide(request or request_of(), world(objective), view, now=NOW, draw=3)


def names(decision: Decision) -> str:
    return "".join(candidate.target.model.name for candidate in decision.chain)


@pytest.mark.parametrize("objective", ["order", "cost", "latency", "weighted"])
@pytest.mark.parametrize(("bad", "reason"), [*zip(UNAVAILABLE, REASONS, strict=True)])
def test_a_target_that_is_not_available_is_not_tried_while_another_can_serve(
    objective: str, bad: TargetView, reason: Reason
) -> None:
    for out in ("a", "b", "c", "d", "ab", "ad", "cd", "bcd", "abc"):
        decision = decided(seen(**dict.fromkeys(out, bad)), objective)
        assert set(names(decision)) == set("abcd") - set(out)
        reasons = {one.target: one.reason for one in decision.rejected}
        assert reasons.pop(TargetId("home/small")) == Reason.CONTEXT_WINDOW
        assert reasons == {f"home/{name}": reason for name in out}


def test_a_target_that_is_to_be_probed_is_tried() -> None:
    assert names(decided(seen(a=TO_PROBE))) == "abcd"


@pytest.mark.parametrize("objective", ["order", "cost", "latency", "weighted"])
def test_a_target_in_slow_start_comes_first_for_its_share_and_else_last(objective: str) -> None:
    view = seen(**{name: TargetView(slow_start=0.25) for name in "ab"})
    firsts: Counter[str] = Counter()
    source = Draw(1)
    for _ in range(4000):
        draw = int(source.share() * 2**40) << 40 | int(source.share() * 2**40)
        decision = decide(request_of(), world(objective), view, now=NOW, draw=draw)
        assert sorted(names(decision)) == list("abcd")
        firsts[names(decision)[0]] += 1
        moved = names(decision)[0] in "cd"
        assert ("slow start" in decision.why) == (moved or "still" in decision.why)
    # `a` comes first in a quarter, `b` in a quarter of those left, a fallback else.
    assert firsts["c"] / 4000 == pytest.approx(0.75**2, abs=0.03)
    assert firsts["d"] == 0


def test_a_slow_start_that_makes_way_is_told_of() -> None:
    decision = decided(seen(a=TargetView(slow_start=0.0)))
    assert names(decision) == "bcda"
    assert decision.why == "home/a is still in slow start; else first of 2 eligible"


def test_where_all_are_in_slow_start_the_order_stays() -> None:
    assert names(decided(seen(**{n: TargetView(slow_start=0.0) for n in "abcd"}))) == "abcd"


def test_fallbacks_stand_behind_every_first_choice_that_is_available() -> None:
    assert names(decided(seen(a=OPEN))) == "bcd"
    assert names(decided(seen(c=OPEN))) == "abd"


def test_why_says_when_no_first_choice_is_available() -> None:
    decision = decided(seen(a=OPEN, b=WAITING))
    assert names(decision) == "cd"
    assert decision.why == "a fallback of route default: none of its first choices can serve now"


def test_of_none_available_the_least_bad_come_first_and_why_says_so() -> None:
    soon = TargetView(not_before=NOW + 5)
    decision = decided(seen(a=OPEN, b=WAITING, c=soon, d=NO_TOKENS))
    assert names(decision) == "dcba"
    assert decision.why == "nothing is available, so the least bad of 4 eligible"
    assert decision.choice is Choice.LEAST_BAD
    assert {one.target for one in decision.rejected} == {
        *("home/a", "home/b", "home/c", "home/d", "home/small"),
    }


@pytest.mark.parametrize("objective", ["order", "cost", "latency", "weighted"])
def test_what_is_equally_bad_is_tried_as_written(objective: str) -> None:
    assert names(decided(seen(a=OPEN, b=OPEN, c=OPEN, d=PROBING), objective)) == "abcd"


def test_the_least_bad_is_still_eligible() -> None:
    """`small` is fully available, and can't serve."""
    decision = decided(seen(a=OPEN, b=OPEN, c=OPEN, d=OPEN, small=UNSEEN))
    assert "small" not in {c.target.model.name for c in decision.chain}


def test_without_fallback_the_least_bad_first_choice_is_tried_once() -> None:
    request = request_of({"x-router-no-fallback": "true"})
    decision = decided(seen(a=OPEN, b=WAITING), request=request)
    assert names(decision) == "b"


def test_a_client_that_asks_for_a_model_gets_another_while_that_is_not_available() -> None:
    asked = request_of(model="a")
    assert names(decided(seen(), request=asked)) == "acd"
    assert names(decided(seen(a=OPEN), request=asked)) == "cd"
    assert names(decided(seen(a=OPEN, c=OPEN, d=OPEN), request=asked)) == "acd"


def test_tokens_left_are_held_against_input_and_output_together() -> None:
    for limit in (10, 100):
        expected = decided(seen(), request=request_of(max_tokens=limit, model="a"))
        assert expected.estimate
        needed = expected.chain[0].input_tokens + expected.estimate.output_tokens
        assert expected.estimate.output_tokens == limit
        assert names(expected).startswith("acd")
        for left, chain in ((needed, "acd"), (needed - 1, "cd")):
            view = seen(a=TargetView(tokens_left=left))
            asked = request_of(max_tokens=limit, model="a")
            assert names(decided(view, request=asked)).removesuffix("small") == chain
