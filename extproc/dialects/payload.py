"""What routing looks at in a payload, whatever dialect it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from extproc.dialects.conversation import Demand
from extproc.feature import Feature
from extproc.text.tokens import Measure
from extproc.vocabulary import RequestedModel, Surface, Target, UpstreamModel


@dataclass(frozen=True, slots=True)
class Payload:
    """One request's payload, read once.

    `rest` is the payload without its `model`, from after the opening brace to its end: what every
    target gets behind its own model, byte for byte. `text` and `schemas` measure what a model will
    read as text: messages, and definitions of tools and answers. `parts` counts what is not text.
    `last_turn` is the last user turn, for the classifier. `demands` are what not every provider's
    API has a counterpart for; `unsigned_thinking` says that the history holds thinking of another
    provider's, which the native one would refuse: it gets the payload rewritten without.
    """

    requested_model: RequestedModel | None
    streaming: bool
    features: frozenset[Feature]
    text: Measure
    schemas: Measure
    messages: int
    parts: Mapping[Feature, int]
    output_tokens_max: int | None
    reasoning_effort: str | None
    metadata: Mapping[str, str]
    last_turn: str
    rest: bytes
    demands: frozenset[Demand] = frozenset()
    unsigned_thinking: bool = False


def model_prefix(upstream_model: UpstreamModel) -> str:
    """The head of a payload that names its model: put before `rest`, it makes it whole."""
    return '{"model":' + msgspec.json.encode(upstream_model).decode() + ","


def endpoint_of(target: Target, surface: Surface) -> str:
    """Where the target's provider takes what clients of `surface` write."""
    endpoint = target.provider.endpoints[surface]
    if "{" not in endpoint:
        return endpoint
    return endpoint.replace("{model}", quote(target.upstream_model, safe=""))
