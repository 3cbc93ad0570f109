"""The words the layers share: plain frozen values, no behaviour beyond what a name implies.

A model has three names, and none of them is ever called just "model" where they could be confused:

* *requested*: what the client wrote in its payload,
* *upstream*: what is sent to the provider,
* *reported*: what the provider says answered.

Beside these stands the name that the routing config gives a model, `ModelName`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

ModelName = NewType("ModelName", str)
"""A model as the routing config and the catalog call it, such as `claude-haiku-3`."""

RequestedModel = NewType("RequestedModel", str)
UpstreamModel = NewType("UpstreamModel", str)
ReportedModel = NewType("ReportedModel", str)

ProviderName = NewType("ProviderName", str)

TargetId = NewType("TargetId", str)
"""`provider/model`, in the config's names: `anthropic/claude-haiku-3`."""


class Feature(StrEnum):
    """What a request can need that not every model has; also the keys of `capabilities`."""

    VISION = "vision"
    TOOLS = "tools"
    STRUCTURED_OUTPUT = "structuredOutput"
    AUDIO = "audio"
    DOCUMENTS = "documents"
    REASONING = "reasoning"


class Reason(StrEnum):
    """Why a target was not chosen. The list is closed: it is part of the public record."""

    CAPABILITY = "capability"
    CONTEXT_WINDOW = "context_window"
    REGION = "region"
    PRICE_CEILING = "price_ceiling"
    PRICE_UNKNOWN = "price_unknown"
    QUALITY_FLOOR = "quality_floor"
    LATENCY_CEILING = "latency_ceiling"
    APP_POLICY = "app_policy"
    BREAKER_OPEN = "breaker_open"
    NOT_BEFORE = "not_before"
    REQUESTS_EXHAUSTED = "requests_exhausted"
    TOKENS_EXHAUSTED = "tokens_exhausted"
    BODY_TOO_LARGE = "body_too_large"
    AVOIDED = "avoided"


class TaskSource(StrEnum):
    """Which layer named the task of a request."""

    HEADER = "header"
    METADATA = "metadata"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is and how it is spoken to; no secret in it.

    `base_path` is the path of the base URL without a trailing slash (`/v1`). `credential_header`
    is lower case and `credential_prefix` is written before the key (`"Bearer "`). `has_credential`
    says whether a key is known, never which.
    """

    name: ProviderName
    host: str
    port: int
    tls: bool
    base_path: str
    credential_header: str
    credential_prefix: str
    has_credential: bool
    headers: Mapping[str, str]
    first_byte_timeout_s: float | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model. A missing capability or window is *unknown*, which is not *no*."""

    name: ModelName
    context_window: int | None
    capabilities: Mapping[Feature, bool]


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider: what a decision chooses between."""

    id: TargetId
    provider: Provider
    model: Model
    upstream_model: UpstreamModel
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """What kind of work a request is, and which layer said so."""

    type: str
    source: TaskSource


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens that a request is expected to take, before anyone has counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one target could not serve one request."""

    target: TargetId
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that gets no target, as a value: rendered once, in the client's dialect.

    `kind` is the class of the mistake and `code` the exact one, both stable; `message` is for the
    person who reads it and never repeats the payload beyond a model's name.
    """

    kind: str
    status: int
    code: str
    message: str
    param: str | None = None
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one request goes, and why.

    `id` is a ULID: sorted by time, unique by chance. `chain` is never empty: its first target is
    tried first, each later one when those before it have failed.
    """

    id: str
    route: str
    requested_model: RequestedModel | None
    task: Task
    estimate: Estimate
    chain: tuple[Target, ...]
    rejected: tuple[Rejection, ...]
    why: str
