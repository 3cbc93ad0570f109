"""What routing looks at in a payload, whatever dialect it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from extproc.vocabulary import Feature, RequestedModel, UpstreamModel


@dataclass(frozen=True, slots=True)
class Payload:
    """One request's payload, read once.

    `rest` is the payload without its `model`, from after the opening brace to its end: what every
    target gets behind its own model, byte for byte. `text_bytes` and `text_chars` measure what a
    model will read as text; pictures and sound are not in it.
    """

    requested_model: RequestedModel | None
    streaming: bool
    features: frozenset[Feature]
    text_bytes: int
    text_chars: int
    output_tokens_max: int | None
    metadata: Mapping[str, str]
    rest: bytes


def model_prefix(upstream_model: UpstreamModel) -> str:
    """The head of a payload that names its model: put before `rest`, it makes it whole."""
    return '{"model":' + msgspec.json.encode(upstream_model).decode() + ","
