"""The `input` of a tool call, which Anthropic wants to be an object, whatever a model wrote."""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.dialects.conversation import JsonText

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder(msgspec.Raw)

WRAPPED: Final = "arguments"
"""The field that holds what was no object: the value, or the text where it was no JSON either."""


def is_object(text: JsonText) -> bool:
    try:
        _object.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def input_of(arguments: JsonText) -> msgspec.Raw:
    """`arguments` if they are an object, `{}` if they are empty, else an object that holds them."""
    if not arguments.strip():
        return msgspec.Raw(b"{}")
    if is_object(arguments):
        return msgspec.Raw(arguments.encode())
    try:
        value: object = _value.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        value = arguments
    return msgspec.Raw(msgspec.json.encode({WRAPPED: value}))
