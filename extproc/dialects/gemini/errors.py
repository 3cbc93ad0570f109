"""Errors of Google's APIs: google.rpc.Status, in an object or in a list of one."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.upstream_error import upstream_error
from extproc.vocabulary import Refusal

_BAD_KEY: Final = "API_KEY_INVALID"
_KINDS_OF_BAD_KEY: Final = {400: "authentication"}


class _Detail(Struct):
    reason: str | None = None


class Status(Struct):
    """`code` is the HTTP status."""

    code: int | None = None
    message: str | None = None
    details: msgspec.Raw = msgspec.Raw(b"null")


class _Body(Struct):
    error: Status


_body = msgspec.json.Decoder(_Body | list[_Body])
_details = msgspec.json.Decoder(list[_Detail] | None)


def read_error(status: int, body: bytes) -> Refusal:
    """What the provider says of its refusal, whatever it sends."""
    try:
        found = _body.decode(body)
    except (ValueError, RecursionError):
        return refusal_of(status, Status())
    if isinstance(found, list):
        return refusal_of(status, found[0].error if found else Status())
    return refusal_of(status, found.error)


def refusal_of(status: int, error: Status) -> Refusal:
    message = error.message or "The provider gave no reason."
    kinds = _KINDS_OF_BAD_KEY if status == 400 and _is_bad_key(error) else {}
    return upstream_error(status, message, kinds=kinds)


def status_of(error: Status) -> int:
    """The HTTP status that an error names which comes in an answer of status 200."""
    return error.code if error.code and 400 <= error.code <= 599 else 502


def _is_bad_key(error: Status) -> bool:
    """A wrong key is a 400 here; only google.rpc.ErrorInfo among the details says so."""
    try:
        details = _details.decode(error.details) or []
    except (ValueError, RecursionError):
        return False
    return any(detail.reason == _BAD_KEY for detail in details)
