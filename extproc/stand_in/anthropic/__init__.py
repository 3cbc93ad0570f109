"""Anthropic's messages API.

https://docs.anthropic.com/en/api/messages, .../messages-count-tokens and .../errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.stand_in.anthropic import messages
from extproc.stand_in.anthropic.answer import error_object
from extproc.stand_in.dialect import Dialect, Manners
from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai.manners import bears
from extproc.stand_in.sample import Object


def _check_key(headers: Mapping[str, str]) -> None:
    """The SDKs send a bearer key since API version 2026-10-21; before, they sent `x-api-key`."""
    if not (headers.get("x-api-key", "").strip() or bears(headers)):
        raise ApiError(401, "x-api-key header is required")


def _error(error: ApiError, request_id: str) -> bytes:
    body: Object = {
        "type": "error",
        "error": error_object(error),
        "request_id": f"req_{request_id}",
    }
    return msgspec.json.encode(body)


ANTHROPIC: Final = Manners(
    check_key=_check_key,
    request_headers=lambda request_id: {"request-id": f"req_{request_id}"},
    error=_error,
    limits="anthropic",
)
MESSAGES: Final = Dialect(ANTHROPIC, messages.read)
COUNT_TOKENS: Final = Dialect(ANTHROPIC, messages.read_count)
