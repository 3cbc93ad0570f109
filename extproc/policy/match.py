"""Which route a request takes: the first whose conditions all hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

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
    return not patterns or (
        value is not None and any(_pattern(pattern).fullmatch(value) for pattern in patterns)
    )


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    """`*` stands for any run of characters; everything else for itself."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
