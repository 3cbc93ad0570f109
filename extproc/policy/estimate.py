"""How many tokens a request is expected to take, for a family of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.state.view import View
from extproc.text.tokens import (
    NOTHING,
    Family,
    calibrated,
    framing_tokens,
    output_tokens,
    part_tokens,
    schema_tokens,
    tokens,
)

REASONING_TOKENS: Final[Mapping[str, int]] = {
    "minimal": 0,
    "low": 500,
    "medium": 2000,
    "high": 8000,
    "xhigh": 16000,
}
"""What thinking adds to an answer, by the effort asked for, before any was seen; round figures."""


def input_tokens(payload: Payload, family: Family, view: View) -> int:
    """Tokens that models of `family` will count as input, pictures and the like included."""
    told = tokens(payload.text, family)
    if payload.schemas is not NOTHING:
        told += schema_tokens(payload.schemas, family)
    told += framing_tokens(family, payload.messages, tools=Feature.TOOLS in payload.features)
    learned = view.calibration.get(family)
    if learned:
        told = calibrated(told, learned)
    for part, count in payload.parts.items():
        told += part_tokens(family, part) * count
    return max(1, round(told))


def output_tokens_of(payload: Payload, task_type: str, input_tokens: int, view: View) -> int:
    """Tokens of the answer, what is thought included, at most what the request allows."""
    if Feature.EMBEDDINGS in payload.features:
        return 0
    limit = payload.output_tokens_max
    answer = output_tokens(task_type, limit, view.output, input_tokens)
    whole = answer + reasoning_tokens_of(payload)
    return whole if limit is None else min(whole, limit)


def reasoning_tokens_of(payload: Payload) -> int:
    return REASONING_TOKENS.get(payload.reasoning_effort or "", 0)
