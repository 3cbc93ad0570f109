"""Protobuf's wire format for what is sent on each request, put together by hand.

A message with a body and a Struct costs upb 45 µs and five copies of the body when it is built
field by field. The format itself is simple (protobuf.dev, "Encoding"): a field is its tag, then,
if it holds text, bytes or a message, a length and that many bytes. The field numbers are those of
the generated code and of `google/protobuf/struct.proto`; `tests/test_wire.py` reads it all back.
"""

from __future__ import annotations

import struct
from typing import Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value

_LENGTH_DELIMITED: Final = 2
_FIXED_64: Final = 1


def tag(field_number: int, wire_type: int = _LENGTH_DELIMITED) -> bytes:
    return varint(field_number << 3 | wire_type)


def varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


_SMALL: Final = [bytes([number]) for number in range(0x80)]


def delimited(field: bytes, content: bytes) -> bytes:
    """A field of text, bytes or a message; `field` is its tag."""
    size = len(content)
    return field + (_SMALL[size] if size < 0x80 else varint(size)) + content


_ENTRY: Final = tag(Struct.FIELDS_FIELD_NUMBER)
_KEY: Final = tag(Struct.FieldsEntry.KEY_FIELD_NUMBER)
_VALUE: Final = tag(Struct.FieldsEntry.VALUE_FIELD_NUMBER)
_ITEM: Final = tag(ListValue.VALUES_FIELD_NUMBER)
_TEXT: Final = tag(Value.STRING_VALUE_FIELD_NUMBER)
_NUMBER: Final = tag(Value.NUMBER_VALUE_FIELD_NUMBER, _FIXED_64)
_STRUCT: Final = tag(Value.STRUCT_VALUE_FIELD_NUMBER)
_LIST: Final = tag(Value.LIST_VALUE_FIELD_NUMBER)


# Values of a Struct, and a field of one.


def text(value: str) -> bytes:
    return delimited(_TEXT, value.encode())


def number(value: float) -> bytes:
    return _NUMBER + struct.pack("<d", value)


def structure(*fields: bytes) -> bytes:
    return delimited(_STRUCT, b"".join(fields))


def array(*values: bytes) -> bytes:
    return delimited(_LIST, b"".join([delimited(_ITEM, value) for value in values]))


def field(name: str, value: bytes) -> bytes:
    """A field of a Struct."""
    return delimited(_ENTRY, delimited(_KEY, name.encode()) + delimited(_VALUE, value))
