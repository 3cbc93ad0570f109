"""One HTTP exchange as a state machine: an event of Envoy's in, the one reply to it out.

    headers ──► body ──► finished
       └──────────────────┘   (answered at once: no payload to wait for, or none that is wanted)

Pure: no sockets, no clock, no protobuf. Every event is answered exactly once, since Envoy forwards
a request unmodified when a stream ends without an answer; what can't be routed is answered with an
error in the client's dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from extproc.decide import decide, refused_unread
from extproc.dialects import CHAT_COMPLETIONS_PATH, MODELS_PATH, openai_chat
from extproc.dialects.payload import Payload, model_prefix
from extproc.policy.overrides import honoured
from extproc.policy.request import Request
from extproc.policy.requested_model import AUTO, unknown_model
from extproc.snapshot import Snapshot
from extproc.state.view import View
from extproc.vocabulary import Decision, ModelName, ProviderName, Refusal, Target, TargetId

DECISION_HEADER: Final = "x-router-decision"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """`headers` are lower case, pseudo-headers included; a repeated one is joined by commas."""

    headers: Mapping[str, str]
    end_of_stream: bool


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The whole body: Envoy buffers it."""

    body: bytes


Event = RequestHeaders | RequestBody

UNKNOWN_PATH: Final = Refusal(
    "not_found",
    404,
    "unknown_url",
    "Nothing is here. POST to /v1/chat/completions, or GET /v1/models.",
)


@dataclass(frozen=True, slots=True)
class Proceed:
    """Send the body too; nothing is changed yet."""


class Step(NamedTuple):
    """One target of a chain: Envoy tries it through `guard`.

    The body is sent on to `endpoint`, as it is or, with a `prefix`, under that other head.
    """

    target: TargetId
    guard: str
    endpoint: str
    prefix: str | None


class Plan(NamedTuple):
    """What Envoy needs for every attempt; the first `prefix_bytes` of the body are its head."""

    decision: str
    route: str
    prefix_bytes: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request on: this body, these headers set.

    `chain`, the attempts in order, and `plan` become dynamic metadata (docs/data-plane.md).
    """

    body: bytes
    headers: Mapping[str, str]
    chain: tuple[Step, ...]
    plan: Plan
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """End the exchange here, with this answer; `decision` is the one that refused, if one did."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    decision: Decision | None = None


Reply = Proceed | Forward | Answer


class Exchange:
    """One HTTP exchange under one Snapshot; `view` gives what is seen of the targets at a time."""

    __slots__ = ("_headers", "_path", "_receive", "_snapshot", "_view")

    def __init__(self, snapshot: Snapshot, view: Callable[[float], View]) -> None:
        self._snapshot = snapshot
        self._view = view
        self._path = ""
        self._headers: Mapping[str, str] = {}
        # Not bound to self: a cycle of references would wait for the garbage collector.
        self._receive: Callable[[Exchange, Event, float, int], Reply] = Exchange._on_headers

    @property
    def finished(self) -> bool:
        return self._receive is Exchange._on_nothing

    @property
    def request_id(self) -> str:
        """What Envoy calls this request in its access logs; empty before the headers came."""
        return self._headers.get("x-request-id", "")

    def receive(self, event: Event, *, now: float, draw: int) -> Reply:
        """The reply to `event`. `now` and `draw` are as `decide` takes them."""
        reply = self._receive(self, event, now, draw)
        if not isinstance(reply, Proceed):
            self._receive = Exchange._on_nothing
        return reply

    def _on_headers(self, event: Event, _now: float, _draw: int) -> Reply:
        assert isinstance(event, RequestHeaders), event
        self._headers = event.headers
        self._path = event.headers.get(":path", "").partition("?")[0]
        method = event.headers.get(":method", "")
        if not CHAT_COMPLETIONS_PATH.fullmatch(self._path):
            if not MODELS_PATH.fullmatch(self._path):
                return refused(UNKNOWN_PATH)
            return self._models() if method == "GET" else refused(_wrong_method(method, "GET"))
        if method != "POST":
            return refused(_wrong_method(method, "POST"))
        if event.headers.get("content-encoding", "identity").lower() != "identity":
            return refused(_encoded())
        if event.end_of_stream:
            return refused(openai_chat.EMPTY_BODY)
        self._receive = Exchange._on_body
        return Proceed()

    def _on_body(self, event: Event, now: float, draw: int) -> Reply:
        assert isinstance(event, RequestBody), event
        view = self._view(now)  # not sooner: an upload takes its time
        decision, payload = read_and_decide(
            self._path, self._headers, event.body, self._snapshot, view, now=now, draw=draw
        )
        if decision.refusal:
            return _with_decision(refused(decision.refusal), decision)
        assert payload is not None  # else there would be a refusal
        return _forward(decision, payload, self._snapshot)

    def _on_nothing(self, event: Event, _now: float, _draw: int) -> Reply:
        raise AssertionError(f"{type(event).__name__} after the exchange has finished")

    def _models(self) -> Answer:
        listed = [(ModelName(AUTO), ProviderName("router")), *_offers(self._snapshot)]
        name = unquote(self._path.rpartition("/v1/models")[2].lstrip("/"))
        if not name:
            return _json(200, openai_chat.render_models(listed))
        owners = dict(listed)
        if name in self._snapshot.models:
            owners[ModelName(name)] = self._snapshot.models[name][0].provider.name
        if name not in owners:
            return refused(unknown_model(name, self._snapshot.models))
        return _json(200, openai_chat.render_model(ModelName(name), owners[ModelName(name)]))


def read_and_decide(  # noqa: PLR0913  what a decision is made of
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    snapshot: Snapshot,
    view: View,
    *,
    now: float,
    draw: int,
) -> tuple[Decision, Payload | None]:
    """A request's bytes to its decision; without a payload the decision is a refusal."""
    if len(body) > snapshot.body_bytes_max:
        too_large = _too_large(snapshot.body_bytes_max)
        return refused_unread(snapshot, too_large, now=now, draw=draw), None
    payload = openai_chat.read(body)
    if isinstance(payload, Refusal):
        return refused_unread(snapshot, payload, now=now, draw=draw), None
    request = Request(path, honoured(headers, snapshot.allowed_overrides), payload)
    return decide(request, snapshot, view, now=now, draw=draw), payload


def _offers(snapshot: Snapshot) -> list[tuple[ModelName, ProviderName]]:
    return [(name, snapshot.models[name][0].provider.name) for name in snapshot.offered]


def _forward(decision: Decision, payload: Payload, snapshot: Snapshot) -> Forward:
    assert decision.route is not None  # else there would be a refusal
    chain = [candidate.target for candidate in decision.chain]
    prefix = model_prefix(chain[0].upstream_model).encode()
    body = prefix + payload.rest
    headers = {
        "content-length": str(len(body)),
        # What clients write by default (curl's form type, say) is not what providers accept.
        "content-type": _JSON,
        # Past its end, `priority_group` repeats the last target; so no more tries than targets.
        "x-envoy-max-retries": str(len(chain) - 1),
    }
    timeout_s = max([_first_byte_timeout_s(target, snapshot) for target in chain])
    if timeout_s != snapshot.first_byte_timeout_s:
        headers["x-envoy-upstream-rq-per-try-timeout-ms"] = str(round(timeout_s * 1000))
    plan = Plan(decision.id, decision.route, len(prefix))
    return Forward(body, headers, _steps(chain, snapshot), plan, decision)


def _steps(chain: Sequence[Target], snapshot: Snapshot) -> tuple[Step, ...]:
    """An attempt a target; the body is made for the first, so that only others need a prefix."""
    ids = tuple([target.id for target in chain])
    first_model = chain[0].upstream_model
    steps = []
    for place, target in enumerate(chain):
        guard = _guard(ids[place : place + snapshot.guard_depth], snapshot)
        model = target.upstream_model
        prefix = None if model == first_model else model_prefix(model)
        steps.append(Step(target.id, guard, openai_chat.ENDPOINT, prefix))
    return tuple(steps)


def _guard(window: tuple[TargetId, ...], snapshot: Snapshot) -> str:
    """The guard of the longest head of `window` that Envoy has one for; a lone target always has.

    An order that is not a route's usual one (the least bad first, say) may have none as deep.
    """
    while window not in snapshot.guards:
        window = window[:-1]
    return snapshot.guards[window]


def _first_byte_timeout_s(target: Target, snapshot: Snapshot) -> float:
    return target.provider.first_byte_timeout_s or snapshot.first_byte_timeout_s


def refused(refusal: Refusal) -> Answer:
    """The refusal in the client's dialect."""
    return _json(refusal.status, openai_chat.render_refusal(refusal))


def _with_decision(answer: Answer, decision: Decision) -> Answer:
    headers = {**answer.headers, DECISION_HEADER: decision.id}
    return replace(answer, headers=headers, decision=decision)


def _json(status: int, body: bytes) -> Answer:
    return Answer(status, {"content-type": _JSON}, body)


def _wrong_method(method: str, right: str) -> Refusal:
    message = f"{method} is not supported here; use {right}."
    return Refusal("invalid_request", 405, "method_not_supported", message)


def _encoded() -> Refusal:
    message = "Request bodies must be sent uncompressed, without `content-encoding`."
    return Refusal("invalid_request", 415, "unsupported_encoding", message)


def _too_large(bytes_max: int) -> Refusal:
    message = f"The request body is larger than {bytes_max} bytes."
    return Refusal("too_large", 413, "request_too_large", message)
