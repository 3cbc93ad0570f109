"""Signatures on what was thought: only who made one can tell it from another."""

from __future__ import annotations

import base64
import hashlib

_HALF_BYTES = 16


CLAUDE = "claude"
"""Who signs at Anthropic and at Bedrock: docs, "Extended thinking", signatures are compatible."""


def sign(provider: str, text: str) -> str:
    """The same text has the same signature at the same provider, across restarts."""
    said = _digest(text)
    return base64.b64encode(said + _digest(f"stand-in\0{provider}\0{said.hex()}")).decode()


def is_own(provider: str, signature: str) -> bool:
    """Whether `sign` made it at this provider, for whatever text."""
    try:
        seal = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    said = seal[:_HALF_BYTES]
    return seal[_HALF_BYTES:] == _digest(f"stand-in\0{provider}\0{said.hex()}")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()[:_HALF_BYTES]
