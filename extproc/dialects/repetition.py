"""Names that routing depends on, given twice in one object: parsers differ in which one they take.

msgspec keeps the last of two and does not tell, and a full look at a long conversation costs more
than all else that is read of it. So the names are counted first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final

from extproc.dialects.reading import reject

_CRITICAL_NAMES: Final = {"role", "content", "type"}

# An ASCII letter needs no escape, so a name written with one means to look like another.
_ESCAPED: Final = b"\\u00"
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")


def reject_repeated_names(
    field: str, raw: bytes, *, roles: int = 0, contents: int = 0, types: int = 0
) -> None:
    """Refuses the `field` written in `raw` if a role, content or type stands twice in an object.

    The numbers say how often each name is known to stand in `raw` if none stands twice. Inside
    JSON's strings a quote is escaped, so counting quoted names finds whether any can; only then is
    every name looked at. Raises `FieldError`.
    """
    if (
        raw.count(b'"role"') <= roles
        and raw.count(b'"content"') <= contents
        and raw.count(b'"type"') <= types
        and not has_escaped_letter(raw)
    ):
        return

    def unrepeated(pairs: list[tuple[str, object]]) -> None:
        names = Counter(name for name, _ in pairs if name in _CRITICAL_NAMES)
        for name, times in names.items():
            if times > 1:
                reject(field, f"holds an object with {name!r} more than once")

    try:
        # Numbers as text: Python refuses to convert one of thousands of digits.
        json.loads(raw, object_pairs_hook=unrepeated, parse_int=str)
    except RecursionError:
        reject(field, "is nested too deeply")


def has_escaped_letter(raw: bytes) -> bool:
    """Whether a name in `raw` may look like another: what is counted would not be all."""
    return _ESCAPED in raw and _ESCAPED_LETTER.search(raw) is not None
