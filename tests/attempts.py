"""Attempts and outcomes for tests: one that went well, unless a test says otherwise."""

from dataclasses import replace
from itertools import count

from extproc.outcome import Attempt, Failure
from extproc.vocabulary import TargetId

START = 1_767_225_600.0
A, B, C, D = (TargetId(f"home/{name}") for name in "abcd")

_ids = count()


def attempt(
    target: TargetId = A,
    *,
    at: float = 0.0,
    failure: Failure | None = None,
    status: int | None = 200,
    ttfb_ms: float = 100.0,
    request_id: str | None = None,
    number: int = 1,
) -> Attempt:
    """One that began `at` seconds after the start and took as long as its first byte."""
    answered = status is not None
    return Attempt(
        request_id=f"of-nobody-here-{next(_ids)}" if request_id is None else request_id,
        number=number,
        target=target,
        began=START + at,
        status=status,
        failure=failure,
        ttfb_ms=ttfb_ms if answered else None,
        duration_ms=ttfb_ms,
    )


def failed(target: TargetId = A, *, at: float = 0.0, request_id: str | None = None) -> Attempt:
    one = attempt(target, at=at, status=503, request_id=request_id)
    return replace(one, failure=Failure.STATUS)
