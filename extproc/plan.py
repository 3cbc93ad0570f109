"""What Envoy is told of a decision: the body to send, and what each target of the chain needs.

A target that speaks the client's dialect gets the client's bytes under its own model; any other
what its dialect makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from extproc.dialects.conversation import Conversation, NotTakenError, Wording
from extproc.dialects.payload import endpoint_of, model_prefix
from extproc.dialects.registry import CLIENTS, PROVIDERS
from extproc.policy.eligibility import is_native
from extproc.policy.request import Request
from extproc.snapshot import Snapshot
from extproc.vocabulary import Api, Decision, Reason, Rejection, Target, TargetId

JSON: Final = "application/json"

_CLIENTS_HEADERS: Final[Mapping[Api, tuple[str, ...]]] = {
    Api.ANTHROPIC: (
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
    ),
    Api.OPENAI: ("openai-beta",),
    Api.AZURE: ("openai-beta",),
}
"""What a client says beside its payload, which means nothing to those of another API."""


class Step(NamedTuple):
    """One target of a chain: Envoy tries it through `guard`.

    The body is sent on to `endpoint`, as it is or, with a `prefix`, under that other head; or, if
    it is `carried`, not at all: this target has its own in `Forward.bodies`. `headers` are for this
    target alone.
    """

    target: TargetId
    guard: str
    endpoint: str
    prefix: str | None
    carried: bool = False
    headers: tuple[tuple[str, str], ...] = ()


class Plan(NamedTuple):
    """What Envoy needs for every attempt; the first `prefix_bytes` of the body are its head."""

    decision: str
    route: str
    prefix_bytes: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request on: this body, these headers set.

    `chain`, the attempts in order, `plan` and `bodies` become dynamic metadata
    (docs/data-plane.md). An answer of one of the `translated` targets is in another dialect.
    """

    body: bytes
    headers: Mapping[str, str]
    chain: tuple[Step, ...]
    plan: Plan
    decision: Decision | None = None
    bodies: Mapping[TargetId, bytes] = field(default_factory=dict)
    translated: Mapping[TargetId, Target] = field(default_factory=dict)


def forward(decision: Decision, request: Request, body: bytes, snapshot: Snapshot) -> Forward:
    """`body` is the client's, and `request` what was read of it.

    Raises:
        UnreadableError: a target needs the body translated, and it is not as its API says; or none
            of them takes what it holds.

    """
    route = decision.route
    assert route is not None  # else there would be a refusal
    targets = [candidate.target for candidate in decision.chain]
    found = list(zip(targets, _wordings(targets, request, body), strict=True))
    written = [(t, wording) for t, wording in found if isinstance(wording, Wording)]
    left = {t.id: wording for t, wording in found if isinstance(wording, NotTakenError)}
    if not written:
        raise next(iter(left.values()))
    if left:
        decision = _without(decision, left)
    chain, wordings = [target for target, _ in written], [wording for _, wording in written]
    first = wordings[0]
    prefix = first.prefix.encode()
    sent = prefix + first.rest
    set_headers = {
        "content-length": str(len(sent)),
        # What clients write by default (curl's form type, say) is not what providers accept.
        "content-type": JSON,
        # Past its end, `priority_group` repeats the last target; so no more tries than targets.
        "x-envoy-max-retries": str(len(chain) - 1),
    }
    timeout_s = max([_first_byte_timeout_s(target, snapshot) for target in chain])
    if timeout_s != snapshot.first_byte_timeout_s:
        set_headers["x-envoy-upstream-rq-per-try-timeout-ms"] = str(round(timeout_s * 1000))
    steps = _steps(chain, wordings, request, snapshot)
    return Forward(
        sent,
        set_headers,
        steps,
        Plan(decision.id, route, len(prefix)),
        decision,
        bodies={
            step.target: wording.prefix.encode() + wording.rest
            for step, wording in zip(steps, wordings, strict=True)
            if step.carried
        },
        translated={
            target.id: target for target in chain if not is_native(target, request.surface)
        },
    )


def _without(decision: Decision, left: Mapping[TargetId, NotTakenError]) -> Decision:
    """The decision without those targets that do not take what the request holds."""
    rejections = {id_: Rejection(id_, Reason.CAPABILITY, e.detail) for id_, e in left.items()}
    first, why = decision.chain[0].target.id, decision.why
    return replace(
        decision,
        candidates=tuple(
            replace(c, rejection=c.rejection or rejections.get(c.target.id))
            for c in decision.candidates
        ),
        chain=tuple(c for c in decision.chain if c.target.id not in left),
        why=f"{first} does not take what it holds; else {why}" if first in left else why,
    )


def _wordings(
    chain: Sequence[Target], request: Request, body: bytes
) -> list[Wording | NotTakenError]:
    """What each target is to be sent, or what of it the target does not take."""
    surface, rest = request.surface, request.payload.rest
    client = CLIENTS[surface]
    if request.payload.unsigned_thinking and client.without_foreign:
        rest = client.without_foreign(rest)
    conversation: Conversation | None = None
    found: list[Wording | NotTakenError] = []
    for target in chain:
        if is_native(target, surface):
            prefix = model_prefix(target.upstream_model)
            found.append(Wording(endpoint_of(target, surface), prefix, rest))
            continue
        if conversation is None:
            assert client.translated is not None  # else the target would not be eligible
            conversation = client.translated.read_request(body)
        try:
            found.append(PROVIDERS[target.provider.api].write_request(conversation, target))
        except NotTakenError as error:
            found.append(error)
    return found


def _steps(
    chain: Sequence[Target], wordings: Sequence[Wording], request: Request, snapshot: Snapshot
) -> tuple[Step, ...]:
    """An attempt a target; the body is made for the first, so that only others need a prefix."""
    ids = tuple([target.id for target in chain])
    first = wordings[0]
    steps = []
    for place, wording in enumerate(wordings):
        guard = _guard(ids[place : place + snapshot.guard_depth], snapshot)
        carried = wording.rest is not first.rest and wording.rest != first.rest
        prefix = None if carried or wording.prefix == first.prefix else wording.prefix
        headers = _headers(chain[place], request)
        steps.append(Step(ids[place], guard, wording.endpoint, prefix, carried, headers))
    return tuple(steps)


def _headers(target: Target, request: Request) -> tuple[tuple[str, str], ...]:
    """What its API wants beside the body: the client's own where the body is the client's."""
    headers = target.provider.api_headers
    if is_native(target, request.surface):
        names = _CLIENTS_HEADERS.get(target.provider.api, ())
        told = {name: request.headers[name] for name in names if name in request.headers}
        headers = {**headers, **told} if told else headers
    return tuple(headers.items())


def _guard(window: tuple[TargetId, ...], snapshot: Snapshot) -> str:
    """The guard of the longest head of `window` that Envoy has one for; a lone target always has.

    An order that is not a route's usual one (the least bad first, say) may have none as deep.
    """
    while window not in snapshot.guards:
        window = window[:-1]
    return snapshot.guards[window]


def _first_byte_timeout_s(target: Target, snapshot: Snapshot) -> float:
    return target.provider.first_byte_timeout_s or snapshot.first_byte_timeout_s
