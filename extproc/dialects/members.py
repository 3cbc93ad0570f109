"""The top level of a JSON object as byte spans, so that one field can change and the rest stay.

msgspec finds where each value ends, at C speed; this walk only steps from member to member. It
costs one regular expression per member, whatever the values' sizes.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

MEMBERS_MAX: Final = 1000
"""Members of the top level; the richest API has about forty."""

_NAME = re.compile(rb'[ \t\r\n]*"((?:[^"\\]|\\.)*)"[ \t\r\n]*:[ \t\r\n]*')
_SEPARATOR = re.compile(rb"[ \t\r\n]*([,}])")
_START = re.compile(rb"[ \t\r\n]*\{")

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_name = msgspec.json.Decoder(str).decode


class MalformedError(ValueError):
    """Not a JSON object that can be read in only one way.

    The message holds nothing of its content but the name of a field.
    """


class Member(NamedTuple):
    """A top-level field: `raw` is its value's bytes; `start:end` spans name and value, no comma."""

    raw: bytes
    start: int
    end: int


def members(body: bytes) -> dict[str, Member]:
    """The fields of the object in `body`, in order.

    Raises:
        MalformedError: not UTF-8, not a JSON object, or a name that stands twice: parsers differ
            in which one they take, so what was checked might not be what a provider reads.

    """
    try:
        values = _decode_object(body)
    except RecursionError:
        raise MalformedError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(_what(error)) from None
    if len(values) > MEMBERS_MAX:
        raise MalformedError(f"more than {MEMBERS_MAX} fields")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"not UTF-8 at byte {error.start}") from None
    found: dict[str, Member] = {}
    start = _START.match(body)
    assert start  # msgspec read an object
    position = start.end()
    while values:
        name_span = _NAME.match(body, position)
        assert name_span  # a name stands after `{` and after every comma
        written, begin = name_span[1], name_span.end()
        name = _decode_name(b'"%b"' % written) if b"\\" in written else written.decode()
        raw = bytes(values[name])
        end = begin + len(raw)
        # msgspec keeps the last of two equal names, so the first one's value differs in its bytes
        # or, where it does not, the name comes up a second time.
        if name in found or not body.startswith(raw, begin):
            raise MalformedError(f"the field {name[:64]!r} stands twice")
        found[name] = Member(raw, name_span.start(1) - 1, end)
        separator = _SEPARATOR.match(body, end)
        if not separator:
            raise MalformedError(f"the field {name[:64]!r} stands twice")
        if separator[1] == b"}":
            break
        position = separator.end()
    return found


def without(body: bytes, member: Member | None) -> bytes:
    """Everything between the braces of `body`, and the closing one, less `member`.

    Put behind `{` and a first field with its comma, it makes an object again; where no other field
    is left, it is `}` alone.
    """
    start = body.index(b"{") + 1
    if member is None:
        return body[start:]
    separator = _SEPARATOR.match(body, member.end)
    assert separator  # every value is followed by a comma or the closing brace
    if separator[1] == b",":
        return body[start : member.start] + body[separator.end() :]
    before = body[start : member.start].rstrip(b" \t\r\n")
    return before.removesuffix(b",") + body[separator.start(1) :]


def _what(error: Exception) -> str:
    """The words of msgspec for what is wrong: they name types and positions, never content."""
    text = str(error)
    if "Expected `object`" in text:
        return "not a JSON object"
    return f"not valid JSON ({text})" if isinstance(error, msgspec.DecodeError) else "not UTF-8"
