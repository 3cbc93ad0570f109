"""JSON into the shapes that a dialect declares, and where and how it does not fit them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from extproc.stand_in.errors import ApiError

T = TypeVar("T")
Place = tuple[str | int, ...]

_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*?)`")


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """An object that has the declared fields and no other."""


class CamelShape(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The same, its fields in camelCase."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where a payload is not as it should be. `at` includes the field, if one is the matter."""

    kind: Literal["json", "unknown", "missing", "value"]
    at: Place
    what: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads JSON into shapes; `refusal` is how one dialect puts that it does not fit them."""

    refusal: Callable[[Misfit], ApiError]

    def __call__(self, body: bytes | msgspec.Raw, kind: type[T], at: Place = ()) -> T:
        """Raises `ApiError`; `at` is where in the payload `body` stands."""
        try:
            return msgspec.json.decode(bytes(body), type=kind)
        except msgspec.ValidationError as error:
            misfit = _misfit(str(error), at)
        except (ValueError, RecursionError):
            misfit = Misfit("json", at, "This is not JSON.")
        raise self.refusal(misfit)


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
