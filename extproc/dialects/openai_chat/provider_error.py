"""The errors of OpenAI's API and of those like it, before an answer and in the midst of one."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.openai_chat.written import NULL, is_null, lenient
from extproc.dialects.upstream_error import upstream_error
from extproc.vocabulary import Refusal

BODY_BYTES_MAX: Final = 1024 * 1024
"""No more of an error is looked at."""

_KINDS: Final = {402: "permission", 408: "upstream_failed"}
_BROKEN: Final = 502


class _Fault(Struct):
    """One of what FastAPI finds wrong with a request, and where."""

    msg: str
    loc: list[str | int] = []


class _Error(Struct):
    """`detail` is FastAPI's word for the message.

    Mistral has a text as `message`, a list of faults, or an object with them as its `detail`.
    """

    message: Raw = NULL
    code: Raw = NULL
    detail: Raw = NULL
    error: Raw = NULL


_error = msgspec.json.Decoder(_Error)
_errors = msgspec.json.Decoder(list[_Error])
_faults = msgspec.json.Decoder(list[_Fault])
_text = msgspec.json.Decoder(str)
_number = msgspec.json.Decoder(int)


def read_error(status: int, body: bytes) -> Refusal:
    """What the provider says is wrong: any bytes, and the status as it came.

    `{"error": {…}}`, but also a bare error (vLLM), its text alone, or a list of one (Google).
    """
    return _refusal(status, _unwrapped(Raw(body[:BODY_BYTES_MAX])))


def midway_error(written: Raw) -> Refusal:
    """The same for an error within an answer of status 200, which may say what it would be."""
    error = _unwrapped(written)
    status = lenient(_number, error.code) or _BROKEN
    return _refusal(status if 400 <= status <= 599 else _BROKEN, error)


def _unwrapped(written: Raw) -> _Error:
    """An error is an object, or no more than its message."""
    outer = lenient(_error, written)
    if outer is None:
        outer = next(iter(lenient(_errors, written) or ()), _Error(message=written))
    if is_null(outer.error):
        return outer
    return lenient(_error, outer.error) or _Error(message=outer.error)


def _refusal(status: int, error: _Error) -> Refusal:
    message = _words(error.message) or _words(error.detail)
    code = lenient(_text, error.code) or ""
    wordless = f"The provider answered with status {status}."
    return upstream_error(status, message or wordless, code, kinds=_KINDS)


def _words(written: Raw) -> str:
    """A text, or what faults say."""
    inner = lenient(_error, written)
    written = inner.detail if inner else written
    faults = lenient(_faults, written) or []
    said = [": ".join(filter(None, (_place(fault), fault.msg))) for fault in faults]
    return lenient(_text, written) or "; ".join(said)


def _place(fault: _Fault) -> str:
    return ".".join(map(str, fault.loc))
