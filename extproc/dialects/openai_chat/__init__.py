"""OpenAI chat completions, POST /v1/chat/completions: what most providers take.

For clients: `read`, `read_request`, `envelope`, `write_answer`, `StreamWriter`, `render_…`. For
providers: `write_request`, `StreamReader`, `read_answer`, `read_error`, and what the API `LACKS`.
"""

from __future__ import annotations

from extproc.dialects.openai_chat.answer_reader import StreamReader, read_answer
from extproc.dialects.openai_chat.answer_writer import StreamWriter, envelope, write_answer
from extproc.dialects.openai_chat.payload import EMPTY_BODY, read
from extproc.dialects.openai_chat.provider_error import read_error
from extproc.dialects.openai_chat.request_reader import read_request
from extproc.dialects.openai_chat.request_writer import LACKS, write_request
from extproc.dialects.openai_chat.router_answers import (
    render_model,
    render_models,
    render_refusal,
)

__all__ = [
    "EMPTY_BODY",
    "LACKS",
    "StreamReader",
    "StreamWriter",
    "envelope",
    "read",
    "read_answer",
    "read_error",
    "read_request",
    "render_model",
    "render_models",
    "render_refusal",
    "write_answer",
    "write_request",
]
