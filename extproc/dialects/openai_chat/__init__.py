"""OpenAI chat completions, POST /v1/chat/completions: what most providers take."""

from __future__ import annotations

from typing import Final

from extproc.dialects.openai_chat.payload import EMPTY_BODY, read
from extproc.dialects.openai_chat.router_answers import (
    render_model,
    render_models,
    render_refusal,
)

__all__ = ["EMPTY_BODY", "ENDPOINT", "read", "render_model", "render_models", "render_refusal"]

ENDPOINT: Final = "/chat/completions"
"""Where a provider takes this dialect, below its base path."""
