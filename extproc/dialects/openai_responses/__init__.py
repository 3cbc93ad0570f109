"""OpenAI responses, POST /v1/responses: the clients' side.

A provider that speaks it gets the request as it is; no other dialect is translated into it.
"""

from __future__ import annotations

from extproc.dialects.openai_responses.answer import StreamWriter, write_answer
from extproc.dialects.openai_responses.envelope import envelope
from extproc.dialects.openai_responses.payload import EMPTY_BODY, read, without_foreign_thinking
from extproc.dialects.openai_responses.request import read_request

__all__ = [
    "EMPTY_BODY",
    "StreamWriter",
    "envelope",
    "read",
    "read_request",
    "without_foreign_thinking",
    "write_answer",
]
