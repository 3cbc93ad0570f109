"""Anthropic messages, POST /v1/messages: what Claude is spoken to in natively, both ways."""

from __future__ import annotations

from extproc.dialects.anthropic.answer_reading import StreamReader, read_answer
from extproc.dialects.anthropic.answer_writing import StreamWriter, envelope, write_answer
from extproc.dialects.anthropic.errors import read_error, render_refusal
from extproc.dialects.anthropic.payload import EMPTY_BODY, read, read_count
from extproc.dialects.anthropic.request_reading import read_request
from extproc.dialects.anthropic.request_writing import LACKS, write_request
from extproc.dialects.anthropic.router_answers import (
    render_model,
    render_models,
    render_token_count,
)
from extproc.dialects.anthropic.unsigned import without_unsigned

__all__ = [
    "EMPTY_BODY",
    "LACKS",
    "StreamReader",
    "StreamWriter",
    "envelope",
    "read",
    "read_answer",
    "read_count",
    "read_error",
    "read_request",
    "render_model",
    "render_models",
    "render_refusal",
    "render_token_count",
    "without_unsigned",
    "write_answer",
    "write_request",
]
