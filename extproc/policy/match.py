"""Which route a request takes: the first whose conditions all hold."""

from __future__ import annotations

from collections.abc import Iterable

from extproc.policy.request import Request
from extproc.snapshot import Match, Route, Snapshot, TokenRange


def match_route(request: Request, task_type: str, input_tokens: int, snapshot: Snapshot) -> Route:
    """The catch-all is last and always matches: a Snapshot without one does not compile."""
    return next(
        route for route in snapshot.routes if matches(route.match, request, task_type, input_tokens)
    )


def matches(match: Match, request: Request, task_type: str, input_tokens: int) -> bool:
    return match.default or (
        (not match.task_types or task_type in match.task_types)
        and _within(input_tokens, match.input_tokens)
        and _any(match.requested_models, request.payload.requested_model)
        and _any(match.paths, request.path)
        and all(
            _any(patterns, request.headers.get(name)) for name, patterns in match.headers.items()
        )
    )


def _within(tokens: int, wanted: TokenRange | None) -> bool:
    if wanted is None:
        return True
    return (wanted.min is None or tokens >= wanted.min) and (
        wanted.max is None or tokens <= wanted.max
    )


def _any(patterns: Iterable[str], value: str | None) -> bool:
    patterns = tuple(patterns)
    return not patterns or (value is not None and any(fits(pattern, value) for pattern in patterns))


def fits(pattern: str, value: str) -> bool:
    """Whether `pattern` is the whole of `value`; each `*` in it stands for any characters.

    In linear time, where a regular expression with several `.*` is not: `value` is a client's.
    """
    head, *pieces = pattern.split("*")
    if not pieces:
        return value == head
    if not value.startswith(head):
        return False
    position, end = len(head), len(value) - len(pieces[-1])
    for piece in pieces[:-1]:
        found = value.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return position <= end and value.endswith(pieces[-1])
