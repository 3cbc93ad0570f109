"""Anthropic's errors, both ways. Docs: platform.claude.com/docs/en/api/errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.upstream_error import upstream_error
from extproc.vocabulary import Refusal


class ErrorObject(Struct):
    type: str | None = None
    message: str | None = None


class _ErrorBody(Struct):
    error: ErrorObject | None = None


_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUSES: Final[Mapping[str, int]] = {type_: status for status, type_ in _TYPES.items()}
_KINDS: Final[Mapping[int, str]] = {402: "permission"}

_body = msgspec.json.Decoder(_ErrorBody)


def render_refusal(refusal: Refusal) -> bytes:
    """The error body that Anthropic's SDKs read; in a stream, the data of an `error` event."""
    otherwise = "api_error" if refusal.status >= 500 else "invalid_request_error"
    error = {"type": _TYPES.get(refusal.status, otherwise), "message": refusal.message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": None})


def read_error(status: int, body: bytes) -> Refusal:
    """What a provider's error of any form says; its words go to the client only."""
    try:
        error = _body.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = None
    return _refusal(status, error)


def error_midway(error: ErrorObject | None) -> Refusal:
    """What an `error` event in a stream says, under the status that its type has else."""
    return _refusal(_STATUSES.get((error and error.type) or "", 502), error)


def _refusal(status: int, error: ErrorObject | None) -> Refusal:
    message = (error and error.message) or f"The provider answered with status {status}."
    return upstream_error(status, message, kinds=_KINDS)
