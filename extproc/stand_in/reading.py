"""JSON into the shapes that a dialect declares, and where and how it does not fit them."""

from __future__ import annotations

import re
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")
Place = tuple[str | int, ...]

_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*?)`")


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """An object that has the declared fields and no other."""


class CamelShape(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The same, its fields in camelCase."""


class Misfit(Exception):  # noqa: N818  each dialect makes its own error of it
    """Where a payload is not as it should be. `at` includes the field, if one is the matter."""

    def __init__(
        self, kind: Literal["json", "unknown", "missing", "value"], at: Place, what: str
    ) -> None:
        super().__init__(what)
        self.kind = kind
        self.at = at
        self.what = what


def decode(body: bytes | msgspec.Raw, kind: type[T], at: Place = ()) -> T:
    """Raises `Misfit`; `at` is where in the payload `body` stands."""
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), at) from None
    except (ValueError, RecursionError):
        raise Misfit("json", at, "This is not JSON.") from None


def brackets(at: Place) -> str:
    """As in `messages[0].content`."""
    return "".join(f"[{s}]" if isinstance(s, int) or s == "..." else f".{s}" for s in at)[1:]


def dots(at: Place) -> str:
    """As in `messages.0.content`."""
    return ".".join(str(step) for step in at if step != "...")


def _misfit(message: str, at: Place) -> Misfit:
    found = _AT.search(message)
    what = message[: found.start()] if found else message
    if found:
        at += tuple(name or inner for name, inner in _STEP.findall(found[1]))
    if named := _NAMED.match(what):
        return Misfit("unknown" if "unknown" in named[1] else "missing", (*at, named[2]), what)
    return Misfit("value", at, what)
