"""One HTTP exchange as a state machine: an event of Envoy's in, the one reply to it out.

    headers ──► body ──► finished                     (every target speaks the client's dialect)
       │          └────► answer's head ──► its body … ──► finished        (one of them does not)
       └─────────────────────┴──► finished    (answered at once, or nothing of it is wanted here)

Pure: no sockets, no clock, no protobuf. Every event is answered exactly once, since Envoy forwards
a request unmodified when a stream ends without an answer; what can't be routed is answered with an
error in the client's dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

from extproc.decide import decide, refused, refused_unread
from extproc.dialects import MODELS_PATH, anthropic, surface_of
from extproc.dialects.answer import Envelope
from extproc.dialects.conversation import UnreadableError
from extproc.dialects.registry import (
    ANTHROPIC_ANSWERS,
    CLIENTS,
    OPENAI_ANSWERS,
    PROVIDERS,
    ClientDialect,
    RouterAnswers,
)
from extproc.limit_headers import limit_headers
from extproc.plan import Forward, forward
from extproc.policy.overrides import honoured
from extproc.policy.request import Request
from extproc.policy.requested_model import AUTO, unknown_model
from extproc.snapshot import Snapshot
from extproc.state.view import View
from extproc.translation import JSON, AnswerHead, Piece, Translation
from extproc.vocabulary import (
    Decision,
    ModelName,
    ProviderName,
    Refusal,
    ReportedModel,
    Surface,
    Target,
    TargetId,
)

DECISION_HEADER: Final = "x-router-decision"
TARGET_HEADER: Final = "x-router-target"
"""On an answer, Envoy's own: a provider's is taken off."""


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """`headers` are lower case, pseudo-headers included; a repeated one is joined by commas."""

    headers: Mapping[str, str]
    end_of_stream: bool


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The whole body: Envoy buffers it."""

    body: bytes


@dataclass(frozen=True, slots=True)
class AnswerHeaders:
    """The head of the answer. `from_provider` is False of one that Envoy made itself."""

    headers: Mapping[str, str]
    end_of_stream: bool
    from_provider: bool


@dataclass(frozen=True, slots=True)
class AnswerBody:
    """The next bytes of the answer, or all of it, as was asked for with `TakeAnswer`."""

    body: bytes
    end_of_stream: bool


Event = RequestHeaders | RequestBody | AnswerHeaders | AnswerBody

UNKNOWN_PATH: Final = Refusal(
    "not_found",
    404,
    "unknown_url",
    "Nothing is here. POST to /v1/chat/completions, /v1/responses, /v1/embeddings or /v1/messages, "
    "or GET /v1/models.",
)


@dataclass(frozen=True, slots=True)
class Proceed:
    """Send the body too; nothing is changed yet.

    With `awaits_answer` the head of the answer too, unless the exchange has finished by then.
    """

    awaits_answer: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """End the exchange here, with this answer; `decision` is the one that refused, if one did.

    `told` is as in `Rewritten`, of an answer that stands for a target's.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    decision: Decision | None = None
    told: bytes | None = None


@dataclass(frozen=True, slots=True)
class PassOn:
    """The answer goes to the client as it is, and nothing more of it comes here."""


@dataclass(frozen=True, slots=True)
class TakeAnswer:
    """Send the answer's body here: as it comes or, if `buffered`, whole. `headers` are added."""

    buffered: bool
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What the client gets of the answer instead.

    `told` is for the access log (docs/data-plane.md). `headers` can be set only where the answer
    was buffered.
    """

    body: bytes
    last: bool
    told: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Reply = Proceed | Forward | Answer | PassOn | TakeAnswer | Rewritten


class Exchange:
    """One HTTP exchange under one Snapshot; `view` gives what is seen of the targets at a time."""

    __slots__ = (
        "_expected",
        "_headers",
        "_path",
        "_receive",
        "_snapshot",
        "_surface",
        "_translation",
        "_view",
    )

    def __init__(self, snapshot: Snapshot, view: Callable[[float], View]) -> None:
        self._snapshot = snapshot
        self._view = view
        self._path = ""
        self._surface = Surface.CHAT
        self._headers: Mapping[str, str] = {}
        self._expected: _Expected | None = None
        self._translation: Translation | None = None
        # Not bound to self: a cycle of references would wait for the garbage collector.
        self._receive: Callable[[Exchange, Event, float, int], Reply] = Exchange._on_headers

    @property
    def finished(self) -> bool:
        return self._receive is Exchange._on_nothing

    @property
    def request_id(self) -> str:
        """What Envoy calls this request in its access logs; empty before the headers came."""
        return self._headers.get("x-request-id", "")

    def error(self, refusal: Refusal) -> Answer:
        """`refusal` in the client's dialect; in OpenAI's before the headers came."""
        return answered(refusal, CLIENTS[self._surface].answers)

    def receive(self, event: Event, *, now: float, draw: int) -> Reply:
        """The reply to `event`. `now` and `draw` are as `decide` takes them."""
        if isinstance(event, AnswerHeaders) and self._expected is None:
            # Envoy answered by itself before anything was decided, a body that is too large, say.
            self._receive = Exchange._on_nothing
            return PassOn()
        return self._receive(self, event, now, draw)

    def _on_headers(self, event: Event, now: float, draw: int) -> Reply:
        assert isinstance(event, RequestHeaders), event
        self._receive = Exchange._on_nothing
        self._headers = event.headers
        self._path = event.headers.get(":path", "").partition("?")[0]
        method = event.headers.get(":method", "")
        surface = surface_of(self._path)
        if surface is None:
            return self._not_for_a_model(method)
        self._surface = surface
        if method != "POST":
            return _allowing("POST", self._unread(_wrong_method(method, "POST"), now, draw))
        if event.headers.get("content-encoding", "identity").lower() != "identity":
            return self._unread(_encoded(), now, draw)
        if event.end_of_stream:
            return self._unread(CLIENTS[surface].empty_body, now, draw)
        self._receive = Exchange._on_body
        return Proceed(awaits_answer=surface in self._snapshot.translated)

    def _not_for_a_model(self, method: str) -> Answer:
        # Both APIs have the same path for models; only Anthropic's clients say which version.
        for_anthropic = "anthropic-version" in self._headers
        answers = ANTHROPIC_ANSWERS if for_anthropic else OPENAI_ANSWERS
        if not MODELS_PATH.fullmatch(self._path):
            return answered(UNKNOWN_PATH, answers)
        if method != "GET":
            return _allowing("GET", answered(_wrong_method(method, "GET"), answers))
        return self._models(answers)

    def _on_body(self, event: Event, now: float, draw: int) -> Reply:
        assert isinstance(event, RequestBody), event
        self._receive = Exchange._on_nothing
        view = self._view(now)  # not sooner: an upload takes its time
        decision, request = read_and_decide(
            self._path,
            self._headers,
            event.body,
            self._snapshot,
            view,
            now=now,
            draw=draw,
            surface=self._surface,
        )
        if decision.refusal:
            return self._refused(decision)
        if not decision.chain:
            counted = anthropic.render_token_count(decision.candidates[0].input_tokens)
            return _with_decision(_json(200, counted), decision)
        assert request is not None  # else there would be a refusal
        try:
            sent = forward(decision, request, event.body, self._snapshot)
            if sent.translated:
                self._expected = _expected(decision, request, sent, event.body)
                self._receive = Exchange._on_answer
        except UnreadableError as error:
            refusal = Refusal("invalid_request", 400, "invalid_value", str(error), error.param)
            return self._refused(replace(refused(decision, refusal), chain=()))
        return sent

    def _on_answer(self, event: Event, now: float, _draw: int) -> Reply:
        assert isinstance(event, AnswerHeaders), event
        assert self._expected is not None
        self._receive = Exchange._on_nothing
        translation = self._expected.translation(event)
        if translation is None:
            return PassOn()
        self._translation = translation
        if event.end_of_stream:
            piece = translation.whole(b"")
            status = piece.status or int(event.headers[":status"])
            return Answer(status, _as_json(), piece.body, told=piece.told)
        self._receive = Exchange._on_answer_body
        limits = limit_headers(event.headers, self._surface, now)
        return TakeAnswer(translation.buffered, translation.content_type, limits)

    def _on_answer_body(self, event: Event, _now: float, _draw: int) -> Reply:
        assert isinstance(event, AnswerBody), event
        translation = self._translation
        assert translation is not None
        if not translation.buffered:
            piece = translation.piece(event.body, last=event.end_of_stream)
            if event.end_of_stream:
                self._receive = Exchange._on_nothing
            return Rewritten(piece.body, event.end_of_stream, piece.told)
        self._receive = Exchange._on_nothing
        piece = translation.whole(event.body)
        return Rewritten(piece.body, True, piece.told, _corrected(piece))  # noqa: FBT003

    def _on_nothing(self, event: Event, _now: float, _draw: int) -> Reply:
        raise AssertionError(f"{type(event).__name__} after the exchange has finished")

    def _unread(self, refusal: Refusal, now: float, draw: int) -> Answer:
        """A request to a model that its head alone rules out: it has a record as any other."""
        return self._refused(refused_unread(self._snapshot, refusal, now=now, draw=draw))

    def _refused(self, decision: Decision) -> Answer:
        assert decision.refusal
        return _with_decision(self.error(decision.refusal), decision)

    def _models(self, answers: RouterAnswers) -> Answer:
        listed = [(ModelName(AUTO), ProviderName("router")), *_offers(self._snapshot)]
        name = unquote(self._path.rpartition("/v1/models")[2].lstrip("/"))
        if not name:
            return _json(200, answers.models(listed))
        owners = dict(listed)
        if name in self._snapshot.models:
            owners[ModelName(name)] = self._snapshot.models[name][0].provider.name
        if name not in owners:
            return answered(unknown_model(name, self._snapshot.models), answers)
        return _json(200, answers.model(ModelName(name), owners[ModelName(name)]))


@dataclass(frozen=True, slots=True)
class _Expected:
    """What will be needed if the answer is that of one of the `targets`, all of another dialect."""

    client: ClientDialect
    envelope: Envelope
    wants_stream: bool
    targets: Mapping[TargetId, Target]

    def translation(self, answer: AnswerHeaders) -> Translation | None:
        """None where the answer is right as it is."""
        target = self.targets.get(TargetId(answer.headers.get(TARGET_HEADER, "")))
        if target is None or not answer.from_provider:
            return None
        return Translation(
            self.client,
            PROVIDERS[target.provider.api],
            self.envelope,
            ReportedModel(target.upstream_model),
            AnswerHead(
                int(answer.headers[":status"]),
                answer.headers.get("content-type", ""),
                self.wants_stream,
            ),
        )


def _expected(decision: Decision, request: Request, sent: Forward, body: bytes) -> _Expected:
    client = CLIENTS[request.surface]
    assert client.translated is not None  # else no target of another dialect would be eligible
    envelope = client.translated.envelope(body, decision.id, int(decision.time))
    return _Expected(client, envelope, request.payload.streaming, sent.translated)


def read_and_decide(  # noqa: PLR0913  what a decision is made of
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    snapshot: Snapshot,
    view: View,
    *,
    now: float,
    draw: int,
    surface: Surface = Surface.CHAT,
) -> tuple[Decision, Request | None]:
    """A request's bytes to its decision; what could not be read has a refusal and no request."""
    if len(body) > snapshot.body_bytes_max:
        too_large = _too_large(snapshot.body_bytes_max)
        return refused_unread(snapshot, too_large, now=now, draw=draw), None
    payload = CLIENTS[surface].read(body)
    if isinstance(payload, Refusal):
        return refused_unread(snapshot, payload, now=now, draw=draw), None
    request = Request(path, honoured(headers, snapshot.allowed_overrides), payload, surface)
    return decide(request, snapshot, view, now=now, draw=draw), request


def _offers(snapshot: Snapshot) -> list[tuple[ModelName, ProviderName]]:
    return [(name, snapshot.models[name][0].provider.name) for name in snapshot.offered]


def answered(refusal: Refusal, answers: RouterAnswers = OPENAI_ANSWERS) -> Answer:
    """The refusal in the client's dialect."""
    return _json(refusal.status, answers.refusal(refusal))


def _corrected(piece: Piece) -> Mapping[str, str]:
    """The head of an answer that turned out to be another."""
    return {} if piece.status is None else {":status": str(piece.status), "content-type": JSON}


def _with_decision(answer: Answer, decision: Decision) -> Answer:
    headers = {**answer.headers, DECISION_HEADER: decision.id}
    return replace(answer, headers=headers, decision=decision)


def _json(status: int, body: bytes) -> Answer:
    return Answer(status, _as_json(), body)


def _as_json() -> Mapping[str, str]:
    return {"content-type": JSON}


def _wrong_method(method: str, right: str) -> Refusal:
    message = f"{method} is not supported here; use {right}."
    return Refusal("invalid_request", 405, "method_not_supported", message)


def _allowing(method: str, answer: Answer) -> Answer:
    return replace(answer, headers={**answer.headers, "allow": method})


def _encoded() -> Refusal:
    message = "Request bodies must be sent uncompressed, without `content-encoding`."
    return Refusal("invalid_request", 415, "unsupported_encoding", message)


def _too_large(bytes_max: int) -> Refusal:
    message = f"The request body is larger than {bytes_max} bytes."
    return Refusal("too_large", 413, "request_too_large", message)
