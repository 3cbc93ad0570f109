"""Whatever happens, in whatever order, twice or by a clock that is set back: what always holds."""

import json
from dataclasses import replace

from attempts import START, attempt, failed
from configs import request_of
from fleet import route_over
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.decide import decide
from extproc.outcome import Attempt, Ending, Failure, Outcome, Usage
from extproc.state import breaker
from extproc.state.state import State
from extproc.state.view import Breaker
from extproc.vocabulary import Decision, TargetId

LIMITS = ", limits: {requestsPerMinute: 4, tokensPerMinute: 3000}"
CONFIGS = (
    route_over("abc", "latency", LIMITS),
    route_over("ab", "order", LIMITS),
    route_over("abcd", "order"),
)
REQUEST = request_of(max_tokens=50)
TARGETS = [TargetId(f"home/{name}") for name in "abcdz"]
IDS = st.integers(0, 12).map(lambda i: f"r{i}")

HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("retry-after", "retry-after-ms", "x-ratelimit-remaining-requests"),
            *("x-ratelimit-reset-requests", "anthropic-ratelimit-output-tokens-remaining"),
            "anthropic-ratelimit-output-tokens-reset",
        ]
    ),
    st.sampled_from(["0", "1", "90", "1s", "2026-01-01T00:00:09Z", "-1", "nan", "", "9" * 40]),
    max_size=3,
)
NUMBERS = st.sampled_from([0.0, 1.0, 80.0, 5000.0, 1e12, -1.0, float("nan"), float("inf")])
ATTEMPTS = st.builds(
    Attempt,
    request_id=IDS,
    number=st.integers(1, 4),
    target=st.sampled_from(TARGETS),
    began=st.one_of(st.floats(START - 100, START + 500), NUMBERS),
    status=st.sampled_from([None, 200, 200, 400, 429, 500, 503, 529]),
    failure=st.sampled_from([None, None, *Failure]),
    ttfb_ms=st.one_of(st.none(), NUMBERS),
    duration_ms=NUMBERS,
    streamed=st.booleans(),
    headers=HEADERS,
)
COUNTS = st.sampled_from([0, 1, 100, 5000, 10**15, -1])
OUTCOMES = st.builds(
    Outcome,
    target=st.one_of(st.none(), st.sampled_from(TARGETS)),
    attempts=st.integers(0, 3),
    status=st.sampled_from([0, 200, 503]),
    ttfb_ms=st.one_of(st.none(), NUMBERS),
    duration_ms=NUMBERS,
    ending=st.sampled_from(Ending),
    usage=st.one_of(st.none(), st.builds(Usage, *[COUNTS] * 5)),
    usage_estimated=st.booleans(),
)
WAITS_S = st.sampled_from([0.05, 1.0, 11.0, 11.0, 40.0, 700.0, -0.5, -20.0, -4000.0])
STEPS = st.lists(
    st.one_of(
        *[st.tuples(st.just("decide"), IDS, st.integers(0, 2**80 - 1))] * 3,
        *[st.tuples(st.just("attempt"), ATTEMPTS, st.none())] * 3,
        st.tuples(st.just("burst"), st.sampled_from(TARGETS[:3]), st.booleans()),
        st.tuples(st.just("finish"), IDS, OUTCOMES),
        *[st.tuples(st.just("wait"), WAITS_S, st.none())] * 2,
        st.tuples(st.just("configure"), st.sampled_from(CONFIGS), st.none()),
        st.tuples(st.just("sweep"), st.none(), st.none()),
    ),
    min_size=15,
    max_size=60,
)


def take_one(state: State, request_id: str, draw: int, now: float, config: int = 0) -> Decision:
    view = state.view(now)
    decision = decide(REQUEST, CONFIGS[config], view, now=now, draw=draw)
    for candidate in decision.chain:
        seen = view.of(candidate.target.id)
        is_probed = seen.breaker is Breaker.HALF_OPEN and seen.probing
        assert not is_probed or "least bad" in decision.why
    state.decided(request_id, decision, now)
    after = state.view(now)
    for candidate in decision.chain:
        seen = after.of(candidate.target.id)
        assert seen.breaker is not Breaker.HALF_OPEN or seen.probing
    return decision


def check(state: State, now: float) -> None:
    report = state.report(now)
    json.dumps(report, allow_nan=False)
    for one in report:
        assert 0 <= one["errors"] <= one["requests"]
        assert 0 <= one["pending"] <= 13
        assert 0 < one["slow_start"] <= 1
        assert 0 <= one["cached_share"] <= 1
        assert one["breaker"] != "open" or now < one["until"] <= now + breaker.OPEN_S_MAX


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_nothing_raises_nothing_is_out_of_bounds_and_no_two_probes_are_out(
    steps: list[tuple[str, object, object]],
) -> None:
    state, now, config = State(), START, 0
    state.configure(CONFIGS[config])
    for step in steps:
        match step:
            case ("decide", str(request_id), int(draw)):
                take_one(state, request_id, draw, now, config)
            case ("attempt", Attempt() as one, _):
                state.attempted(one, now)
                assert state.attempted(one, now) == ()
            case ("burst", str(name), bool(fails)):
                for _ in range(5):
                    target = TargetId(name)
                    one = failed(target) if fails else attempt(target)
                    state.attempted(replace(one, began=now), now)
            case ("finish", str(request_id), Outcome() as outcome):
                state.finished(request_id, {"task": {"type": "chat"}}, outcome, now)
            case ("wait", float(seconds), _):
                now += seconds
            case ("configure", snapshot, _):
                config = CONFIGS.index(snapshot)
                state.configure(CONFIGS[config])
            case ("sweep", _, _):
                state.sweep(now)
            case _:
                raise AssertionError(step)
        check(state, now)
    state.sweep(now + 10_000)
    assert all(one["pending"] == 0 for one in state.report(now + 10_000))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.9, 2.0, 7.0, 31.0]), st.integers(0, 2**80 - 1)),
        max_size=60,
    ),
    st.randoms(use_true_random=False),
)
def test_in_no_minute_are_more_requests_granted_than_the_config_allows(
    requests: list[tuple[float, int]], rng: object
) -> None:
    state, now = State(), START
    state.configure(CONFIGS[0])
    granted: dict[TargetId, list[float]] = {target: [] for target in TARGETS}
    untold: list[Attempt] = []
    for number, (gap_s, draw) in enumerate(requests):
        now += gap_s
        decision = take_one(state, f"r{number}", draw, now)
        first = decision.chain[0].target.id
        if "least bad" not in decision.why:
            granted[first].append(now)
        untold.append(replace(attempt(first, request_id=f"r{number}"), began=now))
        if draw % 3:
            rng.shuffle(untold)  # type: ignore[attr-defined]
            for one in (untold.pop(), *untold[:1]):
                state.attempted(one, now)
    for times in granted.values():
        for since in times:
            assert sum(since <= at < since + 60 for at in times) <= 4
