"""Which application a request comes from."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from extproc.policy.request import Request
from extproc.snapshot import Apps

_KEY_HASH_CHARS: Final = 12
_APP_CHARS_MAX: Final = 64
_SCHEME: Final = re.compile("^bearer +", re.IGNORECASE)
_KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key")


def app_of(request: Request, apps: Apps) -> str | None:
    """The app's name; or, if the config says so, `key-` and a hash of the client's API key.

    A name that is no name (too long, unprintable) is none: it would end up in logs and metrics.
    """
    if apps.from_api_key:
        key = next((request.headers[h] for h in _KEY_HEADERS if h in request.headers), None)
        if key is None:
            return None
        # The scheme's case is no part of the key.
        token = _SCHEME.sub("", key).encode("latin-1", "replace")
        return "key-" + hashlib.sha256(token).hexdigest()[:_KEY_HASH_CHARS]
    name = request.headers.get(apps.header)
    if name is None or not name.isprintable() or not 0 < len(name) <= _APP_CHARS_MAX:
        return None
    return name
