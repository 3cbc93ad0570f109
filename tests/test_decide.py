"""Decisions as the routing config reads: which targets, in which order, or why none."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from configs import CHAT, SEED, asking_tokens, chain_of, request_of, snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.decide import decide, decision_id
from extproc.feature import Feature
from extproc.policy.draw import DRAW_BITS
from extproc.policy.overrides import honoured
from extproc.policy.request import Request
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW, TargetView, View
from extproc.vocabulary import (
    Choice,
    Decision,
    Estimate,
    Reason,
    Refusal,
    Surface,
    TargetId,
    TaskSource,
)

NOW = 1_767_225_600.123

# A small world with all that targets can differ in: windows, abilities, several places for one
# model, facts that nobody knows.
WORLD = """
providers:
  north: { baseUrl: http://north.test/v1 }
  south: { baseUrl: http://south.test/v1, firstByteTimeout: 10s }
models:
  plain:  { targets: [{provider: north}], contextWindow: 8000,
            capabilities: {vision: false, tools: false, structuredOutput: false, audio: false,
                           documents: false, reasoning: false} }
  tools:  { targets: [{provider: south, upstreamModel: tools-1}, {provider: north}],
            contextWindow: 16000,
            capabilities: {tools: true, structuredOutput: true, vision: false} }
  sees:   { targets: [{provider: north}], contextWindow: 32000,
            capabilities: {vision: true, tools: true, structuredOutput: false, audio: false} }
  able:   { targets: [{provider: south}, {provider: north, upstreamModel: able-north}],
            contextWindow: 64000,
            capabilities: {vision: true, tools: true, structuredOutput: true, audio: true,
                           documents: true, reasoning: true} }
  vague:  { targets: [{provider: south}], contextWindow: 4000 }
aliases: { best: able }
routes:
  - { name: code, match: {taskType: [code, code-review]}, model: tools, fallback: [sees, able] }
  - { name: gold, match: {headers: {x-tier: gold, x-team: "a*"}}, candidates: [vague, able] }
  - { name: team, match: {path: /team-a/*}, model: sees, fallback: plain }
  - { name: renamed, match: {model: "gpt-*"}, model: plain, fallback: tools }
  - { name: long, match: {inputTokens: {min: 2000}}, model: plain, fallback: [sees, able] }
  - { name: rest, match: {default: true}, candidates: [plain, tools, sees, able, vague] }
"""


@cache
def world(more: str = "") -> Snapshot:
    return snapshot_of(WORLD + more)


@cache
def seed() -> Snapshot:
    return snapshot_of(SEED)


def decision_on(
    snapshot: Snapshot, headers: dict[str, str] | None = None, *, path: str = CHAT, **fields: object
) -> Decision:
    allowed = honoured(headers or {}, snapshot.allowed_overrides)
    request = request_of(allowed, path=path, **fields)
    return decide(request, snapshot, EMPTY_VIEW, now=NOW, draw=0)


def decided(
    snapshot: Snapshot, headers: dict[str, str] | None = None, *, path: str = CHAT, **fields: object
) -> Decision:
    decision = decision_on(snapshot, headers, path=path, **fields)
    assert not decision.refusal, decision
    return decision


def refused(snapshot: Snapshot, headers: dict[str, str] | None = None, **fields: object) -> Refusal:
    decision = decision_on(snapshot, headers, path=CHAT, **fields)
    assert decision.refusal, decision
    assert decision.chain == ()
    assert decision.why == decision.refusal.message
    return decision.refusal


def task_of(decision: Decision) -> tuple[str, TaskSource]:
    assert decision.task
    return decision.task.type, decision.task.source


# The seed's four routes, as they read


@pytest.mark.parametrize("where", ["header", "metadata"])
@pytest.mark.parametrize(
    ("task", "tokens", "route", "chain"),
    [
        ("code-generation", 1000, "route-1", ["anthropic/claude-opus-4", "openai/gpt-4o"]),
        ("code-generation", 9_000, "route-1", ["anthropic/claude-opus-4", "openai/gpt-4o"]),
        ("code-generation", 999, "route-2", ["anthropic/claude-sonnet-4", "openai/gpt-4o-mini"]),
        ("code-generation", 10, "route-2", ["anthropic/claude-sonnet-4", "openai/gpt-4o-mini"]),
        ("summarization", 10, "route-3", ["anthropic/claude-haiku-3", "google/gemini-flash-2.0"]),
        ("summarization", 9000, "route-3", ["anthropic/claude-haiku-3", "google/gemini-flash-2.0"]),
        ("chat", 10, "default", ["anthropic/claude-sonnet-4", "openai/gpt-4o"]),
        ("Summarization", 10, "default", ["anthropic/claude-sonnet-4", "openai/gpt-4o"]),
    ],
)
def test_the_seeds_routes_send_each_task_to_its_model_and_fallback(
    where: str, task: str, tokens: int, route: str, chain: list[str]
) -> None:
    headers = {"x-router-task": task} if where == "header" else {}
    metadata = {"task_type": task} if where == "metadata" else {}
    decision = decided(seed(), headers, messages=asking_tokens(tokens), metadata=metadata)
    assert (decision.route, chain_of(decision)) == (route, chain)
    assert task_of(decision) == (task, TaskSource(where))
    assert decision.estimate
    assert decision.estimate.input_tokens == tokens


def test_a_request_that_says_nothing_takes_the_catch_all() -> None:
    decision = decided(seed(), messages=asking_tokens(10))
    assert (decision.route, *task_of(decision)) == ("default", "unknown", TaskSource.NONE)
    assert chain_of(decision) == ["anthropic/claude-sonnet-4", "openai/gpt-4o"]


def test_the_header_outranks_the_metadata() -> None:
    both = decided(seed(), {"x-router-task": "summarization"}, metadata={"task_type": "chat"})
    assert both.route == "route-3"


def test_a_task_header_that_is_not_allowed_is_ignored() -> None:
    deaf = snapshot_of(SEED + "overrides: {allow: []}")
    assert decided(deaf, {"x-router-task": "summarization"}).route == "default"
    assert decided(deaf, {"x-router-task": "!"}, metadata={"task_type": "chat"}).route == "default"


@pytest.mark.parametrize("task", ["", "summarization,summarization", "a b", "t" * 65, "ż"])
def test_a_task_header_that_is_no_task_is_a_400(task: str) -> None:
    refusal = refused(seed(), {"x-router-task": task})
    assert (refusal.status, refusal.code) == (400, "invalid_task")
    assert "`x-router-task`" in refusal.message


# Matching


@pytest.mark.parametrize(
    ("headers", "path", "fields", "route"),
    [
        ({"x-router-task": "code"}, CHAT, {}, "code"),
        ({"x-router-task": "code-review"}, CHAT, {}, "code"),
        ({"x-tier": "gold", "x-team": "alpha"}, CHAT, {}, "gold"),
        ({"x-tier": "gold", "x-team": "beta"}, CHAT, {}, "rest"),
        ({"x-tier": "gold"}, CHAT, {}, "rest"),
        ({}, "/team-a/v1/chat/completions", {}, "team"),
        ({}, "/team-b/v1/chat/completions", {}, "rest"),
        ({}, CHAT, {"model": "gpt-5"}, "renamed"),
        ({}, CHAT, {"messages": asking_tokens(2000)}, "long"),
        ({}, CHAT, {"messages": asking_tokens(1999)}, "rest"),
        # Several match: the first decides.
        ({"x-router-task": "code", "x-tier": "gold", "x-team": "a"}, CHAT, {}, "code"),
        ({"x-tier": "gold", "x-team": "a"}, "/team-a/v1/chat/completions", {}, "gold"),
    ],
)
def test_the_first_route_whose_conditions_all_hold_decides(
    headers: dict[str, str], path: str, fields: dict[str, Any], route: str
) -> None:
    assert decided(world(), headers, path=path, **fields).route == route


# The requested model

CODE = {"x-router-task": "code"}


@pytest.mark.parametrize("fields", [{}, {"model": None}, {"model": "auto"}])
def test_without_a_model_or_with_auto_the_routes_decide(fields: dict[str, Any]) -> None:
    decision = decided(world(), CODE, **fields)
    assert chain_of(decision) == ["south/tools", "north/tools", "north/sees"]
    assert decision.requested_model == fields.get("model")


@pytest.mark.parametrize("asked", ["able", "best"])
def test_a_model_asked_for_by_name_or_alias_comes_first_then_the_routes_fallbacks(
    asked: str,
) -> None:
    decision = decided(world(), CODE, model=asked)
    assert decision.requested_model == asked
    assert chain_of(decision) == ["south/able", "north/able", "north/sees"]
    assert decision.route == "code"


@pytest.mark.parametrize("asked", ["claude-haiku-3", "claude-3-haiku", "claude-3-haiku-20240307"])
def test_a_catalog_model_answers_to_the_catalogs_aliases(asked: str) -> None:
    assert chain_of(decided(seed(), model=asked))[0] == "anthropic/claude-haiku-3"


def test_a_model_that_the_config_does_not_use_is_a_404_that_lists_the_others() -> None:
    refusal = refused(world(), model="claude-haiku-3")
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert "name one of: auto, able, best, plain, sees, tools, vague." in refusal.message


@pytest.mark.parametrize(
    "aliases",
    [
        "{fast: gpt-4o-mini}",
        "{faster: gpt-4o-mini, fast: faster}",
        "{fast: faster, faster: gpt-4o-mini}",
    ],
)
def test_an_alias_of_an_alias_is_the_model_it_ends_at(aliases: str) -> None:
    chained = snapshot_of(f"{SEED}\naliases: {aliases}")
    assert chain_of(decided(chained, model="fast"))[0] == "openai/gpt-4o-mini"


@pytest.mark.parametrize("asked", ["able", "nobody-knows-it", "auto", None])
def test_the_requested_model_may_be_ignored(asked: str | None) -> None:
    decision = decided(world("requestedModel: ignore"), CODE, model=asked)
    assert chain_of(decision) == ["south/tools", "north/tools", "north/sees"]
    assert decision.requested_model == asked


def test_a_route_on_the_model_still_matches_where_the_requested_model_is_ignored() -> None:
    decision = decided(world("requestedModel: ignore"), model="gpt-4o")
    assert (decision.route, chain_of(decision)[0]) == ("renamed", "north/plain")


# Eligibility

LOOK = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
TOOLS = [{"type": "function", "function": {"name": "clock"}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}


@pytest.mark.parametrize(
    ("fields", "chain"),
    [
        ({}, ["north/plain", "south/tools", "north/tools"]),
        ({"tools": TOOLS}, ["south/tools", "north/tools", "north/sees"]),
        ({"messages": LOOK}, ["north/sees", "south/able", "north/able"]),
        ({"response_format": SCHEMA}, ["south/tools", "north/tools", "south/able"]),
        ({"messages": LOOK, "response_format": SCHEMA}, ["south/able", "north/able"]),
        ({"reasoning_effort": "high"}, ["south/able", "north/able"]),
        ({"max_tokens": 10_000}, ["south/tools", "north/tools", "north/sees"]),
        ({"max_tokens": 20_000}, ["north/sees", "south/able", "north/able"]),
        ({"max_tokens": 20_000, "modalities": ["audio"]}, ["south/able", "north/able"]),
    ],
)
def test_targets_that_cannot_serve_the_request_are_skipped(
    fields: dict[str, Any], chain: list[str]
) -> None:
    assert chain_of(decided(world(), **fields)) == chain


def test_what_was_skipped_is_told_with_its_reason() -> None:
    decision = decided(world(), messages=LOOK, max_tokens=40_000)
    assert {(one.target, one.reason) for one in decision.rejected} == {
        ("north/plain", Reason.CAPABILITY),
        ("south/tools", Reason.CAPABILITY),
        ("north/tools", Reason.CAPABILITY),
        ("north/sees", Reason.CONTEXT_WINDOW),
        ("south/vague", Reason.CAPABILITY),
    }
    assert decision.why == "first of 2 eligible"


def test_a_fallback_that_cannot_serve_the_request_is_skipped_too() -> None:
    headers = {"x-router-task": "code"}
    decision = decided(world(), headers, tools=TOOLS, response_format=SCHEMA, max_tokens=20_000)
    assert chain_of(decision) == ["south/able", "north/able"]


def test_a_pinned_model_that_cannot_serve_the_request_is_skipped_too() -> None:
    assert chain_of(decided(world(), CODE, model="plain", messages=LOOK))[0] == "north/sees"


def test_what_is_not_known_to_work_is_not_tried_unless_the_config_allows_it() -> None:
    gold = {"x-tier": "gold", "x-team": "a"}
    assert chain_of(decided(world(), gold, tools=TOOLS))[0] == "south/able"
    trusting = world("unknownCapability: allow")
    assert chain_of(decided(trusting, gold, tools=TOOLS))[0] == "south/vague"
    assert chain_of(decided(trusting, tools=TOOLS))[0] == "south/tools"  # plain is known not to


def test_a_request_that_nobody_can_serve_is_a_422_that_says_why_of_each() -> None:
    asked: dict[str, Any] = {"model": "gpt-5", "messages": LOOK, "max_tokens": 1}
    refusal = refused(world(), **asked)
    assert (refusal.status, refusal.code) == (422, "no_eligible_target")
    assert "route `renamed`" in refusal.message
    for target in ("north/plain", "south/tools", "north/tools"):
        assert f"{target} needs vision, which it lacks" in refusal.message
    rejected = decision_on(world(), **asked).rejected
    assert [one.target for one in rejected] == ["north/plain", "south/tools", "north/tools"]


def test_a_request_for_more_output_than_can_be_counted_is_a_422() -> None:
    assert refused(world(), max_tokens=10**400).status == 422


# Plan


@pytest.mark.parametrize("attempts", [1, 2, 3, 7, 10])
def test_a_chain_is_at_most_max_attempts_long(attempts: int) -> None:
    chain = chain_of(decided(world(f"maxAttempts: {attempts}")))
    everything = ["north/plain", "south/tools", "north/tools", "north/sees", "south/able"]
    everything += ["north/able", "south/vague"]
    assert chain == everything[:attempts]


def test_a_decision_names_its_route_task_estimate_and_reasons() -> None:
    decision = decided(world(), CODE, model="able", max_tokens=5, messages=asking_tokens(120))
    assert (decision.route, task_of(decision)) == ("code", ("code", TaskSource.HEADER))
    assert decision.estimate == Estimate(120, 5)
    assert decision.why == "the model that the client asked for"
    assert decision.choice is Choice.REQUESTED


@pytest.mark.parametrize("fields", [{"messages": LOOK, "model": "plain"}, {"messages": LOOK}])
def test_why_says_when_only_fallbacks_can_serve(fields: dict[str, Any]) -> None:
    decision = decided(world(), CODE, **fields)
    assert decision.why == "a fallback of route code: none of its first choices can serve now"
    assert decision.choice is Choice.FALLBACK
    assert chain_of(decision) == ["north/sees", "south/able", "north/able"]


# For every request

PARTS = [
    {"type": "text", "text": "Hello"},
    {"type": "image_url", "image_url": {"url": "data:,"}},
    {"type": "input_audio", "input_audio": {"data": ""}},
    {"type": "file", "file": {}},
]
parts = st.sampled_from(PARTS)
contents = st.one_of(
    st.sampled_from([0, 1, 500, 1999, 2000, 3600, 20_000, 70_000]).map("word".__mul__),
    st.lists(parts, min_size=1, max_size=3),
)
models = st.sampled_from([None, "auto", "able", "best", "plain", "vague", "sees", "gpt-4o", "?"])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    fields: dict[str, Any] = {
        "model": draw(models),
        "messages": [{"role": "user", "content": draw(contents)}],
        "tools": draw(st.sampled_from([None, TOOLS])),
        "response_format": draw(st.sampled_from([None, SCHEMA])),
        "modalities": draw(st.sampled_from([None, ["text"], ["text", "audio"]])),
        "reasoning_effort": draw(st.sampled_from([None, None, "high"])),
        "max_tokens": draw(st.sampled_from([None, 1, 3000, 20_000, 57_000])),
    }
    task = draw(st.sampled_from([None, "code", "chat", "!"]))
    tier = draw(st.sampled_from([None, "gold"]))
    headers = {"x-router-task": task, "x-tier": tier, "x-team": "a"}
    path = draw(st.sampled_from([CHAT, "/team-a/v1/chat/completions"]))
    return request_of({k: v for k, v in headers.items() if v}, path=path, **fields)


snapshots = st.builds(
    lambda unknown, model, attempts: world(
        f"unknownCapability: {unknown}\nrequestedModel: {model}\nmaxAttempts: {attempts}\n"
    ),
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["honour", "ignore"]),
    st.sampled_from([1, 2, 3, 10]),
)
draws = st.integers(0, 2**DRAW_BITS - 1)
times = st.floats(0, 2**33, allow_nan=False)
quickly = settings(deadline=None, max_examples=80, database=None)


@given(requests(), snapshots, draws)
@quickly
def test_no_target_of_a_chain_lacks_what_the_request_needs(
    request: Request, snapshot: Snapshot, draw: int
) -> None:
    decision = decide(request, snapshot, EMPTY_VIEW, now=NOW, draw=draw)
    if decision.refusal:
        return
    assert decision.estimate
    tokens = decision.estimate.input_tokens + decision.estimate.output_tokens
    unknown = snapshot.allow_unknown_capability
    for target in (candidate.target for candidate in decision.chain):
        for feature in request.payload.features:
            assert target.model.capabilities.get(feature, unknown), (target.id, feature)
        assert target.model.context_window is None or tokens * 1.1 <= target.model.context_window


@given(requests(), snapshots, draws)
@quickly
def test_a_chain_is_short_has_no_target_twice_and_leaves_out_none_that_could_serve(
    request: Request, snapshot: Snapshot, draw: int
) -> None:
    decision = decide(request, snapshot, EMPTY_VIEW, now=NOW, draw=draw)
    if decision.refusal:
        assert decision.refusal.status in {400, 404, 422}
        assert decision.chain == ()
        return
    ids = chain_of(decision)
    assert 1 <= len(ids) <= snapshot.max_attempts
    assert len(set(ids)) == len(ids)
    assert not set(ids) & {one.target for one in decision.rejected}
    route = next(route for route in snapshot.routes if route.name == decision.route)
    asked = snapshot.models.get(decision.requested_model or "", ())
    first = asked if asked and snapshot.honour_requested_model else route.candidates
    wanted = dict.fromkeys(target.id for target in (*first, *route.fallback))
    able = [one for one in wanted if one not in {other.target for other in decision.rejected}]
    assert ids == able[: snapshot.max_attempts]


@given(requests(), snapshots, times, draws)
@quickly
def test_the_same_request_config_time_and_draw_make_the_same_decision(
    request: Request, snapshot: Snapshot, now: float, draw: int
) -> None:
    again = replace(request, headers=dict(reversed([*request.headers.items()])))
    first = decide(request, snapshot, EMPTY_VIEW, now=now, draw=draw)
    assert decide(again, replace(snapshot), EMPTY_VIEW, now=now, draw=draw) == first


@given(requests(), snapshots, st.tuples(times, times), st.tuples(draws, draws))
@quickly
def test_time_and_chance_change_nothing_but_the_id(
    request: Request, snapshot: Snapshot, now: tuple[float, float], draw: tuple[int, int]
) -> None:
    one = decide(request, snapshot, EMPTY_VIEW, now=now[0], draw=draw[0])
    other = decide(request, snapshot, EMPTY_VIEW, now=now[1], draw=draw[1])
    assert replace(one, id="", time=0) == replace(other, id="", time=0)


# Ids


@given(st.lists(st.tuples(times, draws), min_size=2, max_size=5))
@quickly
def test_ids_sort_by_time_and_then_by_chance(moments: list[tuple[float, int]]) -> None:
    in_order = sorted((int(now * 1000), draw, now) for now, draw in moments)
    ids = [decision_id(now, draw) for _, draw, now in in_order]
    assert ids == sorted(ids)


@given(times, draws)
@quickly
def test_an_id_is_26_characters_of_crockfords_alphabet(now: float, draw: int) -> None:
    assert set(decision_id(now, draw)) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert len(decision_id(now, draw)) == 26


def test_an_id_is_the_ulid_of_its_time_and_draw() -> None:
    # The example of the ULID specification: 1469918176385 ms.
    assert decision_id(1469918176.385, 0).startswith("01ARYZ6S41")
    assert decision_id(0, 2**DRAW_BITS - 1) == "0" * 10 + "Z" * 16


def test_features_of_the_vocabulary_are_all_asked_for_above() -> None:
    """So that a new feature is not forgotten here; embeddings are an API of their own."""
    every = request_of(
        messages=[{"role": "user", "content": PARTS}],
        tools=TOOLS,
        response_format=SCHEMA,
        reasoning_effort="high",
    )
    assert every.payload.features == {*Feature} - {Feature.EMBEDDINGS}


def test_a_named_model_is_followed_by_all_of_the_fallback_what_is_a_candidate_included() -> None:
    config = snapshot_of(
        "routes: [{match: {default: true}, candidates: [gpt-4o, gpt-4o-mini], objective: cost, "
        "fallback: [gpt-4o, claude-sonnet-4]}]"
    )
    cheap, dear, other = "openai/gpt-4o-mini", "openai/gpt-4o", "anthropic/claude-sonnet-4"
    assert chain_of(decided(config)) == [cheap, dear, other]
    assert chain_of(decided(config, model="gpt-4o-mini")) == [cheap, dear, other]
    assert chain_of(decided(config, model="gpt-4o")) == [dear, other]
    assert (TargetId(cheap), TargetId(dear), TargetId(other)) in config.guards


# A count of tokens, which is no answer

PRICED = """
providers: { here: { api: anthropic, baseUrl: http://here.test } }
models:
  dear: { targets: [{provider: here}], contextWindow: 9000, capabilities: {reasoning: true},
          price: {inputPerMTok: 9, outputPerMTok: 9} }
  unpriced: { targets: [{provider: here}], contextWindow: 9000, capabilities: {reasoning: true} }
routes:
  - { match: {outputTokens: {min: 1}}, model: dear }
  - match: { default: true }
    candidates: [dear, unpriced]
    require: { costUsd: { max: 0.0000001 } }
"""


def test_to_count_tokens_takes_no_output_and_costs_nothing() -> None:
    config = snapshot_of(PRICED)
    request = replace(request_of(reasoning_effort="high"), surface=Surface.COUNT_TOKENS)
    short = {target: TargetView(tokens_left=1, output_tokens_left=0) for target in config.targets}
    decision = decide(request, config, View(targets=short), now=NOW, draw=0)
    assert (decision.route, chain_of(decision)) == ("default", ["here/dear", "here/unpriced"])
    assert decision.counting
    assert decision.estimate == Estimate(decision.candidates[0].input_tokens, 0)
    assert [candidate.expected_cost_usd for candidate in decision.chain] == [0, 0]
    assert not decided(config).counting
    assert decided(config).route == "route-1"
