"""Pictures and documents by their media types, of which each API takes its own few."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from extproc.dialects.conversation import Inline, NotTakenError
from extproc.vocabulary import Api

_OTHER_NAMES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}
_TEXT: Final = {"application/json", "application/xml", "application/yaml", "application/x-yaml"}
_PLAIN: Final = re.compile(r"[a-z0-9.+/-]{1,100}")


def media_type_of(content: Inline) -> str:
    """The type alone, by the name that is registered."""
    named = content.media_type.partition(";")[0].strip().lower()
    return _OTHER_NAMES.get(named, named)


def is_text(content: Inline) -> bool:
    named = media_type_of(content)
    return named.startswith("text/") or named in _TEXT


def image_type(image: Inline, taken: Collection[str], api: Api) -> str:
    """Its media type, if it is one of those `taken`. Raises `NotTakenError`."""
    named = media_type_of(image)
    if named not in taken:
        raise not_taken("an image", named, api)
    return named


def not_taken(what: str, media_type: str, api: Api) -> NotTakenError:
    named = f"type {media_type}" if _PLAIN.fullmatch(media_type) else "an unknown type"
    return NotTakenError("messages", f"{what} of {named}", api)
