"""A tool call's arguments where an API wants an object, which not every model has written."""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.dialects.conversation import JsonText

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder(msgspec.Raw)

WRAPPED: Final = "arguments"
"""The field that holds what is no object."""


def is_object(text: JsonText) -> bool:
    try:
        _object.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def as_object(arguments: JsonText, *, parsed: bool = False) -> msgspec.Raw:
    """`arguments` if they are an object, `{}` if they are empty, else an object that holds them.

    They are held as text or, if `parsed`, as the value that they are where they are JSON.
    """
    if not arguments.strip():
        return msgspec.Raw(b"{}")
    if is_object(arguments):
        return msgspec.Raw(arguments.encode())
    try:
        held: object = _value.decode(arguments) if parsed else arguments
    except (msgspec.DecodeError, RecursionError):
        held = arguments
    return msgspec.Raw(msgspec.json.encode({WRAPPED: held}))
