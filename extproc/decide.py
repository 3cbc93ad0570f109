"""The decision: which targets a request goes to, in which order, and why.

A pure function of its arguments. Time and chance come in as numbers, so the same arguments give
the same decision, always: that is what makes routing testable without running anything.
"""

from __future__ import annotations

from typing import Final

from extproc.policy.eligibility import eligible
from extproc.policy.estimate import estimate
from extproc.policy.match import match_route
from extproc.policy.request import Request
from extproc.policy.requested_model import first_choices
from extproc.policy.task import task_of
from extproc.snapshot import Route, Snapshot
from extproc.vocabulary import Decision, Estimate, Refusal, Rejection, Task

DRAW_BITS: Final = 80
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_CHARS: Final = 26


def decide(request: Request, snapshot: Snapshot, *, now: float, draw: int) -> Decision | Refusal:
    """Where `request` goes under `snapshot`, or why it goes nowhere.

    `now` is Unix time in seconds; `draw` holds `DRAW_BITS` random bits.
    """
    payload = request.payload
    task = task_of(request, header_allowed="task" in snapshot.allowed_overrides)
    if isinstance(task, Refusal):
        return task
    size = estimate(payload)
    route = match_route(request, task.type, size.input_tokens, snapshot)
    first = first_choices(payload.requested_model, route, snapshot)
    if isinstance(first, Refusal):
        return first
    wanted = {target.id: target for target in (*first, *route.fallback)}
    able, rejected = eligible(
        wanted.values(), payload.features, size, allow_unknown=snapshot.allow_unknown_capability
    )
    if not able:
        return _nothing_eligible(route, rejected)
    return Decision(
        id=decision_id(now, draw),
        route=route.name,
        requested_model=payload.requested_model,
        task=task,
        estimate=size,
        chain=able[: snapshot.max_attempts],
        rejected=rejected,
        why=_why(route, task, size, len(able), len(wanted), pinned=first is not route.candidates),
    )


def decision_id(now: float, draw: int) -> str:
    """A ULID: 48 bits of milliseconds, 80 of chance, in Crockford's base 32."""
    number = (int(now * 1000) << DRAW_BITS) | draw
    return "".join(_CROCKFORD[number >> 5 * i & 31] for i in reversed(range(_ULID_CHARS)))


def _nothing_eligible(route: Route, rejected: tuple[Rejection, ...]) -> Refusal:
    reasons = "; ".join(f"{rejection.target} {rejection.detail}" for rejection in rejected)
    message = f"No model of route `{route.name}` can serve this request: {reasons}."
    return Refusal("no_eligible_target", 422, "no_eligible_target", message, rejected=rejected)


def _why(  # noqa: PLR0913  a sentence has many parts
    route: Route, task: Task, size: Estimate, able: int, wanted: int, *, pinned: bool
) -> str:
    choice = "requested model, then fallbacks of" if pinned else "order of"
    told = "" if task.source == "none" else f" for {task.type}"
    return (
        f"{choice} route {route.name}{told}, about {size.input_tokens} input tokens: "
        f"{able} of {wanted} eligible"
    )
