"""How many tokens a request is, without a tokenizer."""

from __future__ import annotations

from typing import Final

from extproc.dialects.payload import Payload
from extproc.vocabulary import Estimate

_ASCII_BYTES_PER_TOKEN: Final = 4.0
"""The rule of thumb that providers give for English."""

_OTHER_BYTES_PER_TOKEN: Final = 3.0
"""UTF-8 spends two bytes on a Cyrillic or Greek letter and three on a Han character or kana."""

_OUTPUT_TOKENS_DEFAULT: Final = 1024


def estimate(payload: Payload) -> Estimate:
    """O(1): the payload was measured when it was read."""
    # Each character beyond ASCII takes at least one byte more than itself.
    other_bytes = min(payload.text_bytes, round(1.5 * (payload.text_bytes - payload.text_chars)))
    ascii_bytes = payload.text_bytes - other_bytes
    tokens = ascii_bytes / _ASCII_BYTES_PER_TOKEN + other_bytes / _OTHER_BYTES_PER_TOKEN
    return Estimate(
        input_tokens=max(1, round(tokens)),
        output_tokens=payload.output_tokens_max or _OUTPUT_TOKENS_DEFAULT,
    )
