"""Data URLs (RFC 2397): how this API has pictures and files stand in the payload."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote_to_bytes

from extproc.dialects.conversation import Inline

_HEAD = re.compile(r"data:([^;,]{0,128})((?:;[^;,]{0,128}){0,8}?)(;base64)?,", re.IGNORECASE)


def inline_of(url: str, default_media_type: str) -> Inline | None:
    """What `url` holds; None where it is no data URL."""
    head = _HEAD.match(url)
    if not head:
        return None
    data = url[head.end() :]
    if not head[3]:  # percent-encoded
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Inline(head[1].strip().lower() or default_media_type, data)


def data_url(content: Inline) -> str:
    return f"data:{content.media_type};base64,{content.data}"
