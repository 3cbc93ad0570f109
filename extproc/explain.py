"""A request written as JSON, decided on as if it had come in: what `explain` and `test` share."""

from __future__ import annotations

import msgspec

from extproc.decide import refused_unread
from extproc.exchange import (
    UNKNOWN_PATH,
    Answer,
    Exchange,
    Proceed,
    RequestBody,
    RequestHeaders,
)
from extproc.plan import Forward
from extproc.snapshot import Snapshot
from extproc.state.view import View
from extproc.vocabulary import Decision

DEFAULT_PATH = "/v1/chat/completions"


class WrittenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A request with what surrounds its payload. `body` is the payload as it was written."""

    body: msgspec.Raw
    path: str = DEFAULT_PATH
    headers: dict[str, str] = {}


class RequestError(ValueError):
    """Not a request that can be explained; the message says why."""


def written_request(text: bytes) -> WrittenRequest:
    """`text` is a payload, or an object of `body` and, if wanted, `path` and `headers`.

    A payload that is no JSON object is still a request: to be refused is its explanation.
    """
    try:
        outer = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return WrittenRequest(body=msgspec.Raw(text))
    if "body" not in outer or "messages" in outer:
        return WrittenRequest(body=msgspec.Raw(text))
    try:
        return msgspec.json.decode(text, type=WrittenRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"not an object of path, headers and body: {error}") from None


def explain(
    request: WrittenRequest, snapshot: Snapshot, view: View, *, now: float, draw: int
) -> Decision:
    """What would be decided about `request`: by the exchange that it would be, to the end."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers |= {":method": "POST", ":path": request.path}
    exchange = Exchange(snapshot, lambda _: view)
    reply = exchange.receive(RequestHeaders(headers, end_of_stream=False), now=now, draw=draw)
    if isinstance(reply, Proceed):
        reply = exchange.receive(RequestBody(bytes(request.body)), now=now, draw=draw)
    if isinstance(reply, Answer | Forward) and reply.decision:
        return reply.decision
    return refused_unread(snapshot, UNKNOWN_PATH, now=now, draw=draw)
