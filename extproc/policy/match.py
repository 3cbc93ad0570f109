"""Which route a request takes: the first whose conditions all hold."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.policy.request import Request
from extproc.snapshot import Match, Route, Snapshot, TokenRange
from extproc.vocabulary import Estimate


def match_route(
    request: Request, app: str | None, task_type: str, size: Estimate, snapshot: Snapshot
) -> Route:
    """The catch-all is last and always matches: a Snapshot without one does not compile."""
    return next(
        route for route in snapshot.routes if matches(route.match, request, app, task_type, size)
    )


def matches(
    match: Match, request: Request, app: str | None, task_type: str, size: Estimate
) -> bool:
    payload = request.payload
    return match.default or (
        (not match.task_types or task_type in match.task_types)
        and (not match.apps or any_of(match.apps, app))
        and (match.streaming is None or match.streaming == payload.streaming)
        and (not match.has or not match.has.isdisjoint(payload.features))
        and _within(size.input_tokens, match.input_tokens)
        and _within(size.output_tokens, match.output_tokens)
        and (not match.requested_models or any_of(match.requested_models, payload.requested_model))
        and (not match.paths or any_of(match.paths, request.path))
        and _all_of(match.headers, request.headers)
        and _all_of(match.metadata, payload.metadata)
    )


def any_of(patterns: tuple[str, ...], value: str | None) -> bool:
    """Whether one of `patterns` fits the whole of `value`; `*` stands for any characters."""
    return value is not None and any(fits(pattern, value) for pattern in patterns)


def _all_of(wanted: Mapping[str, tuple[str, ...]], given: Mapping[str, str]) -> bool:
    return all(any_of(patterns, given.get(name)) for name, patterns in wanted.items())


def _within(tokens: int, wanted: TokenRange | None) -> bool:
    if wanted is None:
        return True
    return (wanted.min is None or tokens >= wanted.min) and (
        wanted.max is None or tokens <= wanted.max
    )


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
