"""The steps of a decision, each on its own: task, estimate, match, requested model, eligibility."""

import time
from dataclasses import replace

import pytest
from configs import CATCH_ALL, SEED, request_of, snapshot_of

from extproc.dialects.payload import Payload
from extproc.policy.eligibility import eligible
from extproc.policy.estimate import estimate
from extproc.policy.match import match_route, matches
from extproc.policy.request import Request
from extproc.policy.requested_model import first_choices, unknown_model
from extproc.policy.task import task_of
from extproc.snapshot import Match, Route, Snapshot, TokenRange
from extproc.vocabulary import (
    Estimate,
    Feature,
    Model,
    ModelName,
    Provider,
    ProviderName,
    Reason,
    Refusal,
    RequestedModel,
    Target,
    TargetId,
    Task,
    TaskSource,
    UpstreamModel,
)

HOME = Provider(
    name=ProviderName("home"),
    host="127.0.0.1",
    port=80,
    tls=False,
    base_path="/v1",
    credential_header="authorization",
    credential_prefix="Bearer ",
    has_credential=False,
    headers={},
)


def target(
    name: str, window: int | None = 1000, capabilities: dict[Feature, bool] | None = None
) -> Target:
    model = Model(ModelName(name), window, capabilities or {})
    return Target(TargetId(f"home/{name}"), HOME, model, UpstreamModel(name))


def payload(
    *, text_bytes: int = 40, text_chars: int | None = None, output: int | None = None
) -> Payload:
    chars = text_bytes if text_chars is None else text_chars
    return Payload(
        requested_model=None,
        streaming=False,
        features=frozenset(),
        text_bytes=text_bytes,
        text_chars=chars,
        output_tokens_max=output,
        metadata={},
        rest=b"}",
    )


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
    assert task_of(request_of(headers, metadata=metadata), header_allowed=True) == task


def test_a_task_header_that_is_not_allowed_is_not_read() -> None:
    request = request_of({"x-router-task": "not a task!"}, metadata={"task_type": "chat"})
    assert task_of(request, header_allowed=False) == Task("chat", TaskSource.METADATA)


@pytest.mark.parametrize(
    "said", ["", " ", "a b", "a,b", "-a", ".a", "a/b", "a\n", "żółw", "t" * 65, "code-generation "]
)
@pytest.mark.parametrize("where", ["the header `x-router-task`", "the field `metadata.task_type`"])
def test_what_is_no_task_type_is_a_400_that_says_where_it_stood(said: str, where: str) -> None:
    is_header = "header" in where
    headers = {"x-router-task": said} if is_header else {}
    request = request_of(headers, metadata={} if is_header else {"task_type": said})
    refusal = task_of(request, header_allowed=True)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "invalid_task")
    assert refusal.message.lower().startswith(where)


# Estimate


@pytest.mark.parametrize(
    ("text_bytes", "text_chars", "tokens"),
    [
        (0, 0, 1),
        (4, 4, 1),
        (3996, 3996, 999),
        (4000, 4000, 1000),
        (20, 10, 6),  # ten Cyrillic letters: five bytes beyond ASCII's rate count at a third
        (30, 10, 10),  # ten Han characters
        (40, 10, 13),  # ten emoji
    ],
)
def test_input_is_estimated_from_bytes_and_characters(
    text_bytes: int, text_chars: int, tokens: int
) -> None:
    assert estimate(payload(text_bytes=text_bytes, text_chars=text_chars)).input_tokens == tokens


def test_output_is_the_requests_own_limit_else_1024() -> None:
    assert estimate(payload(output=7)).output_tokens == 7
    assert estimate(payload()).output_tokens == 1024


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
    ],
)
def test_a_route_matches_when_all_of_its_conditions_hold(match: Match, *, holds: bool) -> None:
    headers = {"x-tier": "gold", "x-app": "billing", "x-empty": ""}
    request = request_of(headers, model="gpt-4o")
    assert matches(match, request, "chat", 100) is holds


@pytest.mark.parametrize("pattern", ["*", "gpt-4o"])
def test_a_request_without_a_model_matches_no_model_pattern(pattern: str) -> None:
    assert not matches(Match(requested_models=(pattern,)), request_of(), "chat", 100)


def test_the_first_route_that_matches_is_taken() -> None:
    snapshot = snapshot_of(SEED)
    for task, tokens, name in [
        ("code-generation", 1000, "route-1"),
        ("code-generation", 999, "route-2"),
        ("summarization", 5000, "route-3"),
        ("chat", 1, "default"),
    ]:
        assert match_route(request_of(), task, tokens, snapshot).name == name


def test_a_pattern_with_stars_takes_no_longer_than_reading_the_value() -> None:
    long = Request("/v1/chat/completions", {"user-agent": "ab" * 300}, payload())
    before = time.perf_counter()
    assert not matches(Match(headers={"user-agent": ("*a*b*a*c*",)}), long, "chat", 1)
    assert time.perf_counter() - before < 0.05


# Requested model

FIRST, SECOND, PINNED = target("first"), target("second"), target("pinned")


def route(match: Match | None = None) -> Route:
    return Route("r", match or Match(default=True), (FIRST,), (SECOND,))


@pytest.mark.parametrize(
    ("requested", "choice"),
    [(None, FIRST), ("auto", FIRST), ("pinned", PINNED), ("its-alias", PINNED)],
)
def test_a_configured_model_that_is_asked_for_by_name_comes_first(
    requested: str | None, choice: Target
) -> None:
    snapshot = snapshot_with({"pinned": (PINNED,), "its-alias": (PINNED,)})
    asked = RequestedModel(requested) if requested else None
    assert first_choices(asked, route(), snapshot) == (choice,)


def test_a_requested_model_is_of_no_account_where_the_config_ignores_it() -> None:
    snapshot = snapshot_with({"pinned": (PINNED,)}, "requestedModel: ignore")
    for asked in ("pinned", "nobody-knows-it", "auto"):
        assert first_choices(RequestedModel(asked), route(), snapshot) == (FIRST,)


def test_a_route_that_matches_on_the_name_says_what_an_unknown_name_stands_for() -> None:
    snapshot = snapshot_with({"pinned": (PINNED,)})
    named = route(Match(requested_models=("best-*",)))
    assert first_choices(RequestedModel("best-there-is"), named, snapshot) == (FIRST,)
    assert first_choices(RequestedModel("pinned"), named, snapshot) == (PINNED,)


def test_an_unknown_model_is_a_404_that_lists_what_there_is() -> None:
    refusal = first_choices(RequestedModel("best"), route(), snapshot_with({"b": (), "a": ()}))
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


# Eligibility

SMALL = Estimate(10, 10)
V, T, A = Feature.VISION, Feature.TOOLS, Feature.AUDIO


def rejected(
    one: Target,
    features: set[Feature] | None = None,
    size: Estimate = SMALL,
    *,
    allow_unknown: bool = False,
) -> tuple[Reason, str] | None:
    able, why_not = eligible((one,), frozenset(features or ()), size, allow_unknown=allow_unknown)
    assert len(able) + len(why_not) == 1
    return (why_not[0].reason, why_not[0].detail) if why_not else None


@pytest.mark.parametrize(
    ("capabilities", "needed", "detail"),
    [
        ({}, set(), None),
        ({V: True}, {V}, None),
        ({V: True, T: True}, {V, T}, None),
        ({V: False}, set(), None),
        ({V: False}, {V}, "needs vision, which it lacks"),
        ({}, {V}, "needs vision, which it is not known to have"),
        ({V: True, T: False}, {V, T}, "needs tools, which it lacks"),
        ({}, {V, T, A}, "needs audio, which it is not known to have"),
    ],
)
def test_a_target_must_be_known_to_have_what_is_needed(
    capabilities: dict[Feature, bool], needed: set[Feature], detail: str | None
) -> None:
    reason = (Reason.CAPABILITY, detail) if detail else None
    assert rejected(target("m", 1000, capabilities), needed) == reason


def test_an_unknown_capability_may_be_allowed_and_a_known_lack_may_not() -> None:
    assert rejected(target("m", 1000, {}), {V}, allow_unknown=True) is None
    assert rejected(target("m", 1000, {V: False}), {V}, allow_unknown=True)


@pytest.mark.parametrize(
    ("window", "size", "fits"),
    [
        (1100, Estimate(500, 500), True),
        (1101, Estimate(500, 501), False),  # 1101.1 with the headroom, rounded up
        (1102, Estimate(500, 501), True),
        (1100, Estimate(999, 1), True),
        (1099, Estimate(999, 1), False),
        (22, Estimate(10, 10), True),
        (21, Estimate(10, 10), False),
    ],
)
def test_input_and_output_and_a_tenth_more_must_fit_the_window(
    window: int, size: Estimate, *, fits: bool
) -> None:
    found = rejected(target("m", window), size=size)
    assert (found is None) == fits
    if found:
        assert found[0] == Reason.CONTEXT_WINDOW
        assert found[1].endswith(f"tokens, has {window}")


def test_an_unknown_window_fits_nothing_unless_the_unknown_is_allowed() -> None:
    assert rejected(target("m", None)) == (
        Reason.CONTEXT_WINDOW,
        "needs 22 tokens, window unknown",
    )
    assert rejected(target("m", None), allow_unknown=True) is None


def test_a_request_for_more_tokens_than_a_float_can_count_does_not_fit() -> None:
    found = rejected(target("m", 1000), size=Estimate(1, 10**400))
    assert found
    assert found[0] == Reason.CONTEXT_WINDOW


def test_eligible_targets_keep_their_order_and_the_others_their_reasons() -> None:
    a, b, c, d = target("a"), target("b", 1), target("c", 1000, {V: False}), target("d")
    able, why_not = eligible((d, c, b, a), frozenset(), SMALL, allow_unknown=False)
    assert able == (d, c, a)
    assert [one.target for one in why_not] == ["home/b"]
