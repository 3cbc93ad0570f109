"""The record of a decision: the public JSON, key by key, and nothing of the prompt in it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from configs import CHAT, asking_tokens, body_of, snapshot_of, target
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.decide import decision_id
from extproc.exchange import read_and_decide
from extproc.outcome import Ending, Outcome, Usage
from extproc.record import record, with_outcome
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import (
    Candidate,
    Decision,
    Estimate,
    Reason,
    Refusal,
    Rejection,
    ReportedModel,
    RequestedModel,
    TargetId,
    Task,
    TaskSource,
    UpstreamModel,
)

NEW_YEAR = 1_767_225_600.0  # 2026-01-01T00:00:00Z
DRAW = 2**70 + 7
CANARY = "canary-8d2f"

WORLD = """
providers:
  us: { baseUrl: http://us.test/v1, region: us }
  eu: { baseUrl: http://eu.test/v1, region: eu }
models:
  cheap: { targets: [{provider: us}], contextWindow: 9000 }
  haiku: { targets: [{provider: eu, upstreamModel: haiku-20240307}], contextWindow: 9000,
           price: {inputPerMTok: 1, outputPerMTok: 4}, quality: {default: 0.7} }
routes:
  - { name: billing-summaries, match: {app: billing}, candidates: [cheap, haiku] }
  - { match: {default: true}, model: cheap }
"""


def snapshot() -> Snapshot:
    return snapshot_of(WORLD)


def recorded(
    headers: dict[str, str] | None = None, body: bytes | None = None, of: Snapshot | None = None
) -> dict[str, Any]:
    found, _ = read_and_decide(
        *(CHAT, headers or {}, body_of() if body is None else body, of or snapshot(), EMPTY_VIEW),
        now=NEW_YEAR,
        draw=DRAW,
    )
    return record(found)


def test_a_record_is_this_json() -> None:
    config = snapshot()
    priced = replace(config.routes[0], require=replace(config.routes[0].require, region="eu"))
    config = replace(config, routes=(priced, config.routes[1]))
    headers = {"x-router-app": "billing", "x-router-task": "summarization"}
    told = recorded(headers, body_of(messages=asking_tokens(812), max_tokens=256), config)
    assert json.dumps(told, indent=1) == json.dumps(
        {
            "id": decision_id(NEW_YEAR, DRAW),
            "time": "2026-01-01T00:00:00Z",
            "config": config.config,
            "app": "billing",
            "route": "billing-summaries",
            "requested_model": None,
            "task": {"type": "summarization", "source": "header", "confidence": None},
            "estimate": {"input_tokens": 812, "output_tokens": 256},
            "chain": [
                {
                    "target": "eu/haiku",
                    "provider": "eu",
                    "model": "haiku",
                    "upstream_model": "haiku-20240307",
                    "expected_cost_usd": 0.001836,
                }
            ],
            "rejected": [{"target": "us/cheap", "reason": "region", "detail": "needs eu, has us"}],
            "why": "first of 1 eligible",
            "decide_us": None,
        },
        indent=1,
    )


def test_the_config_is_named_by_its_digest() -> None:
    assert recorded()["config"].startswith("sha256:")
    assert len(recorded()["config"]) == len("sha256:") + 64


def test_an_unknown_cost_is_null() -> None:
    (only,) = recorded()["chain"]
    assert only["expected_cost_usd"] is None


@pytest.mark.parametrize("decide_us", [None, 0, 143])
def test_the_time_it_took_is_told_where_it_was_measured(decide_us: int | None) -> None:
    assert record(DECISION, decide_us)["decide_us"] == decide_us


DECISION = Decision(
    id="01",
    time=NEW_YEAR,
    config="sha256:0",
    app=None,
    route="r",
    requested_model=RequestedModel("best"),
    task=Task("chat", TaskSource.CLASSIFIER, 0.91),
    estimate=Estimate(1, 2),
    candidates=(Candidate(target("m"), 1, 0.1 + 0.2, 5.0),),
    chain=(Candidate(target("m"), 1, 0.1 + 0.2, 5.0),),
    why="first of 1 eligible",
)

KEYS = [
    *("id", "time", "config", "app", "route", "requested_model", "task", "estimate"),
    *("chain", "rejected", "why", "decide_us"),
]


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (NEW_YEAR, "2026-01-01T00:00:00Z"),
        (NEW_YEAR + 0.999, "2026-01-01T00:00:00Z"),
        (NEW_YEAR - 0.001, "2025-12-31T23:59:59Z"),
        (4_102_444_799.0, "2099-12-31T23:59:59Z"),
    ],
)
def test_times_are_utc_to_the_second(now: float, told: str) -> None:
    assert record(replace(DECISION, time=now))["time"] == told


def test_costs_are_rounded_to_a_billionth_of_a_dollar() -> None:
    (only,) = record(DECISION)["chain"]
    assert only["expected_cost_usd"] == 0.3
    tiny = replace(DECISION.chain[0], expected_cost_usd=1.23456789e-7)
    (only,) = record(replace(DECISION, chain=(tiny,)))["chain"]
    assert only["expected_cost_usd"] == 1.23e-7


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_by_its_word(reason: Reason) -> None:
    rejection = Rejection(TargetId("home/m"), reason, "so it is")
    out = replace(DECISION.candidates[0], rejection=rejection)
    told = record(replace(DECISION, candidates=(out,)))["rejected"]
    assert told == [{"target": "home/m", "reason": reason.value, "detail": "so it is"}]


def test_reasons_are_the_closed_list() -> None:
    assert [reason.value for reason in Reason] == [
        *("capability", "context_window", "region", "price_ceiling", "price_unknown"),
        *("quality_floor", "latency_ceiling", "app_policy", "breaker_open", "not_before"),
        *("requests_exhausted", "tokens_exhausted", "body_too_large", "avoided"),
    ]


def test_every_link_of_the_chain_is_told_in_order() -> None:
    links = tuple(
        replace(DECISION.chain[0], target=replace(target(name), upstream_model=UpstreamModel("u")))
        for name in "abc"
    )
    told = record(replace(DECISION, chain=links))["chain"]
    assert [link["target"] for link in told] == ["home/a", "home/b", "home/c"]
    for link in told:
        assert [*link] == ["target", "provider", "model", "upstream_model", "expected_cost_usd"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "known"),
    [
        (b"", "invalid_request", 400, set()),
        (b"{", "invalid_request", 400, set()),
        (body_of(stream=CANARY), "invalid_request", 400, set()),
        (body_of(metadata={"task_type": "a b"}), "invalid_request", 400, set()),
        (body_of(model="nobody"), "unknown_model", 404, {"task", "estimate", "route"}),
        (
            *(body_of(max_tokens=10**400), "no_eligible_target", 422),
            {"task", "estimate", "route", "rejected"},
        ),
    ],
)
def test_a_refusal_is_a_record_with_an_empty_chain(
    body: bytes, kind: str, status: int, known: set[str]
) -> None:
    told = recorded(body=body)
    assert [*told] == [*KEYS, "refusal"]
    assert told["chain"] == []
    message = told["refusal"]["message"]
    assert told["refusal"] == {"kind": kind, "status": status, "message": message}
    assert [*told["refusal"]] == ["kind", "status", "message"]
    assert told["why"] == message
    assert {k for k in ("task", "estimate", "route", "rejected") if told[k]} == known
    assert told["id"] == decision_id(NEW_YEAR, DRAW)


def test_that_tokens_are_only_counted_is_told_where_they_are() -> None:
    assert record(replace(DECISION, counting=True))["counting"] is True
    assert "counting" not in record(DECISION)


def test_no_refusal_is_no_key() -> None:
    assert [*recorded()] == KEYS
    assert [*record(replace(DECISION, refusal=Refusal("k", 400, "c", "m")))] == [*KEYS, "refusal"]


# What is not in it

prompts = st.sampled_from(
    [
        {"messages": [{"role": "user", "content": CANARY}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": CANARY}]}]},
        {"messages": [{"role": "system", "content": CANARY}, {"role": "user", "content": "Hi"}]},
        {"messages": [{"role": CANARY, "content": "Hi", "name": CANARY}]},
        {"messages": [{"role": "user", "content": [{"type": CANARY}]}]},
        {"messages": [{"role": "user", "content": f"Summarize: {CANARY}"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": CANARY}]}]},
        {"messages": CANARY},
        {"messages": [CANARY]},
        {CANARY: CANARY},
    ]
)
others = st.fixed_dictionaries(
    {},
    optional={
        "user": st.just(CANARY),
        "stop": st.just([CANARY]),
        "metadata": st.just({"note": CANARY, CANARY: "x"}),
        "tools": st.sampled_from([[{"type": "function", "function": CANARY}], CANARY]),
        "response_format": st.sampled_from([{"type": "json_schema", CANARY: CANARY}, CANARY]),
        "reasoning_effort": st.sampled_from([CANARY, "high"]),
        "max_tokens": st.sampled_from([1, 10**9, CANARY]),
        "modalities": st.sampled_from([["audio", CANARY], CANARY]),
    },
)


@given(prompts, others, st.sampled_from([None, "auto", "haiku", "nobody"]))
@settings(deadline=None, max_examples=150, database=None)
def test_no_text_of_the_payload_is_in_a_record(
    prompt: dict[str, Any], other: dict[str, Any], model: str | None
) -> None:
    headers = {"x-api-key": CANARY, "authorization": f"Bearer {CANARY}", "x-custom": CANARY}
    told = recorded(headers, body_of(model=model, **(other | prompt)))
    assert CANARY not in json.dumps(told)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


# The outcome

ANSWERED = Outcome(
    target=TargetId("anthropic/claude-haiku-3"),
    attempts=1,
    status=200,
    ttfb_ms=310,
    duration_ms=1840,
    usage=Usage(799, 201),
    cost_usd=0.000451,
    reported_model=ReportedModel("claude-3-haiku-20240307"),
)


def told_of(outcome: Outcome) -> Any:  # noqa: ANN401  JSON
    return json.loads(with_outcome(b'{"id":"x"}', outcome))["outcome"]


def test_an_outcome_is_this_json() -> None:
    told = with_outcome(b'{"id":"x","decide_us":143}', ANSWERED)
    assert json.dumps(json.loads(told)) == json.dumps(
        {
            "id": "x",
            "decide_us": 143,
            "outcome": {
                "target": "anthropic/claude-haiku-3",
                "attempts": 1,
                "status": 200,
                "ttfb_ms": 310,
                "duration_ms": 1840,
                "usage": {"input_tokens": 799, "output_tokens": 201},
                "cost_usd": 0.000451,
                "reported_model": "claude-3-haiku-20240307",
            },
        }
    )


def test_an_outcome_that_is_not_known_yet_is_null() -> None:
    assert with_outcome(b'{"id":"x"}', None) == b'{"id":"x","outcome":null}'


@pytest.mark.parametrize("name", ["cache_read_tokens", "cache_write_tokens", "reasoning_tokens"])
def test_parts_of_a_usage_are_told_only_where_there_are_some(name: str) -> None:
    usage = Usage(799, 201, **{name: 5})
    expected = {"input_tokens": 799, "output_tokens": 201, name: 5}
    assert told_of(replace(ANSWERED, usage=usage))["usage"] == expected


@pytest.mark.parametrize("ending", [Ending.TRUNCATED, Ending.ABORTED])
def test_an_ending_is_told_unless_the_answer_is_whole(ending: Ending) -> None:
    assert told_of(replace(ANSWERED, ending=ending))["ending"] == ending.value
    assert "ending" not in told_of(ANSWERED)


def test_an_estimated_usage_says_that_it_is_one() -> None:
    assert told_of(replace(ANSWERED, usage_estimated=True))["estimated"] is True
    assert "estimated" not in told_of(ANSWERED)


def test_where_nobody_answered_nothing_is_made_up() -> None:
    told = told_of(Outcome(None, 3, 503, None, 30.04))
    assert told == {
        **dict.fromkeys(("target", "ttfb_ms", "usage", "cost_usd", "reported_model")),
        "attempts": 3,
        "status": 503,
        "duration_ms": 30.0,
    }


def test_costs_and_times_are_told_as_exactly_as_they_are_known() -> None:
    told = told_of(replace(ANSWERED, cost_usd=0.1 + 0.2, ttfb_ms=12.3456))
    assert (told["cost_usd"], told["ttfb_ms"]) == (0.3, 12.3)
