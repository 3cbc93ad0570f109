"""Gemini's own API.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from extproc.stand_in.dialect import Dialect, Manners
from extproc.stand_in.errors import ApiError
from extproc.stand_in.gemini import contents
from extproc.stand_in.gemini.answer import error_body


def _check_key(headers: Mapping[str, str]) -> None:
    if not headers.get("x-goog-api-key", "").strip():
        raise ApiError(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
        )


GEMINI: Final = Manners(
    check_key=_check_key,
    request_headers=lambda _request_id: {},
    error=error_body,
    says_retry_after=False,
)
GEMINI_ARRAY: Final = replace(
    GEMINI, error=lambda error, request_id: b"[" + error_body(error, request_id) + b"]"
)
"""Where the answer would have been an array, the error is one too."""
GENERATE: Final = Dialect(GEMINI, contents.read)
STREAM_GENERATE: Final = Dialect(GEMINI, contents.read_stream)
