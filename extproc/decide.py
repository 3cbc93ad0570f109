"""The decision: which targets a request goes to, in which order, and why.

A pure function of its arguments. Time and chance come in as numbers, so the same arguments give
the same decision, always: that is what makes routing testable without running anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Final

from extproc.dialects.payload import Payload
from extproc.policy.app import app_of
from extproc.policy.availability import badness, unavailable
from extproc.policy.carriage import carried
from extproc.policy.draw import DRAW_BITS, Draw
from extproc.policy.eligibility import Need, checks_of, ineligible
from extproc.policy.estimate import input_tokens, output_tokens_of, reasoning_tokens_of
from extproc.policy.history import at_home, binding, history_of
from extproc.policy.match import match_route
from extproc.policy.overrides import Overrides, overrides_of
from extproc.policy.rank import eased_in, ranked
from extproc.policy.request import Request
from extproc.policy.requested_model import avoided, pinned_targets
from extproc.policy.task import task_of
from extproc.policy.weigh import weighed
from extproc.snapshot import Objective, Route, Snapshot
from extproc.state.view import View
from extproc.text.tokens import Family
from extproc.vocabulary import (
    Candidate,
    Choice,
    Decision,
    Estimate,
    Refusal,
    Rejection,
    Surface,
    Target,
)

COUNTED_HERE: Final = "no target counts tokens, so the router's own estimate is the answer"

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_CHARS: Final = 26
_PAIRS: Final = ["".join(pair) for pair in product(_CROCKFORD, repeat=2)]
_PAIR_SHIFTS: Final = range(5 * (_ULID_CHARS - 2), -1, -10)


def decide(request: Request, snapshot: Snapshot, view: View, *, now: float, draw: int) -> Decision:
    """Where `request` goes under `snapshot`, or why it goes nowhere.

    `view` is what has been seen of the targets, `now` Unix time in seconds, and `draw` holds
    `DRAW_BITS` random bits. The steps are those of a route through the policy: who asks, for what,
    how much; which route; who can serve, who can serve now; in which order.
    """
    payload = request.payload
    decided = partial(_begun(snapshot, now=now, draw=draw), requested_model=payload.requested_model)
    app = app_of(request, snapshot.apps)
    if isinstance(app, Refusal):
        return refused(decided(), app)
    decided = partial(decided, app=app)
    asked = overrides_of(request.headers)
    if isinstance(asked, Refusal):
        return refused(decided(), asked)
    task = task_of(payload, asked.task, snapshot.classifier)
    if isinstance(task, Refusal):
        return refused(decided(), task)

    tokens_in = input_tokens(payload, Family.DEFAULT, view)
    counting = request.surface is Surface.COUNT_TOKENS
    tokens_out = 0 if counting else output_tokens_of(payload, task.type, tokens_in, view)
    size = Estimate(tokens_in, tokens_out)
    route = match_route(request, app, task.type, size, snapshot)
    decided = partial(decided, task=task, estimate=size, route=route.name, counting=counting)

    pinned = pinned_targets(asked.model, payload.requested_model, route, snapshot)
    if isinstance(pinned, Refusal):
        return refused(decided(), pinned)
    first = route.candidates if pinned is None else pinned
    fallback = () if asked.no_fallback else _besides(first, route)

    history = history_of(payload.demands, strip=snapshot.strip_bound_history)
    decided = partial(decided, history=history)
    need = _need(
        request, route, asked, snapshot, app=app, task_type=task.type, output_tokens=tokens_out
    )
    every = at_home(_weighed(payload, (*first, *fallback), need, view, now), need.demands)
    if not _unrejected(every):
        return _nobody(decided(candidates=every), route)
    objective = route.objective if pinned is None else Objective.ORDER
    current = _as_available(every, need, view, now)
    chance = Draw(draw)
    ahead = ranked(_unrejected(current[: len(first)]), objective, view, chance)
    usual = [*ahead, *_unrejected(current[len(first) :])]
    chain = eased_in(usual, view, chance)
    if ahead:
        choice = Choice(route.objective) if pinned is None else Choice.REQUESTED
    elif chain:
        choice = Choice.FALLBACK
    else:
        choice = Choice.LEAST_BAD
        chain = sorted(_unrejected(every), key=lambda c: badness(view.of(c.target.id), now))
    why = _why(choice, route, len(ahead or chain))
    if usual and chain[0] is not usual[0]:
        why = f"{usual[0].target.id} is still in slow start; else {why}"
    length = 1 if asked.no_fallback else snapshot.max_attempts
    kept, left = carried(chain, request.surface, len(payload.rest), length)
    candidates = _replaced(current, left) if left else current
    return decided(candidates=candidates, chain=tuple(kept), why=why, choice=choice)


def _nobody(decision: Decision, route: Route) -> Decision:
    """The decision when no target is eligible. Tokens can be counted here, if not as well."""
    if decision.counting:
        return replace(decision, why=COUNTED_HERE)
    return refused(decision, _nothing_eligible(route, decision.rejected))


def _replaced(
    candidates: Iterable[Candidate], instead: Iterable[Candidate]
) -> tuple[Candidate, ...]:
    by_target = {candidate.target.id: candidate for candidate in instead}
    return tuple([by_target.get(candidate.target.id, candidate) for candidate in candidates])


def _besides(first: tuple[Target, ...], route: Route) -> tuple[Target, ...]:
    """The route's fallback without what is tried before it."""
    if not route.fallback:
        return ()
    named = {target.id for target in first}
    return tuple(target for target in route.fallback if target.id not in named)


def _need(  # noqa: PLR0913  the request, the client, the route, the app and the config all ask
    request: Request,
    route: Route,
    asked: Overrides,
    snapshot: Snapshot,
    *,
    app: str | None,
    task_type: str,
    output_tokens: int,
) -> Need:
    """What all of them ask for; a client can lower a route's ceilings, never raise them."""
    return Need(
        features=request.payload.features,
        output_tokens=output_tokens,
        output_tokens_max=request.payload.output_tokens_max,
        task_type=task_type,
        allow_unknown=snapshot.allow_unknown_capability,
        quality_min=route.require.quality_min,
        latency_ms_max=_least(route.require.latency_ms_max, asked.latency_ms_max),
        cost_usd_max=_least(route.require.cost_usd_max, asked.cost_usd_max),
        region=route.require.region,
        allowed_models=snapshot.apps.allowed.get(app) if app else None,
        avoid=avoided(asked.avoid, snapshot),
        surface=request.surface,
        demands=binding(request.payload.demands, strip=snapshot.strip_bound_history),
    )


def _weighed(
    payload: Payload, targets: Iterable[Target], need: Need, view: View, now: float
) -> tuple[Candidate, ...]:
    """Every target with what it would cost this request, and why it can't serve if it can't."""
    thought = reasoning_tokens_of(payload)
    checks = checks_of(need)
    sizes: dict[Family, Estimate] = {}
    candidates = []
    for target in targets:
        family = target.model.family
        size = sizes.get(family)
        if size is None:
            size = Estimate(input_tokens(payload, family, view), need.output_tokens)
            sizes[family] = size
        candidate = weighed(target, view.of(target.id), size, thought, now)
        if need.surface is Surface.COUNT_TOKENS:
            candidate = replace(candidate, expected_cost_usd=0.0)
        rejection = ineligible(candidate, need, checks)
        candidates.append(replace(candidate, rejection=rejection) if rejection else candidate)
    return tuple(candidates)


def _as_available(
    candidates: Iterable[Candidate], need: Need, view: View, now: float
) -> tuple[Candidate, ...]:
    """The same, those rejected too that could serve but not now."""
    current = []
    for candidate in candidates:
        target = candidate.target.id
        tokens_in = 0 if need.surface is Surface.COUNT_TOKENS else candidate.input_tokens
        if not candidate.rejection and (
            rejection := unavailable(target, view.of(target), tokens_in, need.output_tokens, now)
        ):
            current.append(replace(candidate, rejection=rejection))
        else:
            current.append(candidate)
    return tuple(current)


def _unrejected(candidates: Iterable[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if not candidate.rejection]


def _begun(snapshot: Snapshot, *, now: float, draw: int) -> partial[Decision]:
    """A decision of which nothing is known yet but its id; call it with what was found out."""
    return partial(Decision, id=decision_id(now, draw), time=now, config=snapshot.config)


def refused_unread(snapshot: Snapshot, refusal: Refusal, *, now: float, draw: int) -> Decision:
    """The decision about a request that could not be read."""
    return refused(_begun(snapshot, now=now, draw=draw)(), refusal)


def refused(decision: Decision, refusal: Refusal) -> Decision:
    return replace(decision, refusal=refusal, why=refusal.message)


def decision_id(now: float, draw: int) -> str:
    """A ULID: 48 bits of milliseconds, 80 of chance, in Crockford's base 32."""
    number = (int(now * 1000) << DRAW_BITS) | draw
    return "".join([_PAIRS[number >> shift & 1023] for shift in _PAIR_SHIFTS])


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _nothing_eligible(route: Route, rejected: Iterable[Rejection]) -> Refusal:
    reasons = "; ".join(f"{rejection.target} {rejection.detail}" for rejection in rejected)
    message = f"No model of route `{route.name}` can serve this request: {reasons}."
    return Refusal("no_eligible_target", 422, "no_eligible_target", message)


_WHYS: Final = {
    Choice.ORDER: "first of {count} eligible{above}",
    Choice.COST: "cheapest of {count} eligible{above}",
    Choice.LATENCY: "faster of two drawn from {count} eligible{above}",
    Choice.WEIGHTED: "drawn by weight from {count} eligible{above}",
    Choice.REQUESTED: "the model that the client asked for",
    Choice.FALLBACK: "a fallback of route {route}: none of its first choices can serve now",
    Choice.LEAST_BAD: "nothing is available, so the least bad of {count} eligible",
}


def _why(choice: Choice, route: Route, count: int) -> str:
    floor = route.require.quality_min
    above = "" if floor is None else f" above quality {floor:g}"
    return _WHYS[choice].format(count=count, above=above, route=route.name)
