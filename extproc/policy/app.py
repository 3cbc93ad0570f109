"""Which application a request comes from."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from extproc.policy.request import Request
from extproc.snapshot import Apps
from extproc.vocabulary import Refusal

_KEY_HASH_CHARS: Final = 12
_APP_CHARS_MAX: Final = 64
_SCHEME: Final = re.compile("^bearer +", re.IGNORECASE)
_KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key")


def app_of(request: Request, apps: Apps) -> str | Refusal | None:
    """The app's name; or, if the config says so, `key-` and a hash of the client's API key.

    A name that is no name (too long, unprintable) is none: it would end up in logs and metrics. A
    header that says two things is refused: taken as one, it would be an app that no list restricts.
    """
    headers = _KEY_HEADERS if apps.from_api_key else (apps.header,)
    header = next((name for name in headers if name in request.headers), None)
    if header is None:
        return None
    said, *others = _different(request.headers[header])
    if others:
        return _ambiguous(header)
    if apps.from_api_key:
        # The scheme's case is no part of the key.
        token = _SCHEME.sub("", said).encode("latin-1", "replace")
        return "key-" + hashlib.sha256(token).hexdigest()[:_KEY_HASH_CHARS]
    return said if said.isprintable() and 0 < len(said) <= _APP_CHARS_MAX else None


def _different(joined: str) -> set[str]:
    """What a header says, each thing once, however often: a repeated one is joined by commas."""
    return {value.strip() for value in joined.split(",")} if "," in joined else {joined}


def _ambiguous(header: str) -> Refusal:
    message = f"The header `{header}` says who is asking, and says several things; send it once."
    return Refusal("invalid_request", 400, "invalid_header", message)
