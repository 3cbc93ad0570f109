"""Which targets can serve a request at all: each check, told yes, no or unknown, either way."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from configs import HOME, request_of, snapshot_of, target

from extproc.decide import decide
from extproc.dialects.conversation import Demand
from extproc.dialects.registry import PROVIDERS
from extproc.feature import Feature
from extproc.policy.eligibility import Need, checks_of, ineligible, is_native, quality_of
from extproc.snapshot import Requirements, Snapshot
from extproc.state.view import EMPTY_VIEW, TargetView, View
from extproc.text.tokens import Family
from extproc.vocabulary import (
    Api,
    Candidate,
    Decision,
    Estimate,
    ModelName,
    ProviderName,
    Reason,
    Surface,
    Target,
    TargetId,
)

SMALL = Estimate(10, 10)
V, T, A = Feature.VISION, Feature.TOOLS, Feature.AUDIO
ANYTHING = Need(frozenset(), 10, "chat", allow_unknown=False)

Found = tuple[Reason, str] | None


def found(
    one: Target,
    need: Need = ANYTHING,
    *,
    input_tokens: int = 10,
    cost_usd: float | None = None,
    latency_ms: float | None = None,
) -> Found:
    candidate = Candidate(one, input_tokens, cost_usd, latency_ms)
    rejection = ineligible(candidate, need, checks_of(need))
    if rejection is None:
        return None
    assert rejection.target == one.id
    return rejection.reason, rejection.detail


def rejected(
    one: Target,
    features: set[Feature] | None = None,
    size: Estimate = SMALL,
    *,
    allow_unknown: bool = False,
) -> Found:
    need = Need(frozenset(features or ()), size.output_tokens, "chat", allow_unknown=allow_unknown)
    return found(one, need, input_tokens=size.input_tokens)


# Capability


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
    assert rejected(target("m", 1000, {V: False}), {V, T}, allow_unknown=True) == (
        Reason.CAPABILITY,
        "needs vision, which it lacks",
    )


# APIs


def speaking(api: Api, *surfaces: Surface) -> Target:
    provider = replace(HOME, api=api, endpoints=dict.fromkeys(surfaces, "/x"))
    return replace(target("m"), provider=provider)


@pytest.mark.parametrize("demand", Demand)
@pytest.mark.parametrize("api", Api)
def test_a_target_of_another_api_must_have_a_counterpart_of_what_is_demanded(
    api: Api, demand: Demand
) -> None:
    need = replace(ANYTHING, surface=Surface.RESPONSES, demands=frozenset({demand}))
    lacks = demand in PROVIDERS[api].lacks(speaking(api))
    detail = f"needs {demand.value}, which its API `{api.value}` can't give"
    for allow_unknown in (True, False):  # what an API can be asked for is known
        why = found(speaking(api, Surface.CHAT), replace(need, allow_unknown=allow_unknown))
        assert why == ((Reason.CAPABILITY, detail) if lacks else None)


@pytest.mark.parametrize("surface", Surface)
@pytest.mark.parametrize("api", Api)
def test_a_target_that_speaks_the_clients_api_meets_every_demand(
    api: Api, surface: Surface
) -> None:
    need = replace(ANYTHING, surface=surface, demands=frozenset(Demand))
    assert found(speaking(api, surface), need) is None
    assert is_native(speaking(api, surface), surface)
    others = [other for other in Surface if other is not surface]
    assert found(speaking(api, *others), need)
    assert not is_native(speaking(api, *others), surface)


def test_the_demand_that_is_told_does_not_depend_on_their_order() -> None:
    demands = [Demand.LOGPROBS, Demand.HOSTED_TOOLS, Demand.BACKGROUND, Demand.LINKED_IMAGES]
    for some in (demands, demands[::-1]):
        need = replace(ANYTHING, surface=Surface.MESSAGES, demands=frozenset(some))
        assert found(speaking(Api.OPENAI, Surface.CHAT), need) == (
            Reason.CAPABILITY,
            "needs an answer in the background, which its API `openai` can't give",
        )


def test_counts_and_embeddings_are_had_only_of_those_who_speak_the_clients_api() -> None:
    for demand in (Demand.COUNT, Demand.EMBEDDINGS):
        for api in Api:
            assert demand in PROVIDERS[api].lacks(speaking(api))


# Embeddings

E = Feature.EMBEDDINGS
TO_EMBED = replace(ANYTHING, features=frozenset({E}), output_tokens=0, surface=Surface.EMBEDDINGS)
ONLY_EMBEDS = (Reason.CAPABILITY, "needs an answer, and it only embeds")


@pytest.mark.parametrize(
    ("capabilities", "answers", "embeds"),
    [
        ({E: True}, ONLY_EMBEDS, None),
        ({E: False}, None, (Reason.CAPABILITY, "needs embeddings, which it lacks")),
        ({}, None, (Reason.CAPABILITY, "needs embeddings, which it is not known to have")),
    ],
)
def test_a_model_embeds_or_answers(
    capabilities: dict[Feature, bool], answers: Found, embeds: Found
) -> None:
    one = target("m", 1000, capabilities)
    assert found(one) == answers
    assert found(one, TO_EMBED) == embeds
    assert found(one, replace(ANYTHING, allow_unknown=True)) == answers
    unknown = None if E not in capabilities else embeds
    assert found(one, replace(TO_EMBED, allow_unknown=True)) == unknown


# Window


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
    for allow_unknown in (True, False):
        why = rejected(target("m", window), size=size, allow_unknown=allow_unknown)
        assert (why is None) == fits
        if why:
            assert why[0] == Reason.CONTEXT_WINDOW
            assert why[1].endswith(f"tokens, has {window}")


def test_an_unknown_window_fits_nothing_unless_the_unknown_is_allowed() -> None:
    assert rejected(target("m", None)) == (
        Reason.CONTEXT_WINDOW,
        "needs 22 tokens, window unknown",
    )
    assert rejected(target("m", None), allow_unknown=True) is None


def test_a_request_for_more_tokens_than_a_float_can_count_does_not_fit() -> None:
    why = rejected(target("m", 1000), size=Estimate(1, 10**400))
    assert why
    assert why[0] == Reason.CONTEXT_WINDOW


@pytest.mark.parametrize(("limit", "fits"), [(None, True), (5, True), (990, True), (991, False)])
def test_the_requests_own_limit_must_fit_though_less_is_expected(
    limit: int | None, *, fits: bool
) -> None:
    # Providers refuse what could overflow the window, whatever the answer would take.
    need = replace(ANYTHING, output_tokens=5, output_tokens_max=limit)
    assert (found(target("m", 1100), need) is None) == fits


@cache
def of_families() -> Snapshot:
    """Two models that differ in nothing but how they count."""
    return snapshot_of(
        "providers: {home: {baseUrl: http://home.test/v1}}\n"
        "models:\n"
        "  counts-few:  {targets: [{provider: home}], contextWindow: 5000, family: openai-o200k}\n"
        "  counts-many: {targets: [{provider: home}], contextWindow: 5000, family: claude}\n"
        "routes: [{match: {default: true}, candidates: [counts-many, counts-few]}]\n"
    )


def test_each_family_counts_in_its_own_tokens() -> None:
    request = request_of(messages=[{"role": "user", "content": "ภาษาไทย " * 700}], max_tokens=9)
    decision = decide(request, of_families(), EMPTY_VIEW, now=0, draw=0)
    assert [c.target.id for c in decision.chain] == ["home/counts-few"]
    (many,) = decision.rejected
    assert (many.target, many.reason) == ("home/counts-many", Reason.CONTEXT_WINDOW)
    sizes = {c.target.model.family: c.input_tokens for c in decision.candidates}
    assert sizes[Family.CLAUDE] > 1.5 * sizes[Family.OPENAI_O200K]


# Region, quality, price, latency: yes, no, unknown, and what the config says of the unknown

EU = replace(ANYTHING, region="eu")
GOOD = replace(ANYTHING, quality_min=0.6)
CHEAP = replace(ANYTHING, cost_usd_max=0.01)
FAST = replace(ANYTHING, latency_ms_max=1500)


def in_region(region: str | None) -> Target:
    return replace(target("m"), provider=replace(HOME, region=region))


def of_quality(quality: Mapping[str, float]) -> Target:
    one = target("m")
    return replace(one, model=replace(one.model, quality=quality))


@pytest.mark.parametrize(
    ("one", "need", "facts", "denied", "allowed"),
    [
        (in_region("eu"), EU, {}, None, None),
        (in_region("us"), EU, {}, *[(Reason.REGION, "needs eu, has us")] * 2),
        (in_region("EU"), EU, {}, *[(Reason.REGION, "needs eu, has EU")] * 2),
        (in_region(None), EU, {}, (Reason.REGION, "needs eu, has unknown"), None),
        (in_region(None), ANYTHING, {}, None, None),
        (of_quality({"chat": 0.6}), GOOD, {}, None, None),
        (of_quality({"default": 0.7}), GOOD, {}, None, None),
        (of_quality({"chat": 0.7, "default": 0.1}), GOOD, {}, None, None),
        (
            *(of_quality({"chat": 0.5, "default": 0.9}), GOOD, {}),
            *[(Reason.QUALITY_FLOOR, "needs 0.6 for chat, has 0.5")] * 2,
        ),
        (
            *(of_quality({"default": 0.59}), GOOD, {}),
            *[(Reason.QUALITY_FLOOR, "needs 0.6 for chat, has 0.59")] * 2,
        ),
        (
            *(of_quality({"writing": 0.9}), GOOD, {}),
            *((Reason.QUALITY_FLOOR, "needs 0.6, unknown for chat"), None),
        ),
        (of_quality({}), ANYTHING, {}, None, None),
        (of_quality({"chat": 0.0}), ANYTHING, {}, None, None),
        (target("m"), CHEAP, {"cost_usd": 0.01}, None, None),
        (target("m"), CHEAP, {"cost_usd": 0.0}, None, None),
        (
            *(target("m"), CHEAP, {"cost_usd": 0.0101}),
            *[(Reason.PRICE_CEILING, "at most $0.01, $0.010100")] * 2,
        ),
        (target("m"), CHEAP, {}, (Reason.PRICE_UNKNOWN, "at most $0.01, price unknown"), None),
        (target("m"), ANYTHING, {"cost_usd": 99.0}, None, None),
        (target("m"), ANYTHING, {}, None, None),
        (target("m"), FAST, {"latency_ms": 1500.0}, None, None),
        (
            *(target("m"), FAST, {"latency_ms": 1501.0}),
            *[(Reason.LATENCY_CEILING, "at most 1500 ms, 1501 expected")] * 2,
        ),
        (target("m"), FAST, {}, None, None),  # never seen: else it never would be
        (target("m"), ANYTHING, {"latency_ms": 1e9}, None, None),
    ],
)
def test_a_known_fact_decides_and_an_unknown_one_as_the_config_says(
    one: Target, need: Need, facts: dict[str, Any], denied: Found, allowed: Found
) -> None:
    assert found(one, need, **facts) == denied
    assert found(one, replace(need, allow_unknown=True), **facts) == allowed


def test_quality_is_that_for_the_task_else_the_default() -> None:
    assert quality_of({"chat": 0.0, "default": 0.9}, "chat") == 0
    assert quality_of({"chat": 0.1, "default": 0.9}, "writing") == 0.9
    assert quality_of({"chat": 0.1}, "writing") is None


# App and avoided


@pytest.mark.parametrize(
    ("allowed", "passes"), [(None, True), ({"m"}, True), ({"n", "m"}, True), ({"n"}, False)]
)
def test_an_app_that_has_a_list_may_use_only_the_models_on_it(
    allowed: set[str] | None, *, passes: bool
) -> None:
    models = None if allowed is None else frozenset(map(ModelName, allowed))
    for unknown in (True, False):
        need = replace(ANYTHING, allowed_models=models, allow_unknown=unknown)
        why = found(target("m"), need)
        assert (why is None) == passes
        assert why is None or why[0] == Reason.APP_POLICY


@pytest.mark.parametrize(
    ("avoid", "passes"),
    [
        ((), True),
        (("home/m",), False),
        (("home",), False),
        (("m",), False),
        (("x", "m"), False),
        (("hom", "M", "home/", "home/n", "*"), True),
    ],
)
def test_a_target_is_avoided_by_its_own_name_its_providers_or_its_models(
    avoid: tuple[str, ...], *, passes: bool
) -> None:
    why = found(target("m"), replace(ANYTHING, avoid=frozenset(avoid)))
    assert why == (None if passes else (Reason.AVOIDED, "the client asked to avoid it"))


def test_the_first_reason_found_is_told() -> None:
    """From what no change of the request would mend to what a smaller one might."""
    need = Need(
        frozenset({V}),
        output_tokens=10_000,
        task_type="chat",
        allow_unknown=False,
        quality_min=0.5,
        latency_ms_max=1,
        cost_usd_max=0.1,
        region="eu",
        allowed_models=frozenset(),
        avoid=frozenset({"m"}),
    )
    one = replace(of_quality({"chat": 0.1}), provider=replace(HOME, region="us"))
    order = []
    fixes: list[dict[str, Any]] = [
        {"allowed_models": None},
        {"avoid": frozenset()},
        {"features": frozenset()},
        {"output_tokens": 1},
        {"region": None},
        {"quality_min": None},
        {"cost_usd_max": None},
        {"latency_ms_max": None},
    ]
    for fixed in fixes:
        why = found(one, need, cost_usd=0.2, latency_ms=2)
        order.append(why and why[0])
        need = replace(need, **fixed)
    assert found(one, need, cost_usd=0.2, latency_ms=2) is None
    assert order == [
        Reason.APP_POLICY,
        Reason.AVOIDED,
        Reason.CAPABILITY,
        Reason.CONTEXT_WINDOW,
        Reason.REGION,
        Reason.QUALITY_FLOOR,
        Reason.PRICE_CEILING,
        Reason.LATENCY_CEILING,
    ]


# Fallbacks

# Each fallback fails in one way, but for the last.
FALLBACKS = """
providers:
  eu:   { baseUrl: http://eu.test/v1, region: eu }
  us:   { baseUrl: http://us.test/v1, region: us }
models:
  first: { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  blind: { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: false},
           quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  small: { targets: [{provider: eu}], contextWindow: 500, capabilities: {tools: true},
           quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  far:   { targets: [{provider: us}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  poor:  { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.2}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  dear:  { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.9}, price: {inputPerMTok: 1000, outputPerMTok: 1000} }
  free:  { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.9} }
  slow:  { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  barred: { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
            quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  shunned: { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
             quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
  last:  { targets: [{provider: eu}], contextWindow: 9000, capabilities: {tools: true},
           quality: {default: 0.9}, price: {inputPerMTok: 1, outputPerMTok: 1} }
apps:
  allow: { a: [first, blind, small, far, poor, dear, free, slow, shunned, last] }
overrides: { allow: [avoid] }
maxAttempts: 10
"""
EVERYONE = "[first, blind, small, far, poor, dear, free, slow, barred, shunned, last]"
REQUIRE = Requirements(quality_min=0.5, latency_ms_max=900, cost_usd_max=0.1, region="eu")


@cache
def in_places(candidates: str, fallback: str) -> Snapshot:
    snapshot = snapshot_of(
        f"{FALLBACKS}routes:\n"
        f"  - {{match: {{default: true}}, candidates: {candidates}, fallback: {fallback}}}"
    )
    # Not written, since no config may say what some of these targets can never do.
    return replace(snapshot, routes=(replace(snapshot.routes[0], require=REQUIRE),))


def asked_of(snapshot: Snapshot) -> Decision:
    headers = {"x-router-app": "a", "x-router-avoid": "shunned"}
    request = request_of(headers, tools=[{"type": "function"}], max_tokens=600)
    slow = View({TargetId("eu/slow"): TargetView(ttfb_ms=901)})
    return decide(request, snapshot, slow, now=0, draw=0)


@pytest.mark.parametrize(("candidates", "fallback"), [(EVERYONE, "[]"), ("[first]", EVERYONE)])
def test_a_fallback_passes_the_same_checks_as_a_first_choice(
    candidates: str, fallback: str
) -> None:
    decision = asked_of(in_places(candidates, fallback))
    assert [c.target.model.name for c in decision.chain] == ["first", "last"]
    assert {one.target: one.reason for one in decision.rejected} == {
        "eu/blind": Reason.CAPABILITY,
        "eu/small": Reason.CONTEXT_WINDOW,
        "us/far": Reason.REGION,
        "eu/poor": Reason.QUALITY_FLOOR,
        "eu/dear": Reason.PRICE_CEILING,
        "eu/free": Reason.PRICE_UNKNOWN,
        "eu/slow": Reason.LATENCY_CEILING,
        "eu/barred": Reason.APP_POLICY,
        "eu/shunned": Reason.AVOIDED,
    }


def test_eligible_targets_keep_their_order_and_the_others_their_reasons() -> None:
    turned = "[last, shunned, barred, slow, free, dear, poor, far, small, blind, first]"
    decision = asked_of(in_places(turned, "[]"))
    assert [c.target.model.name for c in decision.chain] == ["last", "first"]
    assert [c.target.model.name for c in decision.candidates] == turned.strip("[]").split(", ")
    names = [one.target.partition("/")[2] for one in decision.rejected]
    assert names == turned.strip("[]").split(", ")[1:-1]


def test_where_no_one_is_eligible_nothing_is_sent_and_each_reason_is_told() -> None:
    decision = asked_of(in_places("[blind, small]", "[far, dear]"))
    assert decision.chain == ()
    assert decision.refusal
    assert decision.refusal.status == 422
    for one in decision.rejected:
        assert f"{one.target} {one.detail}" in decision.refusal.message
    assert [one.reason for one in decision.rejected] == [
        Reason.CAPABILITY,
        Reason.CONTEXT_WINDOW,
        Reason.REGION,
        Reason.PRICE_CEILING,
    ]


def test_a_provider_is_avoided_at_all_its_targets() -> None:
    request = request_of({"x-router-avoid": ProviderName("eu")})
    decision = decide(request, in_places("[first, far]", "[last]"), EMPTY_VIEW, now=0, draw=0)
    assert {one.target: one.reason for one in decision.rejected} == {
        "eu/first": Reason.AVOIDED,
        "us/far": Reason.REGION,
        "eu/last": Reason.AVOIDED,
    }
