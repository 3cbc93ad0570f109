"""The steps before candidates are weighed: task, estimate, match, requested model."""

import json
import time
from dataclasses import replace

import pytest
from configs import (
    CATCH_ALL,
    FEWEST_TOKENS,
    SEED,
    asking_tokens,
    payload_of,
    request_of,
    snapshot_of,
    target,
    tokens_of,
)

from extproc.dialects import openai_embeddings
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.policy.estimate import (
    REASONING_TOKENS,
    input_tokens,
    output_tokens_of,
    reasoning_tokens_of,
)
from extproc.policy.match import match_route, matches
from extproc.policy.overrides import Overrides, honoured, overrides_of
from extproc.policy.request import Request
from extproc.policy.requested_model import pinned_targets, unknown_model
from extproc.policy.task import task_of
from extproc.snapshot import Match, Route, Snapshot, TokenRange
from extproc.state.view import EMPTY_VIEW, View
from extproc.text.classifier import Classifier
from extproc.text.tokens import OUTPUT_TOKENS, Calibration, Family, Output
from extproc.vocabulary import Estimate, Refusal, RequestedModel, Target, Task, TaskSource

# Task


@pytest.mark.parametrize(
    ("headers", "metadata", "task"),
    [
        ({}, {}, Task("unknown", TaskSource.NONE)),
        ({"x-router-task": "chat"}, {}, Task("chat", TaskSource.HEADER)),
        ({}, {"task_type": "chat"}, Task("chat", TaskSource.METADATA)),
        ({"x-router-task": "a"}, {"task_type": "b"}, Task("a", TaskSource.HEADER)),
        ({"x-router-task": "Code.Gen_2-x"}, {}, Task("Code.Gen_2-x", TaskSource.HEADER)),
        ({"x-router-task": "t" * 64}, {}, Task("t" * 64, TaskSource.HEADER)),
        ({"x-router-tasks": "chat"}, {"taskType": "chat"}, Task("unknown", TaskSource.NONE)),
    ],
)
def test_the_task_is_the_headers_else_the_metadatas_else_unknown(
    headers: dict[str, str], metadata: dict[str, str], task: Task
) -> None:
    assert task_for(headers, metadata) == task


def task_for(
    headers: dict[str, str], metadata: dict[str, str], allowed: tuple[str, ...] = ("task",)
) -> Task | Refusal:
    asked = overrides_of(honoured(headers, allowed))
    assert isinstance(asked, Overrides)
    return task_of(payload_of(metadata=metadata), asked.task, None)


def test_a_task_header_that_is_not_allowed_is_not_read() -> None:
    headers = {"x-router-task": "not a task!"}
    found = task_for(headers, {"task_type": "chat"}, allowed=())
    assert found == Task("chat", TaskSource.METADATA)


@pytest.mark.parametrize(
    "said", ["", " ", "a b", "a,b", "-a", ".a", "a/b", "a\n", "żółw", "t" * 65, "code-generation "]
)
@pytest.mark.parametrize("where", ["the header `x-router-task`", "the field `metadata.task_type`"])
def test_what_is_no_task_type_is_a_400_that_says_where_it_stood(said: str, where: str) -> None:
    is_header = "header" in where
    headers = {"x-router-task": said} if is_header else {}
    refusal = task_for(headers, {} if is_header else {"task_type": said})
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "invalid_task")
    assert refusal.message.lower().startswith(where)


def classifier() -> Classifier:
    found = snapshot_of(SEED).classifier
    assert found
    return found


SUMMARIZE = "Summarize the following article in three sentences."


def said(*turns: tuple[str, object]) -> list[dict[str, object]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_the_classifier_is_asked_where_nobody_said_and_tells_how_sure_it_is() -> None:
    task = task_of(payload_of(messages=said(("user", SUMMARIZE))), None, classifier())
    assert isinstance(task, Task)
    assert (task.type, task.source) == ("summarization", TaskSource.CLASSIFIER)
    assert task.confidence is not None
    assert 0.5 < task.confidence <= 1


def test_what_was_said_outranks_the_classifier() -> None:
    asked = payload_of(messages=said(("user", SUMMARIZE)), metadata={"task_type": "chat"})
    assert task_of(asked, None, classifier()) == Task("chat", TaskSource.METADATA)
    assert task_of(asked, "design", classifier()) == Task("design", TaskSource.HEADER)


def test_below_its_threshold_the_classifier_abstains_and_tells_how_unsure_it_is() -> None:
    never = replace(classifier(), threshold=1.01)
    task = task_of(payload_of(messages=said(("user", SUMMARIZE))), None, never)
    assert isinstance(task, Task)
    assert (task.type, task.source) == ("unknown", TaskSource.NONE)
    assert task.confidence is not None


@pytest.mark.parametrize(
    ("turns", "source"),
    [
        ([("system", "You are a poet."), ("user", SUMMARIZE)], TaskSource.CLASSIFIER),
        ([("user", SUMMARIZE), ("assistant", "Of which one?")], TaskSource.CLASSIFIER),
        ([("user", "?"), ("user", [{"type": "text", "text": SUMMARIZE}])], TaskSource.CLASSIFIER),
        ([("system", SUMMARIZE)], TaskSource.NONE),
        ([("assistant", SUMMARIZE)], TaskSource.NONE),
        ([("user", SUMMARIZE), ("user", "")], TaskSource.NONE),
    ],
)
def test_the_classifier_reads_the_last_user_turn(
    turns: list[tuple[str, object]], source: TaskSource
) -> None:
    task = task_of(payload_of(messages=said(*turns)), None, classifier())
    assert isinstance(task, Task)
    assert task.source == source
    assert (task.confidence is None) == (source is TaskSource.NONE)


# Estimate


def test_input_is_never_estimated_at_nothing() -> None:
    empty = payload_of(messages=said(("user", "")))
    for family in Family:
        assert input_tokens(empty, family, EMPTY_VIEW) >= 1
    assert input_tokens(empty, Family.DEFAULT, EMPTY_VIEW) == FEWEST_TOKENS


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("text", ["word ", "żółw ", "черепаха ", "龟", "亀です", "🐢", "{}[]();\n"])
def test_input_grows_with_the_text_for_every_family(text: str, family: Family) -> None:
    sizes = [tokens_of(said(("user", text * times)), family) for times in (1, 10, 100, 1000, 9000)]
    assert sizes == sorted(set(sizes))


def test_every_message_tool_and_schema_counts() -> None:
    one = tokens_of(said(("user", "Hello")))
    assert tokens_of(said(("system", ""), ("user", "Hello"))) > one
    tool = {"type": "function", "function": {"name": "clock", "description": "x " * 99}}
    for fields in ({"tools": [tool]}, {"response_format": {"type": "json_schema", "x": tool}}):
        asked = payload_of(messages=said(("user", "Hello")), **fields)
        assert input_tokens(asked, Family.DEFAULT, EMPTY_VIEW) > one + 99


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "input_audio", "input_audio": {"data": ""}},
        {"type": "file", "file": {}},
    ],
)
def test_what_is_not_text_counts_for_hundreds_of_tokens(
    part: dict[str, object], family: Family
) -> None:
    one, two, nine = (tokens_of(said(("user", [part] * n)), family) for n in (1, 2, 9))
    assert two - one >= 200
    assert nine - one == 8 * (two - one)


def test_what_was_learned_of_a_family_corrects_its_estimates_and_no_others() -> None:
    asked = payload_of(messages=asking_tokens(1000))
    view = View(calibration={Family.DEFAULT: Calibration(1.2, 50)})
    assert input_tokens(asked, Family.DEFAULT, view) == pytest.approx(1200, abs=1)
    for family in (Family.CLAUDE, Family.GEMINI):
        assert input_tokens(asked, family, view) == input_tokens(asked, family, EMPTY_VIEW)


@pytest.mark.parametrize("task", ["chat", "code-generation", "unknown", "nobody-knows-it"])
def test_output_is_what_the_task_takes_and_at_most_the_requests_own_limit(task: str) -> None:
    usual = OUTPUT_TOKENS.get(task, OUTPUT_TOKENS["unknown"])
    for limit, expected in ((None, usual), (7, 7), (usual - 1, usual - 1), (10**6, usual)):
        asked = payload_of(max_tokens=limit)
        assert output_tokens_of(asked, task, 100, EMPTY_VIEW) == expected


def test_output_follows_what_answers_have_taken() -> None:
    view = View(output={"chat": Output(77.4, 20)})
    assert output_tokens_of(payload_of(), "chat", 100, view) == 77
    assert output_tokens_of(payload_of(max_tokens=9), "chat", 100, view) == 9


def test_a_translation_is_as_long_as_its_source_until_answers_were_seen() -> None:
    assert output_tokens_of(payload_of(), "translation", 5000, EMPTY_VIEW) == 5000
    seen = View(output={"translation": Output(300)})
    assert output_tokens_of(payload_of(), "translation", 5000, seen) == 300


@pytest.mark.parametrize("given_input", ["Hello", "word " * 900, [[1, 2], [3]]])
def test_an_embedding_has_no_output(given_input: object) -> None:
    payload = openai_embeddings.read(json.dumps({"input": given_input}).encode())
    assert isinstance(payload, Payload)
    for task in ("chat", "translation", "unknown"):
        assert output_tokens_of(payload, task, 100, EMPTY_VIEW) == 0


def test_thought_adds_to_the_output_by_the_effort_within_the_limit() -> None:
    usual = OUTPUT_TOKENS["chat"]
    for effort, thought in {**REASONING_TOKENS, "none": 0, "not-known-yet": 0}.items():
        asked = payload_of(reasoning_effort=effort)
        assert reasoning_tokens_of(asked) == thought
        assert output_tokens_of(asked, "chat", 100, EMPTY_VIEW) == usual + thought
    limited = payload_of(reasoning_effort="high", max_tokens=300)
    assert output_tokens_of(limited, "chat", 100, EMPTY_VIEW) == 300


# Match


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(default=True), True),
        (Match(task_types=("chat",)), True),
        (Match(task_types=("other", "chat")), True),
        (Match(task_types=("other",)), False),
        (Match(task_types=("Chat",)), False),
        (Match(task_types=("*",)), False),  # a task type is no pattern
        (Match(input_tokens=TokenRange(min=100)), True),
        (Match(input_tokens=TokenRange(min=101)), False),
        (Match(input_tokens=TokenRange(max=100)), True),
        (Match(input_tokens=TokenRange(max=99)), False),
        (Match(input_tokens=TokenRange(100, 100)), True),
        (Match(requested_models=("gpt-4o",)), True),
        (Match(requested_models=("gpt-*",)), True),
        (Match(requested_models=("*-4o",)), True),
        (Match(requested_models=("*",)), True),
        (Match(requested_models=("g*t*o",)), True),
        (Match(requested_models=("gpt-4o*",)), True),
        (Match(requested_models=("claude-*", "gpt-*")), True),
        (Match(requested_models=("gpt",)), False),
        (Match(requested_models=("4o",)), False),
        (Match(requested_models=("gpt.4o",)), False),  # a dot stands for itself
        (Match(requested_models=("gpt-4?",)), False),
        (Match(headers={"x-tier": ("gold",)}), True),
        (Match(headers={"x-tier": ("silver", "g*")}), True),
        (Match(headers={"x-tier": ("Gold",)}), False),
        (Match(headers={"x-team": ("*",)}), False),  # an absent header matches nothing
        (Match(headers={"x-tier": ("gold",), "x-app": ("billing",)}), True),
        (Match(headers={"x-tier": ("gold",), "x-app": ("chat",)}), False),
        (Match(headers={"x-empty": ("*",)}), True),
        (Match(paths=("/v1/chat/completions",)), True),
        (Match(paths=("*/chat/completions",)), True),
        (Match(paths=("/team/*", "/v1/*")), True),
        (Match(paths=("/chat/completions",)), False),
        (Match(task_types=("chat",), requested_models=("gpt-*",), paths=("/v1/*",)), True),
        (Match(task_types=("chat",), requested_models=("claude-*",), paths=("/v1/*",)), False),
        (Match(task_types=("chat",), input_tokens=TokenRange(max=5)), False),
        (Match(output_tokens=TokenRange(min=50)), True),
        (Match(output_tokens=TokenRange(min=51)), False),
        (Match(output_tokens=TokenRange(max=50)), True),
        (Match(output_tokens=TokenRange(max=49)), False),
        (Match(output_tokens=TokenRange(50, 50), input_tokens=TokenRange(100, 100)), True),
        (Match(output_tokens=TokenRange(100, 100)), False),  # that is the input
        (Match(apps=("billing",)), True),
        (Match(apps=("search", "bill*")), True),
        (Match(apps=("Billing",)), False),
        (Match(apps=("search",)), False),
        (Match(streaming=True), True),
        (Match(streaming=False), False),
        (Match(has=frozenset({Feature.TOOLS})), True),
        (Match(has=frozenset({Feature.VISION, Feature.TOOLS})), True),  # any of them
        (Match(has=frozenset({Feature.VISION, Feature.AUDIO})), False),
        (Match(metadata={"tier": ("gold",)}), True),
        (Match(metadata={"tier": ("silver", "g*")}), True),
        (Match(metadata={"tier": ("Gold",)}), False),
        (Match(metadata={"team": ("*",)}), False),  # absent
        (Match(metadata={"count": ("*",)}), False),  # not text
        (Match(metadata={"tier": ("gold",), "seat": ("7",)}), True),
        (Match(metadata={"tier": ("gold",), "seat": ("8",)}), False),
        (Match(headers={"tier": ("gold",)}), False),  # metadata are no headers
        (Match(metadata={"x-tier": ("gold",)}), False),
        (Match(apps=("billing",), streaming=True, has=frozenset({Feature.TOOLS})), True),
        (Match(apps=("billing",), streaming=False, has=frozenset({Feature.TOOLS})), False),
    ],
)
def test_a_route_matches_when_all_of_its_conditions_hold(match: Match, *, holds: bool) -> None:
    headers = {"x-tier": "gold", "x-app": "billing", "x-empty": ""}
    metadata = {"tier": "gold", "seat": "7", "count": 7}
    tools = [{"type": "function", "function": {"name": "clock"}}]
    request = request_of(headers, model="gpt-4o", stream=True, metadata=metadata, tools=tools)
    assert matches(match, request, "billing", "chat", Estimate(100, 50)) is holds


@pytest.mark.parametrize("pattern", ["*", "billing"])
def test_a_request_of_no_app_matches_no_app_pattern(pattern: str) -> None:
    assert not matches(Match(apps=(pattern,)), request_of(), None, "chat", Estimate(1, 1))


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({}, set()),
        ({"reasoning_effort": "low"}, {Feature.REASONING}),
        ({"response_format": {"type": "json_object"}}, {Feature.STRUCTURED_OUTPUT}),
        ({"modalities": ["audio"]}, {Feature.AUDIO}),
        ({"tools": [{}], "modalities": ["audio"]}, {Feature.TOOLS, Feature.AUDIO}),
    ],
)
def test_a_route_may_match_on_what_a_request_holds(
    fields: dict[str, object], features: set[Feature]
) -> None:
    for feature in Feature:
        match = Match(has=frozenset({feature}))
        request = Request("/v1/chat/completions", {}, payload_of(**fields))
        found = matches(match, request, None, "chat", Estimate(1, 1))
        assert found == (feature in features)


@pytest.mark.parametrize("pattern", ["*", "gpt-4o"])
def test_a_request_without_a_model_matches_no_model_pattern(pattern: str) -> None:
    assert not matches(
        Match(requested_models=(pattern,)), request_of(), None, "chat", Estimate(100, 1)
    )


def test_the_first_route_that_matches_is_taken() -> None:
    snapshot = snapshot_of(SEED)
    for task, tokens, name in [
        ("code-generation", 1000, "route-1"),
        ("code-generation", 999, "route-2"),
        ("summarization", 5000, "route-3"),
        ("chat", 1, "default"),
    ]:
        size = Estimate(tokens, 1)
        assert match_route(request_of(), None, task, size, snapshot).name == name


def test_a_pattern_with_stars_takes_no_longer_than_reading_the_value() -> None:
    long = Request("/v1/chat/completions", {"user-agent": "ab" * 300}, payload_of())
    match = Match(headers={"user-agent": ("*a*b*a*c*",)})
    before = time.perf_counter()
    assert not matches(match, long, None, "chat", Estimate(1, 1))
    assert time.perf_counter() - before < 0.05


# Requested model

FIRST, SECOND, PINNED = target("first"), target("second"), target("pinned")


def route(match: Match | None = None) -> Route:
    return Route("r", match or Match(default=True), (FIRST,), (SECOND,))


@pytest.mark.parametrize(
    ("requested", "choice"),
    [(None, None), ("auto", None), ("pinned", (PINNED,)), ("its-alias", (PINNED,))],
)
def test_a_configured_model_that_is_asked_for_by_name_comes_first_else_the_route_decides(
    requested: str | None, choice: tuple[Target, ...] | None
) -> None:
    snapshot = snapshot_with({"pinned": (PINNED,), "its-alias": (PINNED,)})
    asked = RequestedModel(requested) if requested else None
    assert pinned_targets(None, asked, route(), snapshot) == choice


def test_a_requested_model_is_of_no_account_where_the_config_ignores_it() -> None:
    snapshot = snapshot_with({"pinned": (PINNED,)}, "requestedModel: ignore")
    for asked in ("pinned", "nobody-knows-it", "auto"):
        assert pinned_targets(None, RequestedModel(asked), route(), snapshot) is None


def test_a_route_that_matches_on_the_name_says_what_an_unknown_name_stands_for() -> None:
    snapshot = snapshot_with({"pinned": (PINNED,)})
    named = route(Match(requested_models=("best-*",)))
    assert pinned_targets(None, RequestedModel("best-there-is"), named, snapshot) is None
    assert pinned_targets(None, RequestedModel("pinned"), named, snapshot) == (PINNED,)


def test_a_model_that_the_header_names_is_used_whatever_the_config_says_of_payloads() -> None:
    snapshot = snapshot_with({"pinned": (PINNED,)}, "requestedModel: ignore")
    named = route(Match(requested_models=("best-*",)))
    asked = RequestedModel("best-of-all")
    assert pinned_targets(RequestedModel("pinned"), asked, named, snapshot) == (PINNED,)
    assert pinned_targets(RequestedModel("auto"), asked, named, snapshot) is None
    assert isinstance(pinned_targets(RequestedModel("best-x"), None, named, snapshot), Refusal)


def test_an_unknown_model_is_a_404_that_lists_what_there_is() -> None:
    refusal = pinned_targets(
        None, RequestedModel("best"), route(), snapshot_with({"b": (), "a": ()})
    )
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert "`best`" in refusal.message
    assert refusal.message.endswith("name one of: auto, a, b.")


def test_no_more_than_fifty_names_are_listed() -> None:
    message = unknown_model("best", {f"model-{i:03}": () for i in range(200)}).message
    assert message.count("model-") == 49  # and auto
    assert "model-048" in message


def snapshot_with(models: dict[str, tuple[Target, ...]], more: str = "") -> Snapshot:
    return replace(snapshot_of(f"{CATCH_ALL}{more}"), models=models)
