"""A provider's error as the value a client is answered with, whichever API told it.

Its words go to the client and nowhere else: never into a log, a metric or a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from extproc.vocabulary import Refusal

MESSAGE_CHARS_MAX: Final = 2000
"""Of the provider's own words."""

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KINDS: Final = {
    401: "authentication",
    403: "permission",
    404: "not_found",
    413: "too_large",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
_NO_MORE: Final[Mapping[int, str]] = MappingProxyType({})


def upstream_error(
    status: int, message: str, *codes: str, kinds: Mapping[int, str] = _NO_MORE
) -> Refusal:
    """The first of `codes` that is an identifier counts; `kinds` is what one API means besides."""
    otherwise = "invalid_request" if 400 <= status <= 499 else "upstream_failed"
    return Refusal(
        kinds.get(status) or _KINDS.get(status, otherwise),
        status,
        next((code for code in codes if _CODE.fullmatch(code)), "upstream_error"),
        message[:MESSAGE_CHARS_MAX],
    )
