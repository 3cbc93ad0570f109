"""How payloads and answers of each API are read, rewritten and written; one package per dialect.

Which API a client speaks is known by the path alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from extproc.vocabulary import Surface

# Any prefix is allowed, so that `base_url` may carry one (`/team-a/v1`) for `match.path` to read.
_BEFORE: Final = r"(?:/[^/?]+)*/v1/"
_ENDS: Final = {
    "chat/completions": Surface.CHAT,
    "responses": Surface.RESPONSES,
    "embeddings": Surface.EMBEDDINGS,
    "messages": Surface.MESSAGES,
    "messages/count_tokens": Surface.COUNT_TOKENS,
}
_SURFACE: Final = re.compile(f"{_BEFORE}({'|'.join(_ENDS)})")

MODELS_PATH: Final = re.compile(rf"{_BEFORE}models(?:/[^?]+)?")

PATHS: Final[Mapping[Surface, str]] = {surface: _BEFORE + end for end, surface in _ENDS.items()}
"""Each API's paths without query: regular expressions, for RE2 too, to match in full."""


def surface_of(path: str) -> Surface | None:
    """The API that a request to `path` speaks; None if it is no LLM's."""
    found = _SURFACE.fullmatch(path)
    return _ENDS[found[1]] if found else None
