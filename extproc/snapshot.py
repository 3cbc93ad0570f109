"""What runs: a routing config with every name resolved, compiled once and never changed.

Written config (`extproc.config`) and running config are two things: the file may say `gpt-4o`, a
Snapshot holds the target. An exchange takes the Snapshot once, so a reload swaps one reference and
no request sees two configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from extproc.feature import Feature
from extproc.text.classifier import Classifier
from extproc.vocabulary import (
    APP_HEADER,
    ModelName,
    Provider,
    ProviderName,
    Surface,
    Target,
    TargetId,
)

# What the router's answer and Envoy's configuration must agree on (docs/data-plane.md).
GUARD_PREFIX: Final = "guard:"
CHAIN_NAMESPACE: Final = "llm.chain"
PLAN_NAMESPACE: Final = "llm.plan"
BODIES_NAMESPACE: Final = "llm.bodies"
ANSWER_NAMESPACE: Final = "llm.answer"

BODY_BYTES_CEILING: Final = 256 * 1024 * 1024
"""No config may let a body be larger."""


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Inclusive on both ends; an absent end is open."""

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The conditions of a route. All that are given must hold; a tuple means any of.

    Patterns hold at most `*`, which stands for any run of characters.
    """

    default: bool = False
    apps: tuple[str, ...] = ()
    task_types: tuple[str, ...] = ()
    requested_models: tuple[str, ...] = ()
    input_tokens: TokenRange | None = None
    output_tokens: TokenRange | None = None
    streaming: bool | None = None
    has: frozenset[Feature] = frozenset()
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paths: tuple[str, ...] = ()


class Objective(StrEnum):
    """What the candidates of a route are ranked by."""

    ORDER = "order"
    COST = "cost"
    LATENCY = "latency"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What every target of a route must meet, fallbacks included; None asks for nothing."""

    quality_min: float | None = None
    latency_ms_max: float | None = None
    cost_usd_max: float | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """`candidates` come first, ranked by the objective; then `fallback`, in the order written.

    A target that stands in both is tried among the first; where the client has named a model, only
    that one comes first, and all of `fallback` after it.
    """

    name: str
    match: Match
    candidates: tuple[Target, ...]
    fallback: tuple[Target, ...]
    objective: Objective = Objective.ORDER
    require: Requirements = Requirements()


@dataclass(frozen=True, slots=True)
class Apps:
    """Who is asking: `header` holds the app's name, or `from_api_key` takes a hash of its key.

    `allowed` lists, for the apps that have one, the models they may use.
    """

    header: str = APP_HEADER
    from_api_key: bool = False
    allowed: Mapping[str, frozenset[ModelName]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """When a provider that keeps failing is left out.

    `interval_s` and `error_rate_threshold` are for a breaker that sees every outcome; ejection in
    Envoy goes by failures in a row.
    """

    enabled: bool = True
    interval_s: float = 30.0
    error_rate_threshold: float = 0.05


LOG_TO_STDOUT: Final = "stdout"
LOG_NOWHERE: Final = "none"

GRPCIO: Final = "grpcio"
LEAN: Final = "lean"


@dataclass(frozen=True, slots=True)
class DecisionLogSettings:
    """Where records go: a file's path, `stdout` or `none`. `keep` counts the rotated files."""

    path: str = LOG_TO_STDOUT
    bytes_max: int = 100 * 1024 * 1024
    keep: int = 5


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where OpenTelemetry data goes; the headers that go with it stand beside the Snapshot."""

    endpoint: str
    interval_s: float = 30.0
    metrics: bool = True
    traces: bool = True


@dataclass(frozen=True, slots=True)
class Telemetry:
    """`baseline`, which savings are measured against, has a price and need not be routed to."""

    baseline: Target | None = None
    otlp: Otlp | None = None


@dataclass(frozen=True, slots=True)
class Passthrough:
    """An upstream for every path that is not an LLM's."""

    host: str
    port: int
    tls: bool
    base_path: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The compiled config.

    `config` is `sha256:` and the digest of the text it came from. `models` maps every name that a
    client may ask for (aliases included) to the model's targets, in order of preference; `offered`
    lists the names to show. `guards` names the cluster of each run of targets that Envoy holds a
    guard for, at most `guard_depth` long (docs/adr/0002-guards.md). `translated` are the APIs of
    clients that some provider does not speak itself.
    """

    config: str
    providers: Mapping[ProviderName, Provider]
    targets: Mapping[TargetId, Target]
    models: Mapping[str, tuple[Target, ...]]
    offered: tuple[ModelName, ...]
    routes: tuple[Route, ...]
    guards: Mapping[tuple[TargetId, ...], str]
    guard_depth: int
    translated: frozenset[Surface] = frozenset()
    max_attempts: int = 3
    first_byte_timeout_s: float = 30.0
    body_bytes_max: int = 32 * 1024 * 1024
    honour_requested_model: bool = True
    allow_unknown_capability: bool = False
    strip_bound_history: bool = False
    allowed_overrides: frozenset[str] = frozenset({"task"})
    decision_timeout_s: float = 2.0
    drain_delay_s: float = 0.0
    drain_timeout_s: float = 30.0
    transport: str = GRPCIO
    health_check: HealthCheck = HealthCheck()
    passthrough: Passthrough | None = None
    apps: Apps = Apps()
    classifier: Classifier | None = None
    decision_log: DecisionLogSettings = DecisionLogSettings()
    telemetry: Telemetry = Telemetry()


def guard_name(window: tuple[TargetId, ...]) -> str:
    """The Envoy cluster that tries the targets of `window` in order, skipping ejected ones."""
    return GUARD_PREFIX + ">".join(window)
