"""One exchange, event by event: `>>` goes in, `<<` must come out.

assert Playbook(snapshot) >> headers() << Proceed() >> body(...) << Sent("openai/gpt-4o")
"""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from configs import CHAT, body_of

from extproc.exchange import (
    Answer,
    Event,
    Exchange,
    Proceed,
    Reply,
    RequestBody,
    RequestHeaders,
    Rewritten,
    TakeAnswer,
)
from extproc.plan import Forward
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW

NOW, DRAW = 1_767_225_600.0, 7


def headers(
    path: str = CHAT, method: str = "POST", *, end_of_stream: bool = False, **more: str
) -> RequestHeaders:
    others = {name.replace("_", "-"): value for name, value in more.items()}
    return RequestHeaders({":method": method, ":path": path, **others}, end_of_stream)


def body(**fields: object) -> RequestBody:
    return RequestBody(body_of(**fields))


@dataclass(frozen=True)
class Sent:
    """A `Forward` in short: to these targets, in this order, these of them in another dialect."""

    chain: tuple[str, ...]
    translated: frozenset[str]

    def __init__(self, *chain: str, translated: Iterable[str] = ()) -> None:
        object.__setattr__(self, "chain", chain)
        object.__setattr__(self, "translated", frozenset(translated))


@dataclass(frozen=True)
class Refused:
    """An `Answer` that is an error, in short."""

    status: int
    code: str
    saying: str = ""


@dataclass(frozen=True)
class Broke:
    """An exchange that did not take an event."""

    error: type[Exception]


Shown = Reply | Sent | Refused | Broke


class Playbook:
    """Runs an exchange through events and tells where its replies are others than expected."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._expected: list[Event | Shown] = []

    def __rshift__(self, event: Event) -> "Playbook":
        self._expected.append(event)
        return self

    def __lshift__(self, reply: Shown) -> "Playbook":
        self._expected.append(reply)
        return self

    def __bool__(self) -> bool:
        exchange = Exchange(self._snapshot, lambda _: EMPTY_VIEW)
        actual: list[Event | Shown] = []
        for event, reply in zip(self._expected[::2], self._expected[1::2], strict=True):
            assert isinstance(event, Event), event
            assert not isinstance(reply, Event), reply
            actual += [event, _as_told(_reply(exchange, event), reply)]
        if actual != self._expected:
            lines = difflib.ndiff([*map(_line, self._expected)], [*map(_line, actual)])
            raise AssertionError("expected (-) and got (+):\n" + "\n".join(lines))
        replies = [entry for entry in actual[1::2] if not isinstance(entry, Broke)]
        assert exchange.finished == bool(replies and _is_over(replies[-1]))
        return True


def _reply(exchange: Exchange, event: Event) -> Reply | Broke:
    try:
        return exchange.receive(event, now=NOW, draw=DRAW)
    except AssertionError as error:
        return Broke(type(error))


def _as_told(reply: Reply | Broke, expected: Shown) -> Shown:
    """`reply` in as few words as `expected` has."""
    match reply, expected:
        case Forward(), Sent():
            return Sent(*(step.target for step in reply.chain), translated=reply.translated)
        case Proceed(), Proceed(awaits_answer=False):
            return Proceed()  # in short: whether the answer is awaited has a test of its own
        case Answer(), Refused():
            error = json.loads(reply.body)["error"]
            saying = expected.saying if expected.saying in error["message"] else error["message"]
            return Refused(reply.status, error.get("code", error["type"]), saying)
    return reply


def _is_over(reply: Event | Shown) -> bool:
    """Nothing more is taken, but where the answer may come in another dialect."""
    match reply:
        case Proceed() | TakeAnswer():
            return False
        case Forward():
            return not reply.translated
        case Sent():
            return not reply.translated
        case Rewritten():
            return reply.last
    return True


def _line(entry: Event | Shown) -> str:
    return f"{'>>' if isinstance(entry, Event) else '<<'} {entry!r:.300}"
