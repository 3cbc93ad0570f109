"""In which order candidates are tried: a rule for each objective."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from configs import CHAT, payload_of, request_of, snapshot_of, target

from extproc.decide import decide
from extproc.policy.draw import DRAW_BITS, Draw
from extproc.policy.rank import EXPLORED_SHARE, TRIED_SHARE, ranked
from extproc.policy.request import Request
from extproc.policy.weigh import expected_latency_ms, weighed
from extproc.price import Price, PricePeriod, Rate
from extproc.snapshot import Objective, Snapshot
from extproc.state.view import EMPTY_VIEW, UNSEEN, TargetView, View
from extproc.vocabulary import Candidate, Decision, Estimate, TargetId

DRAWS = 20_000
SPIKING = TargetView(spiking=True)


def candidate(
    name: str, *, cost: float | None = None, latency: float | None = None, weight: int = 1
) -> Candidate:
    return Candidate(replace(target(name), weight=weight), 100, cost, latency)


def view(**seen: TargetView) -> View:
    return View({TargetId(f"home/{name}"): one for name, one in seen.items()})


def order(
    candidates: Sequence[Candidate],
    objective: Objective,
    seen: View = EMPTY_VIEW,
    draw: int = 0,
) -> str:
    return "".join(c.target.model.name for c in ranked(candidates, objective, seen, Draw(draw)))


def orders(
    candidates: Sequence[Candidate], objective: Objective, seen: View = EMPTY_VIEW
) -> Iterator[str]:
    # Draws as they come: 80 bits each, unlike one another.
    source = Draw(20260101)
    for _ in range(DRAWS):
        draw = int(source.share() * 2**40) << 40 | int(source.share() * 2**40)
        yield order(candidates, objective, seen, draw)


def firsts(
    candidates: Sequence[Candidate], objective: Objective, seen: View = EMPTY_VIEW
) -> Mapping[str, float]:
    """How often each comes first, as a share of all draws."""
    counts = Counter(names[0] for names in orders(candidates, objective, seen))
    return {c.target.model.name: counts[c.target.model.name] / DRAWS for c in candidates}


# For every objective


@pytest.mark.parametrize("objective", Objective)
def test_nobody_is_dropped_or_doubled_and_one_draw_makes_one_order(objective: Objective) -> None:
    five = [
        candidate(n, cost=c, latency=latency, weight=w)
        for n, c, latency, w in [
            ("a", 0.1, 50, 3),
            ("b", None, None, 0),
            ("c", 0.1, 10, 1),
            ("d", 0.05, 1e6, 9),
            ("e", 0.0, None, 0),
        ]
    ]
    seen = view(c=SPIKING, e=SPIKING)
    for draw in (0, 1, 2**64 - 1, 2**64, 2**DRAW_BITS - 1, *range(2, 200)):
        found = order(five, objective, seen, draw)
        assert sorted(found) == list("abcde")
        assert found == order(five, objective, seen, draw)


@pytest.mark.parametrize("objective", Objective)
def test_of_none_or_one_there_is_one_order(objective: Objective) -> None:
    for draw in range(300):
        assert order([], objective, draw=draw) == ""
        for weight in (0, 1):
            assert order([candidate("a", weight=weight)], objective, draw=draw) == "a"
            assert order([candidate("a")], objective, view(a=SPIKING), draw) == "a"


# Order


@pytest.mark.parametrize(
    ("spiking", "expected"),
    [("", "abcd"), ("a", "bcda"), ("b", "acdb"), ("ac", "bdac"), ("d", "abcd"), ("abcd", "abcd")],
)
def test_order_is_as_written_but_who_spikes_comes_last(spiking: str, expected: str) -> None:
    four = [candidate(n, cost=i, latency=-i) for i, n in enumerate("abcd")]
    seen = view(**dict.fromkeys(spiking, SPIKING))
    for draw in range(50):
        assert order(four, Objective.ORDER, seen, draw) == expected


# Cost


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"a": 0.3, "b": 0.1, "c": 0.2}, "bca"),
        ({"a": 0.1, "b": 0.1, "c": 0.1}, "abc"),  # equals as written
        ({"c": 0.1, "b": 0.1, "a": 0.1}, "cba"),
        ({"a": None, "b": 99.0, "c": None, "d": 0.0}, "dbac"),  # unknown is not free
        ({"a": None, "b": None}, "ab"),
        ({"a": 0.1 + 1e-12, "b": 0.1}, "ba"),
    ],
)
def test_the_cheapest_comes_first_and_unknown_prices_last(
    costs: dict[str, float | None], expected: str
) -> None:
    some = [candidate(name, cost=cost) for name, cost in costs.items()]
    for draw in range(50):
        assert order(some, Objective.COST, draw=draw) == expected


FLAT = Price(Rate(3.0), Rate(15.0))


@pytest.mark.parametrize(
    ("price", "size", "seen", "thought", "usd"),
    [
        (FLAT, (1_000_000, 0), UNSEEN, 0, 3.0),
        (FLAT, (0, 1_000_000), UNSEEN, 0, 15.0),
        (FLAT, (2000, 100), UNSEEN, 0, 0.0075),
        (replace(FLAT, request_usd=0.01), (2000, 100), UNSEEN, 0, 0.0175),
        # Above a threshold all tokens cost that tier's rate, input and output by the input's size.
        (Price(Rate(1, ((1000, 2),)), Rate(4, ((1000, 8),))), (1000, 100), UNSEEN, 0, 0.0014),
        (Price(Rate(1, ((1000, 2),)), Rate(4, ((1000, 8),))), (1001, 100), UNSEEN, 0, 0.002802),
        (Price(Rate(1, ((10, 2), (100, 5))), Rate(0)), (101, 0), UNSEEN, 0, 0.000505),
        # The share of the input that was cached so far.
        (
            *(replace(FLAT, cache_read=Rate(0.3)), (10_000, 0)),
            *(TargetView(cached_share=0.5), 0, 0.0165),
        ),
        (
            *(replace(FLAT, cache_read=Rate(0.0)), (10_000, 0)),
            *(TargetView(cached_share=1.0), 0, 0.0),
        ),
        (FLAT, (10_000, 0), TargetView(cached_share=0.5), 0, 0.03),  # no rate of its own
        # What is thought, as far as it fits the output.
        (replace(FLAT, reasoning=Rate(30.0)), (0, 1000), UNSEEN, 400, 0.021),
        (replace(FLAT, reasoning=Rate(30.0)), (0, 300), UNSEEN, 400, 0.009),
        (FLAT, (0, 1000), UNSEEN, 400, 0.015),
    ],
)
def test_the_cost_is_that_of_this_request_at_this_target(
    price: Price, size: tuple[int, int], seen: TargetView, thought: int, usd: float
) -> None:
    one = replace(target("m"), prices=(PricePeriod(price),))
    found = weighed(one, seen, Estimate(*size), thought, now=0)
    assert found.expected_cost_usd == pytest.approx(usd, rel=1e-9, abs=1e-15)
    assert found.input_tokens == size[0]


def test_a_target_without_a_price_has_no_cost() -> None:
    found = weighed(target("m"), UNSEEN, Estimate(10, 10), 0, now=0)
    assert found.expected_cost_usd is None


def test_the_price_is_the_one_that_holds_now() -> None:
    night = PricePeriod(Price(Rate(1), Rate(1)), daily_s=(22 * 3600, 6 * 3600))
    later = PricePeriod(Price(Rate(7), Rate(7)), start=1_000_000)
    one = replace(target("m"), prices=(PricePeriod(FLAT), night, later))
    for now, usd in ((12 * 3600, 3.0), (23 * 3600, 1.0), (5 * 3600, 1.0), (1_000_000, 7.0)):
        found = weighed(one, UNSEEN, Estimate(1_000_000, 0), 0, now)
        assert found.expected_cost_usd == usd


COSTS = """
providers: { home: { baseUrl: http://home.test/v1 } }
models:
  reads: { targets: [{provider: home}], contextWindow: 900000,
           price: {inputPerMTok: 1, outputPerMTok: 100} }
  writes: { targets: [{provider: home}], contextWindow: 900000,
            price: {inputPerMTok: 10, outputPerMTok: 1} }
  caches: { targets: [{provider: home}], contextWindow: 900000,
            price: {inputPerMTok: 11, cachedInputPerMTok: 0.1, outputPerMTok: 1} }
  thinks: { targets: [{provider: home}], contextWindow: 900000,
            price: {inputPerMTok: 10, outputPerMTok: 2, reasoningPerMTok: 0.01},
            capabilities: {reasoning: true} }
  free: { targets: [{provider: home}], contextWindow: 900000 }
routes:
  - { match: {default: true}, candidates: [free, reads, writes, caches, thinks], objective: cost,
      unpriced: allow }
unknownCapability: allow
maxAttempts: 9
"""


def by_cost(seen: View = EMPTY_VIEW, **fields: object) -> Decision:
    request = Request(CHAT, {}, payload_of(**fields))
    return decide(request, snapshot_of(COSTS), seen, now=0, draw=0)


def names(decision: Decision) -> list[str]:
    return [c.target.model.name for c in decision.chain]


LONG = [{"role": "user", "content": "word " * 3000}]


def test_who_is_cheapest_depends_on_the_request_and_on_what_was_seen() -> None:
    long_question = by_cost(messages=LONG, max_tokens=10)
    assert names(long_question) == ["reads", "writes", "thinks", "caches", "free"]
    long_answer = by_cost(max_tokens=400)
    assert names(long_answer) == ["writes", "caches", "thinks", "reads", "free"]
    cached = view(caches=TargetView(cached_share=0.99))
    assert names(by_cost(cached, messages=LONG, max_tokens=10))[0] == "caches"
    assert names(by_cost(reasoning_effort="high"))[0] == "thinks"
    costs = [c.expected_cost_usd for c in long_question.chain]
    assert costs[:-1] == sorted(cost for cost in costs if cost is not None)
    assert costs[-1] is None


# Latency


@pytest.mark.parametrize(
    ("seen", "output", "ms"),
    [
        (UNSEEN, 100, None),
        (TargetView(ms_per_token=9), 100, None),
        (TargetView(ttfb_ms=200), 100, 200),
        (TargetView(ttfb_ms=200, ms_per_token=5), 100, 700),
        (TargetView(ttfb_ms=0, ms_per_token=5), 0, 0),
    ],
)
def test_latency_is_the_first_byte_and_then_a_token_after_another(
    seen: TargetView, output: int, ms: float | None
) -> None:
    assert expected_latency_ms(seen, output) == ms
    assert weighed(target("m"), seen, Estimate(1, output), 0, 0).expected_latency_ms == ms


SPEEDS = {"a": 500.0, "b": 100.0, "c": 400.0, "d": 200.0, "e": 300.0}
FIVE = [candidate(name, latency=ms) for name, ms in SPEEDS.items()]


def test_the_faster_of_two_comes_first() -> None:
    """Of five, the fastest is in 2 of 5 pairs, the next the best of 3 of 10, and so on; 0 last."""
    shares = firsts(FIVE, Objective.LATENCY)
    for name, share in {"b": 0.4, "d": 0.3, "e": 0.2, "c": 0.1, "a": 0.0}.items():
        explored = EXPLORED_SHARE / 5
        expected = share * (1 - EXPLORED_SHARE) + explored
        assert shares[name] == pytest.approx(expected, abs=0.012)
    assert shares["a"] < 0.005


def test_the_rest_follow_by_speed() -> None:
    for found in orders(FIVE, Objective.LATENCY):
        assert found[1:] == "".join(name for name in "bdeca" if name != found[0])


def test_one_request_in_a_hundred_goes_to_any_candidate_at_all() -> None:
    assert EXPLORED_SHARE == 0.01
    # Only exploration ever brings the slowest of all, or one that spikes, to the front.
    shares = firsts(FIVE, Objective.LATENCY)
    assert 0.5 * EXPLORED_SHARE / 5 < shares["a"] < 2 * EXPLORED_SHARE / 5
    spiking = firsts(FIVE, Objective.LATENCY, view(b=SPIKING, d=SPIKING))
    for name in "bd":
        assert 0.5 * EXPLORED_SHARE / 5 < spiking[name] < 2 * EXPLORED_SHARE / 5


def test_one_that_was_not_seen_counts_as_the_median_of_those_that_were() -> None:
    known = [candidate(n, latency=ms) for n, ms in {"a": 900.0, "b": 100.0, "c": 400.0}.items()]
    shares = firsts([*known, candidate("n")], Objective.LATENCY)
    same = firsts([*known, candidate("n", latency=400.0)], Objective.LATENCY)
    assert shares == same
    # It wins a third or so of what a fastest one would, and is never flooded.
    assert 0.1 < shares["n"] < 0.3
    assert order([*known, candidate("n")], Objective.LATENCY)[-1] == "a"


def test_where_none_was_seen_all_get_the_same_share() -> None:
    shares = firsts([candidate(name) for name in "abcd"], Objective.LATENCY)
    for share in shares.values():
        assert share == pytest.approx(0.25, abs=0.02)


def test_who_spikes_is_tried_after_all_who_do_not_however_fast_it_was() -> None:
    seen = view(b=SPIKING, d=SPIKING)
    for found in orders(FIVE, Objective.LATENCY, seen):
        # `a` is the slower one of any pair, so it and who spikes are first by exploration only.
        assert found in {"ecabd", "ceabd"} or found[0] in "abd"


def test_where_all_spike_the_faster_of_two_still_comes_first() -> None:
    shares = firsts(FIVE, Objective.LATENCY, view(**dict.fromkeys("abcde", SPIKING)))
    assert shares["b"] == pytest.approx(0.4, abs=0.02)
    assert shares["a"] < 0.005


def test_of_two_the_faster_comes_first_but_for_exploration() -> None:
    shares = firsts([candidate("a", latency=9), candidate("b", latency=8)], Objective.LATENCY)
    assert shares["b"] == pytest.approx(1 - EXPLORED_SHARE / 2, abs=0.003)


DUE = 1 - (1 - EXPLORED_SHARE) * (1 - TRIED_SHARE)


@pytest.mark.parametrize("objective", [Objective.ORDER, Objective.LATENCY])
@pytest.mark.parametrize("pending", [0, 1, 7])
def test_one_that_spiked_is_tried_again_once_it_is_stale_and_has_no_request(
    objective: Objective, pending: int
) -> None:
    two = [candidate("a", latency=900), candidate("b", latency=100)]
    spiked = TargetView(ttfb_ms=900, spiking=True, stale=True, pending=pending)
    busy = TargetView(ttfb_ms=100, pending=1)
    share = firsts(two, objective, view(a=spiked, b=busy))["a"]
    due = TRIED_SHARE if objective is Objective.ORDER else DUE
    assert share == (pytest.approx(due, abs=0.01) if not pending else 0)


@pytest.mark.parametrize(
    ("ms", "share"), [(101.0, 0.5), (109.0, 0.5), (112.0, 0.005), (900, 0.005)]
)
def test_latencies_within_a_tenth_are_the_same(ms: float, share: float) -> None:
    two = [candidate("a", latency=ms), candidate("b", latency=100)]
    assert firsts(two, Objective.LATENCY)["a"] == pytest.approx(share, abs=0.02)


def test_of_two_as_fast_the_less_busy_one_comes_first() -> None:
    two = [candidate("a", latency=100), candidate("b", latency=105)]
    seen = view(a=TargetView(pending=4), b=TargetView(pending=3))
    assert firsts(two, Objective.LATENCY, seen)["b"] == 1


@pytest.mark.parametrize(
    "awaited", [TargetView(pending=1), TargetView(ttfb_ms=1, pending=1, silent=True)]
)
def test_one_unseen_or_silent_is_not_drawn_while_it_has_a_request(awaited: TargetView) -> None:
    latency = awaited.ttfb_ms
    two = [candidate("a", latency=latency), candidate("b", latency=500)]
    busy = TargetView(ttfb_ms=500, pending=9)
    assert firsts(two, Objective.LATENCY, view(a=awaited, b=busy))["a"] == 0
    free = replace(awaited, pending=0)
    assert firsts(two, Objective.LATENCY, view(a=free, b=busy))["a"] > 0.4


def test_where_all_are_awaited_all_are_drawn() -> None:
    two = [candidate("a"), candidate("b")]
    seen = view(**dict.fromkeys("ab", TargetView(pending=1)))
    assert firsts(two, Objective.LATENCY, seen)["a"] == pytest.approx(0.5, abs=0.02)


def test_two_slow_ones_do_not_share_every_third_draw() -> None:
    three = [candidate(n, latency=ms) for n, ms in {"a": 100, "b": 501, "c": 900}.items()]
    shares = firsts(three, Objective.LATENCY)
    assert shares["b"] + shares["c"] == pytest.approx(EXPLORED_SHARE * 2 / 3, abs=0.003)


def test_only_one_that_has_no_request_is_explored() -> None:
    two = [candidate("a", latency=300), candidate("b", latency=100)]
    assert firsts(two, Objective.LATENCY, view(a=TargetView(pending=1)))["a"] == 0


# Weighted


@pytest.mark.parametrize(
    "weights",
    [{"a": 3, "b": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 0, "c": 9}, {"a": 997, "b": 3}],
)
def test_each_comes_first_as_often_as_its_weight_says(weights: dict[str, int]) -> None:
    shares = firsts([candidate(n, weight=w) for n, w in weights.items()], Objective.WEIGHTED)
    for name, weight in weights.items():
        assert shares[name] == pytest.approx(weight / sum(weights.values()), abs=0.012)
        assert weight or not shares[name]


def test_the_second_is_drawn_by_weight_from_those_left() -> None:
    three = [candidate("a", weight=6), candidate("b", weight=3), candidate("c", weight=1)]
    after_a = [found[1] for found in orders(three, Objective.WEIGHTED) if found[0] == "a"]
    assert after_a.count("b") / len(after_a) == pytest.approx(0.75, abs=0.02)


def test_those_of_no_weight_come_last_as_written() -> None:
    some = [candidate(n, weight=w) for n, w in {"a": 0, "b": 2, "c": 0, "d": 5}.items()]
    seen = {found[:2] for found in orders(some, Objective.WEIGHTED)}
    assert seen == {"bd", "db"}
    assert all(found[2:] == "ac" for found in orders(some, Objective.WEIGHTED))


def test_where_none_has_weight_they_come_as_written() -> None:
    some = [candidate(name, weight=0) for name in "cab"]
    assert {order(some, Objective.WEIGHTED, draw=draw) for draw in range(100)} == {"cab"}


def test_an_immense_weight_leaves_the_others_theirs() -> None:
    some = [candidate("a", weight=2**60), candidate("b", weight=1)]
    assert all(sorted(found) == ["a", "b"] for found in orders(some, Objective.WEIGHTED))


# In a decision


def objectives(objective: str) -> Snapshot:
    return snapshot_of(
        "providers: {home: {baseUrl: http://home.test/v1}}\n"
        "models:\n"
        + "".join(
            f"  {name}: {{targets: [{{provider: home, weight: {w}}}], contextWindow: 9000,\n"
            f"       quality: {{default: 0.{w}}}, price: {{inputPerMTok: 1, outputPerMTok: 1}}}}\n"
            for name, w in zip("abcde", (1, 2, 3, 4, 5), strict=True)
        )
        + "routes: [{match: {default: true}, candidates: [a, b, c, d], fallback: e,\n"
        f"          require: {{quality: {{min: 0.2}}}}, objective: {objective}}}]\n"
    )


@pytest.mark.parametrize(
    ("objective", "why"),
    [
        ("order", "first of 3 eligible above quality 0.2"),
        ("cost", "cheapest of 3 eligible above quality 0.2"),
        ("latency", "faster of two drawn from 3 eligible above quality 0.2"),
        ("weighted", "drawn by weight from 3 eligible above quality 0.2"),
    ],
)
def test_a_decision_ranks_by_the_routes_objective_and_says_so(objective: str, why: str) -> None:
    snapshot = objectives(objective)
    chains: Counter[str] = Counter()
    for draw in range(400):
        decision = decide(request_of(), snapshot, EMPTY_VIEW, now=0, draw=draw)
        assert (decision.why, decision.choice) == (why, objective)
        assert sorted(names(decision)) == ["b", "c", "d"]
        chains["".join(names(decision))] += 1
    assert (len(chains) > 1) == (objective in {"latency", "weighted"})
    assert objective in {"latency", "weighted"} or chains == {"bcd": 400}


@pytest.mark.parametrize("objective", ["order", "cost", "latency", "weighted"])
def test_fallbacks_are_not_ranked_among_the_first_choices(objective: str) -> None:
    snapshot = replace(objectives(objective), max_attempts=10)
    seen = view(e=TargetView(ttfb_ms=1), **{n: TargetView(ttfb_ms=100) for n in "abcd"})
    for draw in range(200):
        assert names(decide(request_of(), snapshot, seen, now=0, draw=draw))[-1] == "e"


@pytest.mark.parametrize("objective", ["order", "cost", "latency", "weighted"])
def test_the_places_of_a_model_that_the_client_asked_for_are_tried_in_order(objective: str) -> None:
    snapshot = snapshot_of(
        "providers: {n: {baseUrl: http://n.test/v1}, s: {baseUrl: http://s.test/v1}}\n"
        "models:\n"
        "  m: {targets: [{provider: n}, {provider: s, weight: 99}], contextWindow: 9000,\n"
        "      price: {inputPerMTok: 1, outputPerMTok: 1}}\n"
        f"routes: [{{match: {{default: true}}, model: m, objective: {objective}}}]\n"
    )
    for draw in range(200):
        decision = decide(request_of(model="m"), snapshot, EMPTY_VIEW, now=0, draw=draw)
        assert [c.target.provider.name for c in decision.chain] == ["n", "s"]
