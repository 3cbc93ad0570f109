"""OpenAI responses: what an answer repeats of its request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.dialects.answer import Envelope
from extproc.dialects.members import MalformedError, Member, members

# A translated answer is of one round, nothing of it is kept and nothing of its request cut.
_FIXED: Final[Mapping[str, bytes]] = {
    "background": b"false",
    "previous_response_id": b"null",
    "store": b"false",
    "top_logprobs": b"0",
    "truncation": b'"disabled"',
}
_DEFAULTS: Final[Mapping[str, bytes]] = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "prompt_cache_key": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "safety_identifier": b"null",
    "temperature": b"1.0",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_p": b"1.0",
    "user": b"null",
}
"""What the API says where the request doesn't."""


def envelope(body: bytes, answer_id: str, created_s: int) -> Envelope:
    """What the answer to `body`, which `read_request` could read, says besides its content."""
    try:
        fields = members(body)
    except MalformedError:
        fields = {}
    echo = {name: _echoed(fields.get(name), default) for name, default in _DEFAULTS.items()}
    return Envelope(answer_id, created_s, echo=(*echo.items(), *_FIXED.items()))


def _echoed(member: Member | None, default: bytes) -> bytes:
    if member is None or member.raw == b"null":
        return default
    # On one line: a line end would end the event that repeats it.
    try:
        return msgspec.json.format(member.raw, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return default
