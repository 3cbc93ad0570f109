"""No request is ever sent to a target that can't serve it: 100,000 of them, told by an oracle.

Configs, states and requests are generated, cheaply and from fixed seeds. What a target must meet
is written here a second time, as plainly as can be, and shares nothing with the product but the
estimate of tokens.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from random import Random
from typing import Final

import pytest

from extproc.decide import COUNTED_HERE, decide
from extproc.dialects.conversation import Demand
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.policy.draw import DRAW_BITS
from extproc.policy.estimate import input_tokens
from extproc.policy.request import Request
from extproc.price import Price, PricePeriod, Rate
from extproc.snapshot import Apps, Match, Objective, Requirements, Route, Snapshot, TokenRange
from extproc.state.view import Breaker, TargetView, View
from extproc.text.tokens import Calibration, Family, Measure, Output, measure
from extproc.vocabulary import (
    Api,
    Candidate,
    ChatForm,
    Decision,
    History,
    Model,
    ModelName,
    Provider,
    ProviderName,
    Reason,
    RequestedModel,
    Surface,
    Target,
    TargetId,
    UpstreamModel,
)

WORLDS: Final = 500
REQUESTS_PER_WORLD: Final = 200
BATCHES: Final = 5
NOW: Final = 1_767_225_600.0

FEATURES: Final = tuple(feature for feature in Feature if feature is not Feature.EMBEDDINGS)
FAMILIES: Final = (Family.DEFAULT, Family.OPENAI_O200K, Family.CLAUDE_4_7, Family.GEMINI)
TASKS: Final = ("chat", "code-generation", "translation", "unknown", "of-our-own")
APPS: Final = ("limited", "barred", "free")
REGIONS: Final = (None, "eu", "us")
TEXTS: Final = (
    *(measure(b"word " * times) for times in (0, 9, 900)),
    measure("żółw ".encode() * 90),
    measure("龟".encode() * 4000),
    Measure(words=60_000.0),
)
NOWHERE: Final = {
    *(Reason.CAPABILITY, Reason.CONTEXT_WINDOW, Reason.REGION, Reason.PRICE_CEILING),
    *(Reason.PRICE_UNKNOWN, Reason.QUALITY_FLOOR, Reason.LATENCY_CEILING, Reason.APP_POLICY),
    Reason.AVOIDED,
}
NOT_NOW: Final = {
    *(Reason.BREAKER_OPEN, Reason.NOT_BEFORE, Reason.REQUESTS_EXHAUSTED, Reason.TOKENS_EXHAUSTED),
}

# APIs

SPEAK: Final = {
    Api.OPENAI: {Surface.CHAT, Surface.EMBEDDINGS},
    Api.AZURE: {Surface.CHAT, Surface.EMBEDDINGS, Surface.RESPONSES},
    Api.ANTHROPIC: {Surface.MESSAGES, Surface.COUNT_TOKENS},
    Api.GEMINI: set[Surface](),
    Api.BEDROCK: set[Surface](),
}
"""Each API of a provider and the clients that it needs no translation for."""

LIKE_CHAT: Final = {Demand.AUDIO_INPUT, Demand.LINKED_IMAGES, Demand.IMAGES_IN_RESULTS}
MEET: Final = {
    Api.OPENAI: LIKE_CHAT,
    Api.AZURE: LIKE_CHAT,
    Api.ANTHROPIC: {Demand.LINKED_IMAGES, Demand.LINKED_DOCUMENTS, Demand.IMAGES_IN_RESULTS},
    Api.GEMINI: {*LIKE_CHAT, Demand.LINKED_DOCUMENTS},
    Api.BEDROCK: {Demand.AUDIO_INPUT, Demand.IMAGES_IN_RESULTS},
}
"""Each API of a provider and those demands that a translated request can make of it."""

EASY: Final = sorted(set().union(*MEET.values()))
HARD: Final = sorted({*Demand} - {*EASY, Demand.COUNT, Demand.EMBEDDINGS, Demand.BOUND_THINKING})
BINDING: Final = {
    Demand.STORED_STATE: "stored_state",
    Demand.STORED_FILES: "stored_files",
    Demand.BOUND_THINKING: "bound_thinking",
    Demand.ENCRYPTED_REASONING: "encrypted_reasoning",
}
SURFACES: Final = (
    *([Surface.CHAT] * 6 + [Surface.RESPONSES] * 2 + [Surface.MESSAGES] * 4),
    *(Surface.EMBEDDINGS, Surface.COUNT_TOKENS),
)
LARGEST: Final = 4 * 1024 * 1024
TOO_LARGE: Final = b"x" * (LARGEST + 1)
RESTS: Final = (*([b"}"] * 6), b"x" * LARGEST, TOO_LARGE, TOO_LARGE)
"""Most bodies are small; of the others, one is as large as may go along for a fallback."""


# Worlds


def price(rng: Random) -> Price:
    def rate() -> Rate:
        tiers = ((1000, rng.uniform(0, 90)),) if rng.random() < 0.3 else ()
        return Rate(rng.choice([0.0, 0.1, 3.0, 15.0, 75.0]), tiers)

    return Price(
        rate(),
        rate(),
        cache_read=rate() if rng.random() < 0.4 else None,
        reasoning=rate() if rng.random() < 0.4 else None,
        request_usd=rng.choice([0.0, 0.0, 0.001]),
    )


def model(rng: Random, name: str) -> Model:
    scores = [0.2, 0.5, 0.6, 0.9]
    embeds = rng.random() < 0.15
    able = {f: rng.random() < 0.8 for f in FEATURES if rng.random() < 0.8}
    return Model(
        name=ModelName(name),
        context_window=rng.choice([None, 400, 2000, 10_000, 200_000, 2_000_000]),
        capabilities={Feature.EMBEDDINGS: True}
        if embeds
        else able | ({Feature.EMBEDDINGS: False} if rng.random() < 0.8 else {}),
        family=rng.choice(FAMILIES),
        quality={t: rng.choice(scores) for t in (*TASKS, "default") if rng.random() < 0.4},
    )


def provider(rng: Random, name: str) -> Provider:
    api = rng.choice([*Api, Api.OPENAI, Api.OPENAI, Api.ANTHROPIC])
    more = {Surface.RESPONSES} if api is Api.OPENAI and rng.random() < 0.5 else set()
    return Provider(
        *(ProviderName(name), "h", 80, False, "/v1", "authorization", "Bearer ", False),
        region=rng.choice(REGIONS),
        api=api,
        endpoints=dict.fromkeys(SPEAK[api] | more, "/x"),
        chat_form=ChatForm(rng.choice(["max_tokens", "max_completion_tokens"])),
    )


def targets(rng: Random) -> list[Target]:
    found = []
    providers = [provider(rng, name) for name in ("p", "q", "r")]
    for name in ("m1", "m2", "m3", "m4", "m5", "m6"):
        one = model(rng, name)
        found += [
            Target(
                id=TargetId(f"{provider.name}/{name}"),
                provider=provider,
                model=one,
                upstream_model=UpstreamModel(name),
                weight=rng.choice([0, 1, 1, 5]),
                prices=() if rng.random() < 0.15 else (PricePeriod(price(rng)),),
            )
            for provider in rng.sample(providers, rng.choice([1, 1, 2]))
        ]
    return found


def match(rng: Random) -> Match:
    return Match(
        apps=("lim*",) if rng.random() < 0.2 else (),
        task_types=tuple(rng.sample(TASKS, 2)) if rng.random() < 0.5 else (),
        requested_models=("m1", "else-*") if rng.random() < 0.2 else (),
        input_tokens=TokenRange(*rng.choice([(None, 999), (1000, None)]))
        if rng.random() < 0.4
        else None,
        streaming=rng.choice([None, None, True, False]),
        has=frozenset(rng.sample(FEATURES, 2)) if rng.random() < 0.2 else frozenset(),
    )


def route(rng: Random, name: str, every: list[Target], *, default: bool) -> Route:
    named = rng.sample(every, rng.randint(1, min(6, len(every))))
    first = rng.randint(1, len(named))
    sometimes = rng.random
    return Route(
        name=name,
        match=Match(default=True) if default else match(rng),
        candidates=tuple(named[:first]),
        fallback=tuple(named[first:]),
        objective=rng.choice(list(Objective)),
        require=Requirements(
            quality_min=rng.choice([0.0, 0.5, 0.8]) if sometimes() < 0.3 else None,
            latency_ms_max=rng.choice([50.0, 2000.0]) if sometimes() < 0.2 else None,
            cost_usd_max=rng.choice([0.0001, 0.01, 1.0]) if sometimes() < 0.3 else None,
            region=rng.choice(["eu", "us"]) if sometimes() < 0.2 else None,
        ),
    )


def snapshot(rng: Random) -> Snapshot:
    every = targets(rng)
    models: dict[str, tuple[Target, ...]] = {}
    for one in every:
        models[one.model.name] = (*models.get(one.model.name, ()), one)
    names = [ModelName(name) for name in models]
    routes = [route(rng, f"r{i}", every, default=False) for i in range(rng.randint(0, 3))]
    return Snapshot(
        config="sha256:0",
        providers={},
        targets={one.id: one for one in every},
        models=models | {"alias": models["m2"]},
        offered=tuple(names),
        routes=(*routes, route(rng, "rest", every, default=True)),
        guards={},
        guard_depth=1,
        max_attempts=rng.randint(1, 6),
        honour_requested_model=rng.random() < 0.8,
        allow_unknown_capability=rng.random() < 0.4,
        strip_bound_history=rng.random() < 0.5,
        apps=Apps(
            allowed={
                "limited": frozenset(rng.sample(names, 4)),
                "barred": frozenset(rng.sample(names, 1)),
            }
        ),
    )


def target_view(rng: Random, trouble: float) -> TargetView:
    def in_trouble() -> bool:
        return rng.random() < trouble

    return TargetView(
        breaker=rng.choice([Breaker.OPEN, Breaker.HALF_OPEN]) if in_trouble() else Breaker.CLOSED,
        probing=rng.random() < 0.5,
        not_before=NOW + rng.uniform(0.1, 99) if in_trouble() else rng.choice([0.0, NOW]),
        requests_left=rng.choice([0.0, 0.5]) if in_trouble() else rng.choice([None, 1.0, 50.0]),
        tokens_left=rng.choice([-5.0, 100.0]) if in_trouble() else rng.choice([None, 3000.0, 1e7]),
        ttfb_ms=rng.choice([None, 10.0, 300.0, 3000.0]),
        ms_per_token=rng.choice([None, 0.0, 2.0, 20.0]),
        spiking=rng.random() < 0.2,
        cached_share=rng.choice([0.0, 0.0, 0.4, 1.0]),
        input_tokens_left=50.0 if in_trouble() else None,
        output_tokens_left=50.0 if in_trouble() else None,
        pending=rng.choice([0, 0, 1, 40]),
        stale=rng.random() < 0.3,
        silent=rng.random() < 0.1,
        slow_start=rng.choice([1.0, 1.0, 1.0, 0.1, 0.7]),
    )


def view(rng: Random, of: Snapshot) -> View:
    trouble = rng.choice([0.0, 0.0, 0.05, 0.3, 0.8])
    return View(
        targets={i: target_view(rng, trouble) for i in of.targets if rng.random() < 0.8},
        calibration={Family.GEMINI: Calibration(rng.uniform(0.4, 2.5))},
        output={"chat": Output(rng.choice([20.0, 700.0, 90_000.0]))},
    )


# Requests


def demands(rng: Random) -> frozenset[Demand]:
    found = rng.sample(EASY, 1) if rng.random() < 0.15 else []
    found += rng.sample(HARD, rng.choice([1, 1, 2])) if rng.random() < 0.08 else []
    found += [Demand.BOUND_THINKING] if rng.random() < 0.08 else []
    return frozenset(found)


def payload(rng: Random, surface: Surface) -> Payload:
    if surface is Surface.EMBEDDINGS:
        features = frozenset({Feature.EMBEDDINGS})
        wanted = frozenset({Demand.EMBEDDINGS})
    else:
        features = frozenset(rng.sample(FEATURES, rng.choice([0, 0, 0, 1, 1, 2, 3])))
        counts = {Demand.COUNT} if surface is Surface.COUNT_TOKENS else set()
        wanted = demands(rng) | counts
    return Payload(
        requested_model=RequestedModel(rng.choice(["auto", "m1", "m3", "alias", "else-where"]))
        if rng.random() < 0.4
        else None,
        streaming=rng.random() < 0.5,
        features=features,
        text=rng.choice(TEXTS),
        schemas=TEXTS[1],
        messages=rng.choice([1, 3, 40]),
        parts={f: 1 for f in features if f in {Feature.VISION, Feature.AUDIO, Feature.DOCUMENTS}},
        output_tokens_max=rng.choice([None, None, 1, 300, 9000, 2**53]),
        reasoning_effort="medium" if Feature.REASONING in features else None,
        metadata={"task_type": rng.choice(TASKS)} if rng.random() < 0.5 else {},
        last_turn="",
        rest=rng.choice(RESTS),
        demands=wanted,
    )


def request(rng: Random) -> Request:
    surface = rng.choice(SURFACES)
    return Request("/v1/x", headers(rng), payload(rng, surface), surface)


def headers(rng: Random) -> dict[str, str]:
    said = {
        "x-router-app": rng.choice(APPS),
        "x-router-task": rng.choice(TASKS),
        "x-router-model": rng.choice(["auto", "m2", "m4", "alias"]),
        "x-router-avoid": rng.choice(["p", "m5", "q/m1,r", "m1,m2,m3"]),
        "x-router-max-cost-usd": rng.choice(["0.000001", "0.005", "9"]),
        "x-router-max-latency-ms": rng.choice(["40", "1500", "1e6"]),
        "x-router-no-fallback": rng.choice(["true", "0"]),
    }
    return {name: said[name] for name in rng.sample([*said], rng.choice([0, 0, 1, 1, 2, 3]))}


# The oracle


@dataclass(frozen=True)
class Asked:
    """One request in one world, and what was decided of it."""

    request: Request
    snapshot: Snapshot
    view: View
    decision: Decision

    @property
    def output_tokens(self) -> int:
        assert self.decision.estimate
        return self.decision.estimate.output_tokens


def why_not(asked: Asked, target: Target, size: int) -> set[Reason]:
    """Every reason against sending the request there at all, by the words of ROUTING."""
    return {
        *unable(asked, target, size),
        *untold(asked, target),
        *too_much(asked, target, size),
        *unwanted(asked, target),
    }


def require_of(asked: Asked) -> Requirements:
    return next(r for r in asked.snapshot.routes if r.name == asked.decision.route).require


def unable(asked: Asked, target: Target, size: int) -> Iterator[Reason]:
    wanted = asked.request.payload
    may_be_unknown = asked.snapshot.allow_unknown_capability
    require = require_of(asked)
    if any(target.model.capabilities.get(f, may_be_unknown) is False for f in wanted.features):
        yield Reason.CAPABILITY

    room = size + max(asked.output_tokens, wanted.output_tokens_max or 0)
    if target.model.context_window is None:
        fits = may_be_unknown
    else:
        fits = room * 11 <= target.model.context_window * 10
    if not fits:
        yield Reason.CONTEXT_WINDOW

    here = target.provider.region
    if require.region and here != require.region and (here or not may_be_unknown):
        yield Reason.REGION

    scores = target.model.quality
    task = asked.decision.task.type if asked.decision.task else ""
    score = scores[task] if task in scores else scores.get("default")
    if score is None and require.quality_min is not None and not may_be_unknown:
        yield Reason.QUALITY_FLOOR
    if score is not None and score < (require.quality_min or 0):
        yield Reason.QUALITY_FLOOR


def speaks(asked: Asked, target: Target) -> bool:
    return asked.request.surface in target.provider.endpoints


def untold(asked: Asked, target: Target) -> Iterator[Reason]:
    """What the target's API can't be asked for, or must not be."""
    wanted = set(asked.request.payload.demands)
    if asked.snapshot.strip_bound_history:
        wanted -= {Demand.BOUND_THINKING, Demand.ENCRYPTED_REASONING}
    if not speaks(asked, target) and wanted - MEET[target.provider.api]:
        yield Reason.CAPABILITY
    embeds = target.model.capabilities.get(Feature.EMBEDDINGS, False)
    if embeds and asked.request.surface is not Surface.EMBEDDINGS:
        yield Reason.CAPABILITY


def too_much(asked: Asked, target: Target, size: int) -> Iterator[Reason]:
    require, said = require_of(asked), asked.request.headers
    dollars = [require.cost_usd_max, float(said.get("x-router-max-cost-usd", "inf"))]
    ceiling = min(limit for limit in dollars if limit is not None)
    cost = usd(asked, target, size)
    if cost is None and ceiling < inf and not asked.snapshot.allow_unknown_capability:
        yield Reason.PRICE_UNKNOWN
    if cost is not None and cost > ceiling * (1 + 1e-9):
        yield Reason.PRICE_CEILING

    milliseconds = [require.latency_ms_max, float(said.get("x-router-max-latency-ms", "inf"))]
    seen = asked.view.targets.get(target.id, TargetView())
    if seen.ttfb_ms is not None:
        latency = seen.ttfb_ms + (seen.ms_per_token or 0) * asked.output_tokens
        if latency > min(limit for limit in milliseconds if limit is not None):
            yield Reason.LATENCY_CEILING


def unwanted(asked: Asked, target: Target) -> Iterator[Reason]:
    said = asked.request.headers
    allowed = asked.snapshot.apps.allowed.get(said.get("x-router-app", ""))
    if allowed is not None and target.model.name not in allowed:
        yield Reason.APP_POLICY

    avoided = said.get("x-router-avoid", "").split(",")
    if target.id in avoided or target.provider.name in avoided or target.model.name in avoided:
        yield Reason.AVOIDED


def usd(asked: Asked, target: Target, size: int) -> float | None:
    if asked.request.surface is Surface.COUNT_TOKENS:
        return 0.0
    if not target.prices:
        return None
    price = target.prices[0].price
    out = asked.output_tokens
    thought = min(out, 2000 if asked.request.payload.reasoning_effort else 0)
    cached = size * asked.view.targets.get(target.id, TargetView()).cached_share

    def at(rate: Rate | None, plain: Rate) -> float:
        used = plain if rate is None else rate
        return used.tiers[0][1] if used.tiers and size > used.tiers[0][0] else used.base

    total = at(price.input, price.input) * (size - cached)
    total += at(price.cache_read, price.input) * cached
    total += at(price.output, price.output) * (out - thought)
    total += at(price.reasoning, price.output) * thought
    return total / 1e6 + price.request_usd


def is_available(asked: Asked, target: Target, size: int) -> bool:
    seen = asked.view.targets.get(target.id, TargetView())
    if asked.request.surface is Surface.COUNT_TOKENS:
        size = 0
    return not (
        seen.breaker == "open"
        or (seen.breaker == "half_open" and seen.probing)
        or seen.not_before > NOW
        or (seen.requests_left is not None and seen.requests_left < 1)
        or (seen.tokens_left is not None and seen.tokens_left < size + asked.output_tokens)
        or (seen.input_tokens_left is not None and seen.input_tokens_left < size)
        or (seen.output_tokens_left is not None and seen.output_tokens_left < asked.output_tokens)
    )


def named(asked: Asked) -> list[TargetId]:
    """Whom the route or the client named, in whatever order."""
    snapshot, said = asked.snapshot, asked.request.headers
    route = next(r for r in snapshot.routes if r.name == asked.decision.route)
    payload = asked.request.payload.requested_model if snapshot.honour_requested_model else None
    wanted = said.get("x-router-model") or payload or ""
    pinned = snapshot.models.get(wanted, ())
    fallback = () if said.get("x-router-no-fallback") == "true" else route.fallback
    return [*dict.fromkeys(t.id for t in (*(pinned or route.candidates), *fallback))]


def form(asked: Asked, target: Target) -> object:
    """Two targets of one form are sent the same body, but for the model's name."""
    provider = target.provider
    return speaks(asked, target) or (provider.api, provider.chat_form, target.model.name)


def history(asked: Asked) -> History | None:
    bound = sorted(BINDING[d] for d in asked.request.payload.demands if d in BINDING)
    return History(tuple(bound), asked.snapshot.strip_bound_history) if bound else None


def home(asked: Asked, sizes: dict[Family, int]) -> ProviderName | None:
    """The one provider that may have what is stored; None where nothing is."""
    kept = {"stored_state", "stored_files"}
    kept |= set() if asked.snapshot.strip_bound_history else {"encrypted_reasoning"}
    if kept.isdisjoint(BINDING.get(d, "") for d in asked.request.payload.demands):
        return None
    targets = [c.target for c in asked.decision.candidates]
    able = [t for t in targets if not why_not(asked, t, sizes[t.model.family])]
    return able[0].provider.name if able else None


def check(asked: Asked, sizes: dict[Family, int]) -> list[str]:
    """Holds one decision against the oracle; what was seen, for who counts."""
    decision = asked.decision
    if decision.refusal and decision.refusal.code != "no_eligible_target":
        assert decision.refusal.code == "model_not_found"
        assert decision.chain == ()
        return [decision.refusal.code]
    assert decision.history == history(asked)
    assert [c.target.id for c in decision.candidates] == named(asked)
    sendable: list[Candidate] = []
    at = home(asked, sizes)
    for candidate in decision.candidates:
        target, rejection = candidate.target, candidate.rejection
        size = sizes[target.model.family]
        assert candidate.input_tokens == size
        reasons = why_not(asked, target, size)
        if at not in {None, target.provider.name}:
            reasons.add(Reason.CAPABILITY)
        if rejection and rejection.reason in NOWHERE:
            assert rejection.reason in reasons
            continue
        assert not reasons, (target.id, reasons)
        if rejection is None or rejection.reason is not Reason.BODY_TOO_LARGE:
            assert rejection is None or rejection.reason in NOT_NOW
            assert (rejection is None) == is_available(asked, target, size)
        sendable.append(candidate)
    if sendable:
        assert not decision.refusal
        return check_chain(asked, sendable)
    assert not decision.chain
    if asked.request.surface is Surface.COUNT_TOKENS:
        assert (decision.refusal, decision.why) == (None, COUNTED_HERE)
        return ["counted here"]
    assert decision.refusal
    return ["no_eligible_target"]


def check_chain(asked: Asked, sendable: list[Candidate]) -> list[str]:
    """`sendable` are those that the oracle finds eligible, in the decision's order."""
    decision = asked.decision
    chain = [c.target.id for c in decision.chain]
    now = [c.target.id for c in sendable if is_available(asked, c.target, c.input_tokens)]
    able = now or [c.target.id for c in sendable]
    alone = asked.request.headers.get("x-router-no-fallback") == "true"
    length = 1 if alone else asked.snapshot.max_attempts
    assert set(chain) <= set(able)
    forms = {c.target.id: form(asked, c.target) for c in sendable}
    if len(asked.request.payload.rest) > LARGEST:
        fit = [name for name in able if forms[name] == forms[chain[0]]]
    else:
        fit = able
    assert set(chain) <= set(fit)
    assert len(set(chain)) == len(chain)
    assert len(chain) == min(len(fit), length)
    assert ("least bad" in decision.why) == (not now)
    left = {c.target.id for c in sendable if is_too_large(c)}
    assert left <= set(able) - set(fit)
    if len(chain) < length:
        assert left == set(able) - set(fit)
    mixed = len({forms[name] for name in chain}) > 1
    return [
        "sent" if now else "least bad",
        *(["fallback"] if len(chain) > 1 else []),
        *(["of several dialects"] if mixed else []),
        *(["translated"] if forms[chain[0]] is not True else []),
    ]


def is_too_large(candidate: Candidate) -> bool:
    return candidate.rejection is not None and candidate.rejection.reason is Reason.BODY_TOO_LARGE


def decided(request: Request, snapshot: Snapshot, view: View, draw: int) -> Asked:
    return Asked(request, snapshot, view, decide(request, snapshot, view, now=NOW, draw=draw))


@cache
def outcome_of(batch: int) -> Counter[str]:
    """Runs one batch of worlds, held against the oracle; how often what was seen."""
    rng = Random(f"never-{batch}")
    seen: Counter[str] = Counter()
    for _ in range(WORLDS // BATCHES):
        config = snapshot(rng)
        state = view(rng, config)
        for _ in range(REQUESTS_PER_WORLD):
            one = request(rng)
            draw = rng.getrandbits(DRAW_BITS)
            asked = decided(one, config, state, draw)
            sizes = {f: input_tokens(one.payload, f, state) for f in FAMILIES}
            seen.update(check(asked, sizes))
            seen.update(rejection.reason for rejection in asked.decision.rejected)
            seen["requests"] += 1
            assert decided(one, config, state, draw).decision == asked.decision
    return seen


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_ineligible_target_is_ever_chosen_and_the_same_question_has_one_answer(
    batch: int,
) -> None:
    assert outcome_of(batch)["requests"] == WORLDS * REQUESTS_PER_WORLD // BATCHES


def test_the_generated_requests_meet_everything_that_can_happen() -> None:
    seen: Counter[str] = Counter()
    for batch in range(BATCHES):
        seen.update(outcome_of(batch))
    assert seen["requests"] >= 100_000
    for what in (
        *("sent", "least bad", "fallback", "no_eligible_target", "model_not_found"),
        *("of several dialects", "translated", "counted here"),
    ):
        assert seen[what] >= 1000, (what, seen)
    for reason in NOWHERE | NOT_NOW | {Reason.BODY_TOO_LARGE}:
        assert seen[reason] >= 1000, (reason, seen)


def test_the_oracle_tells_a_target_that_cannot_serve() -> None:
    """A decision whose chain was tampered with does not pass."""
    rng = Random("tampered")
    config = replace(snapshot(rng), max_attempts=6)
    tampered = 0
    for _ in range(300):
        one = request(rng)
        asked = decided(one, config, View(), 0)
        bad = [c for c in asked.decision.candidates if c.rejection and not is_too_large(c)]
        if not asked.decision.chain or not bad:
            continue
        sizes = {f: input_tokens(one.payload, f, View()) for f in FAMILIES}
        check(asked, sizes)
        forged = replace(asked.decision, chain=(*asked.decision.chain[:-1], bad[0]))
        overlooked = tuple(replace(c, rejection=None) for c in asked.decision.candidates)
        for wrong in (forged, replace(asked.decision, candidates=overlooked)):
            with pytest.raises(AssertionError):
                check(replace(asked, decision=wrong), sizes)
        tampered += 1
    assert tampered > 20
