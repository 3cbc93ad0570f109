"""The two access logs that Envoy keeps for the router: their names and their fields.

*attempts* has one entry for each attempt at a target, *requests* one for each request that was
decided on. Envoy's configuration says how each field is filled (`extproc.envoy_config.access_log`),
the wire layer what it means (`extproc.wire.access_log`); both know it by the names here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

LOG_NAME: Final = "log"
"""The resource attribute that says which log a batch is of."""

ATTEMPTS: Final = "attempts"
REQUESTS: Final = "requests"

RECORD_NAMESPACE: Final = "llm.record"
"""Dynamic metadata with the decision's record, which any replica can complete and write."""

RECORD_KEY: Final = "json"

TOLD_KEY: Final = "told"
"""In the metadata `llm.answer`: what a translated answer told of itself, a `Told` as JSON."""

USAGE_NAMESPACE: Final = "llm.usage"
"""Typed dynamic metadata with what the answer said of tokens."""


class Told(msgspec.Struct, omit_defaults=True):
    """What an answer in another dialect than the client's told; Envoy sees only its translation.

    `whole` says that it came to its end.
    """

    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    whole: bool = True


class Field(StrEnum):
    """A field of an entry. Its value is text; `-` or nothing is absent. Times are microseconds."""

    REQUEST_ID = "request_id"
    ATTEMPT = "attempt"
    TARGET = "target"
    BEGAN = "began"
    STATUS = "status"
    FLAGS = "flags"
    FIRST_BYTE_US = "first_byte_us"
    LAST_BYTE_US = "last_byte_us"
    DURATION_MS = "duration_ms"
    CONTENT_TYPE = "content_type"
    LIMITS = "limits"
    # Of requests only.
    RECORD = "record"
    UPSTREAM_US = "upstream_us"
    TRACEPARENT = "traceparent"
    TOLD = "told"
    MODEL = "model"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHE_READ_TOKENS = "cache_read_tokens"
    CACHE_WRITE_TOKENS = "cache_write_tokens"
    REASONING_TOKENS = "reasoning_tokens"


LIMIT_HEADERS: Final = (
    "retry-after",
    "retry-after-ms",
    # OpenAI's, and of those who speak its dialect
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    # Anthropic's
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
)
"""Response headers that tell of rate limits: the lines of an attempt's field `limits`, in order."""
