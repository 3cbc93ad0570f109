"""Reading fields of a payload: typed, refused by name, and never in two ways at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Never, TypeVar

import msgspec

from extproc.dialects.members import MalformedError, Member, members
from extproc.dialects.payload import Payload
from extproc.vocabulary import Refusal, RequestedModel

_T = TypeVar("_T")

OUTPUT_TOKENS_MAX: Final = 2**53
"""Any more is counted as this: no model writes as much, and every number type holds it."""

_REQUESTED_MODEL_CHARS_MAX: Final = 256
_METADATA_FIELDS_MAX: Final = 64

_text = msgspec.json.Decoder(str | None)
_count = msgspec.json.Decoder(int | None)
_metadata = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class FieldError(Exception):
    """Carries a refusal out of the depths of reading one payload; never leaves this package."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def malformed(message: str) -> Refusal:
    return Refusal("invalid_request", 400, "invalid_body", message)


def reject(param: str, what: str) -> Never:
    message = f"The field `{param}` {what}."
    raise FieldError(Refusal("invalid_request", 400, "invalid_value", message, param))


def read_payload(
    body: bytes, empty_body: Refusal, payload_of: Callable[[bytes, Mapping[str, Member]], Payload]
) -> Payload | Refusal:
    """What `payload_of` makes of `body` and its fields, or why it can't be a payload (a 400)."""
    if not body.strip():
        return empty_body
    try:
        return payload_of(body, fields_of(body))
    except FieldError as error:
        return error.refusal
    except RecursionError:
        return malformed("The request body is not usable: nested too deeply.")


def fields_of(body: bytes) -> Mapping[str, Member]:
    """The top level of a payload. Raises `FieldError`."""
    try:
        return members(body)
    except MalformedError as error:
        raise FieldError(malformed(f"The request body is not usable: {error}.")) from None


def field(fields: Mapping[str, Member], name: str, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    """The value of field `name`, None where it is absent. Raises `FieldError`."""
    member = fields.get(name)
    return None if member is None else decoded(member.raw, decoder, name)


def decoded(raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[_T], name: str) -> _T:
    """The value written in `raw`, which is field `name` or a part of it. Raises `FieldError`."""
    try:
        return decoder.decode(raw)
    except RecursionError:
        reject(name, "is nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec's words name types and positions (`$[0].role`), never content.
        reject(name, "is not right: " + str(error).replace("`$", f"`{name}"))


def requested_model(fields: Mapping[str, Member]) -> RequestedModel | None:
    model = field(fields, "model", _text)
    if model is None:
        return None
    if len(model) > _REQUESTED_MODEL_CHARS_MAX:
        reject("model", f"is longer than {_REQUESTED_MODEL_CHARS_MAX} characters")
    if not model.isprintable():
        reject("model", "holds control characters")
    return RequestedModel(model)


def output_limit(fields: Mapping[str, Member], *names: str) -> int | None:
    """The first of `names` that sets one."""
    for name in names:
        limit: int | None = field(fields, name, _count)
        if limit is not None and limit < 1:
            reject(name, "is below 1")
        if limit is not None:
            return min(limit, OUTPUT_TOKENS_MAX)
    return None


def metadata_texts(fields: Mapping[str, Member]) -> dict[str, str]:
    """The payload's own `metadata`, those of its values that are text."""
    found = field(fields, "metadata", _metadata) or {}
    reject_repeated_fields(fields, "metadata")
    if len(found) > _METADATA_FIELDS_MAX:
        reject("metadata", f"has more than {_METADATA_FIELDS_MAX} fields")
    return {
        name: msgspec.json.decode(value, type=str)
        for name, value in found.items()
        if bytes(value).startswith(b'"')
    }


def reject_repeated_fields(fields: Mapping[str, Member], name: str) -> None:
    """Refuses the object `name` if one of its own fields stands twice."""
    if name in fields and fields[name].raw.startswith(b"{"):
        fields_within(fields[name].raw, name)


def fields_within(raw: bytes, name: str) -> Mapping[str, Member]:
    """The fields of an object inside of the field `name`, none of which stands twice."""
    try:
        return members(raw)
    except MalformedError as error:
        reject(name, f"is not right: {error}")
