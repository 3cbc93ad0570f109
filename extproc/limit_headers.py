"""What an answer says of rate limits, in the words of a client of the other dialect.

OpenAI's clients read `x-ratelimit-remaining-requests` and the like, and how long until it resets;
Anthropic's read `anthropic-ratelimit-requests-remaining`, and when. `retry-after` is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from extproc.state.instants import duration_s, rfc_3339, rfc_3339_of
from extproc.vocabulary import Surface

_KINDS: Final = ("requests", "tokens")
_COUNTS: Final = ("limit", "remaining")
_OF_ANTHROPIC: Final = frozenset({Surface.MESSAGES, Surface.COUNT_TOKENS})


def limit_headers(
    headers: Mapping[str, str], surface: Surface, now: float
) -> tuple[tuple[str, str], ...]:
    """Those to add to an answer with `headers`; what can't be read of them is left out."""
    found: dict[str, str] = {}
    for kind in _KINDS:
        names = {what: _names(kind, what, surface) for what in (*_COUNTS, "reset")}
        for what in _COUNTS:
            theirs, ours = names[what]
            said = headers.get(theirs, "")
            if said.isascii() and said.isdecimal():
                found[ours] = said
        theirs, ours = names["reset"]
        reset = _reset(headers.get(theirs), surface, now)
        if reset is not None:
            found[ours] = reset
    return tuple(found.items())


def _names(kind: str, what: str, surface: Surface) -> tuple[str, str]:
    """The provider's name for it, and the client's."""
    openais, anthropics = f"x-ratelimit-{what}-{kind}", f"anthropic-ratelimit-{kind}-{what}"
    return (openais, anthropics) if surface in _OF_ANTHROPIC else (anthropics, openais)


def _reset(said: str | None, surface: Surface, now: float) -> str | None:
    if surface in _OF_ANTHROPIC:
        wait_s = duration_s(said)
        return None if wait_s is None else rfc_3339_of(now + wait_s)
    at = rfc_3339(said)
    return None if at is None else f"{max(0, math.ceil(at - now))}s"
