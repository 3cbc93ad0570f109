"""A provider's error as the value a client is answered with, whichever API told it.

Its code is one of OpenAI's, the only API whose clients act on codes (docs: "Error codes"); codex,
for one, waits on `server_is_overloaded`, and agents shorten what is said on
`context_length_exceeded`.

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

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_KINDS: Final = {
    401: "authentication",
    403: "permission",
    404: "not_found",
    413: "too_large",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
_CODES: Final = {
    "authentication": "invalid_api_key",
    "permission": "permission_denied",
    "not_found": "not_found",
    "too_large": "request_too_large",
    "rate_limited": "rate_limit_exceeded",
    "overloaded": "server_is_overloaded",
    "upstream_failed": "upstream_error",
    "invalid_request": "invalid_request",
}
_OUT_OF_MONEY: Final = 402

TOO_LONG: Final = "context_length_exceeded"
_TOO_LONG: Final = re.compile(
    r"prompt is too long|exceed context limit"  # Anthropic
    r"|exceeds the maximum number of tokens"  # Gemini
    r"|input is too long|too many input tokens"  # Bedrock
    r"|maximum context length"  # vLLM, OpenRouter, Mistral
    r"|exceeds? the (model's )?context window",
    re.IGNORECASE,
)
_OF_A_MODEL: Final = re.compile(r"\bmodels?\b", re.IGNORECASE)
_NO_MORE: Final[Mapping[int, str]] = MappingProxyType({})


def upstream_error(
    status: int, message: str, code: str = "", *, kinds: Mapping[int, str] = _NO_MORE
) -> Refusal:
    """`code` is what an API says that has OpenAI's; `kinds` is what one API means besides."""
    otherwise = "invalid_request" if 400 <= status <= 499 else "upstream_failed"
    kind = kinds.get(status) or _KINDS.get(status, otherwise)
    if kind in ("invalid_request", "too_large") and _TOO_LONG.search(message):
        kind, code = "invalid_request", TOO_LONG
    elif not _CODE.fullmatch(code):
        code = _code_of(kind, status, message)
    return Refusal(kind, status, code, message[:MESSAGE_CHARS_MAX])


def _code_of(kind: str, status: int, message: str) -> str:
    if status == _OUT_OF_MONEY:
        return "insufficient_quota"
    if kind == "not_found" and _OF_A_MODEL.search(message):
        return "model_not_found"
    return _CODES[kind]
