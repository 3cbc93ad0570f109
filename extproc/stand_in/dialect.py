"""What a dialect is to the server: how it reads a question, writes an answer, and behaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from extproc.stand_in.answer import Answer
from extproc.stand_in.errors import ApiError
from extproc.stand_in.limiter import Spelling
from extproc.stand_in.question import Asked, Question
from extproc.stand_in.sample import Json

EVENT_STREAM = "text/event-stream; charset=utf-8"


class Writer(Protocol):
    """Writes the answer to one question."""

    @property
    def stream_type(self) -> str: ...

    def whole(self, answer: Answer) -> bytes: ...

    def stream(self, answer: Answer) -> Iterator[bytes]:
        """The answer in the chunks that it is sent in."""

    def error_event(self, error: ApiError, sent: int) -> bytes:
        """The error as a chunk, after `sent` others."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How a provider behaves, whatever it is asked.

    `check_key` raises `ApiError`. `request_headers` are those that name the request, by an id of
    32 hexadecimal digits; `error` is the body of an answer that is an error.
    """

    check_key: Callable[[Mapping[str, str]], None]
    request_headers: Callable[[str], dict[str, str]]
    error: Callable[[ApiError, str], bytes]
    error_headers: Callable[[ApiError], dict[str, str]] = lambda _error: {}
    limits: Spelling = None
    says_retry_after: bool = True


@dataclass(frozen=True, slots=True)
class Dialect:
    """`read` raises `ApiError` (400) for what the provider's API would refuse as well."""

    manners: Manners
    read: Callable[[Asked], tuple[Question, Writer]]


def event(data: Mapping[str, Json], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"
