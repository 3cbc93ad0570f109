"""The routing config's schema: every key that may be written, and what it means.

Keys are camelCase; snake_case is accepted. Descriptions here are the reference for users.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic.alias_generators import to_camel

from extproc.feature import Feature
from extproc.snapshot import BODY_BYTES_CEILING
from extproc.text.tokens import Family
from extproc.vocabulary import Api

_DURATION_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE_UNITS_BYTES: Final = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def _quantity(value: object, units: dict[str, Any], example: str) -> object:
    if not isinstance(value, str):
        return value
    found = _QUANTITY.fullmatch(value)
    unit = found and units.get(found[2].lower())
    if not found or not unit:
        raise ValueError(f"not a quantity with a unit ({', '.join(units)}), such as {example}")
    return float(found[1]) * unit


def _duration_s(value: object) -> object:
    return _quantity(value, _DURATION_UNITS_S, "30s")


def _size_bytes(value: object) -> object:
    size = _quantity(value, _SIZE_UNITS_BYTES, "32MiB")
    if isinstance(size, float) and not size.is_integer():  # neither is infinity
        raise ValueError("not a whole number of bytes")
    return int(size) if isinstance(size, float) else size


def _listed(value: object) -> object:
    # A tuple: strict mode takes no list for one outside of JSON itself.
    return tuple(value) if isinstance(value, list) else (value,)


def _feature_names(value: object) -> object:
    """The keys of `capabilities` in camelCase, as all keys may be written in snake_case."""
    if not isinstance(value, dict):
        return value
    named = [to_camel(f"{name}") for name in value]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice:
        raise ValueError(f"{twice} is given in both spellings: keep one of the two")
    return dict(zip(named, value.values(), strict=True))


def _feature_list(value: object) -> object:
    known = {feature.value: feature for feature in Feature}
    names = value if isinstance(value, list) else [value]
    found = [known.get(to_camel(f"{name}")) for name in names]
    if None in found:
        raise ValueError(f"not among {', '.join(known)}")
    return tuple(found)


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("empty: name at least one")
    return value


Text = Annotated[str, Field(min_length=1)]
TaskType = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]
UsdPerMTok = Annotated[float, Field(ge=0, le=1e6)]  # a dollar for a token is beyond any

# What may be written where it is not what is read: the input types are for the JSON Schema.
_Duration = Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*(ms|s|m|h)\s*$")]
_Size = Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*([kKmMgG]i?)?[bB]\s*$")]
_Seconds = Annotated[float, Field(gt=0, le=3600)]
_BodyBytes = Annotated[int, Field(ge=1024, le=BODY_BYTES_CEILING)]
_LogBytes = Annotated[int, Field(ge=64 * 1024, le=1024**4)]
DurationS = Annotated[
    _Seconds, BeforeValidator(_duration_s, json_schema_input_type=_Seconds | _Duration)
]
BodyBytes = Annotated[
    _BodyBytes, BeforeValidator(_size_bytes, json_schema_input_type=_BodyBytes | _Size)
]
LogBytes = Annotated[
    _LogBytes, BeforeValidator(_size_bytes, json_schema_input_type=_LogBytes | _Size)
]
_Texts = Text | Annotated[list[Text], Field(min_length=1)]
OneOrMore = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed, json_schema_input_type=_Texts),
    AfterValidator(_not_empty),
]
OneOrMoreTaskTypes = Annotated[
    tuple[TaskType, ...],
    BeforeValidator(
        _listed, json_schema_input_type=TaskType | Annotated[list[TaskType], Field(min_length=1)]
    ),
    AfterValidator(_not_empty),
]
OneOrMoreFeatures = Annotated[
    tuple[Feature, ...],
    BeforeValidator(
        _feature_list,
        json_schema_input_type=Feature | Annotated[list[Feature], Field(min_length=1)],
    ),
    AfterValidator(_not_empty),
]
Capabilities = Annotated[
    dict[Feature, bool],
    BeforeValidator(_feature_names, json_schema_input_type=dict[Feature, bool]),
]


class Section(BaseModel):
    """What every part of the file has in common: strict types, no unknown keys, no changes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        # A wrong value may be a key in the wrong place, so no error message repeats values.
        hide_input_in_errors=True,
    )


class ProviderSection(Section):
    preset: Text | None = Field(None, description="The facts to start from, such as `openai`.")
    base_url: Text | None = Field(
        None, description="Where the API is, with its version path, as SDKs take it."
    )
    api_key: SecretStr | None = Field(
        None, description="The key; write `${NAME}` to take it from the environment."
    )
    api: Api | None = Field(
        None, description="The dialect it speaks; a preset sets it, and without one it is `openai`."
    )
    api_version: Text | None = Field(
        None, description="Azure's `api-version`, where the deployment stands in the path."
    )
    region: Text | None = Field(None, description="Where the provider runs, in your own words.")
    headers: dict[Text, SecretStr] = Field(
        default_factory=dict,
        description="Sent with every request to this provider, kept as secret as its key.",
    )
    first_byte_timeout: DurationS | None = Field(
        None, description="How long to wait for the first byte before the next target is tried."
    )


class PriceSection(Section):
    """US dollars per million tokens; what is absent costs as plain input or output does."""

    input_per_m_tok: UsdPerMTok = Field(alias="inputPerMTok", description="Plain input.")
    output_per_m_tok: UsdPerMTok = Field(alias="outputPerMTok", description="Plain output.")
    cached_input_per_m_tok: UsdPerMTok | None = Field(
        None, alias="cachedInputPerMTok", description="Input read from the provider's cache."
    )
    cache_write_per_m_tok: UsdPerMTok | None = Field(
        None, alias="cacheWritePerMTok", description="Input written to the provider's cache."
    )
    reasoning_per_m_tok: UsdPerMTok | None = Field(
        None, alias="reasoningPerMTok", description="Output that is thought, not shown."
    )


class LimitsSection(Section):
    """What each target of a model may be asked in a minute."""

    requests_per_minute: int | None = Field(None, gt=0, description="Requests, however large.")
    tokens_per_minute: int | None = Field(None, gt=0, description="Input and output together.")


class TargetSection(Section):
    provider: Text = Field(description="A provider of this file, or a preset's name.")
    upstream_model: Text | None = Field(
        None, description="What the provider calls the model; the model's own name if absent."
    )
    weight: int = Field(1, ge=0, description="Share of traffic under `objective: weighted`.")


class ModelSection(Section):
    targets: tuple[TargetSection, ...] | None = Field(
        None, description="The places that run it, in order of preference."
    )
    context_window: int | None = Field(None, gt=0, description="Tokens, input and output.")
    max_output_tokens: int | None = Field(
        None, gt=0, description="Tokens of one answer; some APIs want a limit in every request."
    )
    capabilities: Capabilities = Field(
        default_factory=dict, description="What it can do; what is absent is unknown."
    )
    family: Family | None = Field(None, description="Whose tokenizer it has, for estimates.")
    quality: dict[TaskType, Share] = Field(
        default_factory=dict, description="From 0 to 1, per task type; `default` for all others."
    )
    price: PriceSection | None = Field(None, description="The list price, if absent.")
    limits: LimitsSection = Field(
        default_factory=LimitsSection, description="What it may be asked in a minute; no limit."
    )


class TokensSection(Section):
    min: int | None = Field(None, ge=0, description="Inclusive.")
    max: int | None = Field(None, ge=0, description="Inclusive.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class MatchSection(Section):
    """All that are given must hold; a list means any of; `*` stands for any characters."""

    default: Literal[True] | None = Field(None, description="Matches every request.")
    app: OneOrMore | None = Field(None, description="Which application asks.")
    task_type: OneOrMoreTaskTypes | None = Field(
        None, description="What kind of work is asked for."
    )
    model: OneOrMore | None = Field(None, description="The model's name as requested.")
    input_tokens: TokensSection | None = Field(None, description="Estimated input tokens.")
    output_tokens: TokensSection | None = Field(None, description="Estimated output tokens.")
    streaming: bool | None = Field(None, description="Whether a stream is asked for.")
    has: OneOrMoreFeatures | None = Field(None, description="What the request holds, any of.")
    metadata: dict[Text, OneOrMore] | None = Field(
        None, description="Fields of the payload's own `metadata`, all of them."
    )
    headers: dict[Text, OneOrMore] | None = Field(None, description="Request headers, all of them.")
    path: OneOrMore | None = Field(None, description="The request's path without query.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = self.model_fields_set
        if not given or any(getattr(self, name) in (None, {}) for name in given):
            raise ValueError("matches nothing in particular: write `default: true` for all")
        if "default" in given and len(given) > 1:
            raise ValueError("`default: true` matches all, so no other condition goes with it")
        return self


class QualityFloorSection(Section):
    min: Share = Field(description="The model's `quality` for the request's task, at least.")


class LatencyCeilingSection(Section):
    max: float = Field(gt=0, description="Milliseconds to the end of the answer, as expected.")


class CostCeilingSection(Section):
    max: float = Field(gt=0, description="US dollars for one request, as expected.")


class RequireSection(Section):
    """What every target must meet, fallbacks included."""

    quality: QualityFloorSection | None = Field(None, description="A floor, from 0 to 1.")
    latency_ms: LatencyCeilingSection | None = Field(None, description="A ceiling, as expected.")
    cost_usd: CostCeilingSection | None = Field(None, description="A ceiling, as expected.")
    region: Text | None = Field(None, description="As the provider's `region` says it.")


class RouteSection(Section):
    name: Text | None = Field(
        None, description="As decisions show it; `default` or `route-N` if absent."
    )
    match: MatchSection = Field(description="Which requests this route is for.")
    model: Text | None = Field(None, description="The model to use; short for one candidate.")
    candidates: OneOrMore | None = Field(None, description="Models to choose from, in order.")
    fallback: Annotated[
        tuple[Text, ...], BeforeValidator(_listed, json_schema_input_type=Text | list[Text])
    ] = Field((), description="Models to try when the first choice fails, in order.")
    objective: Literal["order", "cost", "latency", "weighted"] = Field(
        "order", description="What the candidates are ranked by."
    )
    require: RequireSection = Field(
        default_factory=RequireSection,
        description="Floors, ceilings and the region that hold for all of its targets.",
    )
    unpriced: Literal["allow", "deny"] = Field(
        "deny", description="Whether `objective: cost` may rank candidates without a price, last."
    )

    @model_validator(mode="after")
    def _has_one_first_choice(self) -> Self:
        if (self.model is None) == (self.candidates is None):
            raise ValueError("needs either model or candidates")
        return self


class HealthCheckSection(Section):
    enabled: bool = Field(
        default=True, description="Whether failing providers are left out for a while."
    )
    interval: DurationS = Field(30.0, description="The window errors are counted over.")
    error_rate_threshold: float = Field(0.05, gt=0, le=1, description="Share of failed requests.")


class OverridesSection(Section):
    allow: tuple[
        Literal["task", "model", "avoid", "max-cost-usd", "max-latency-ms", "no-fallback"], ...
    ] = Field(("task",), description="Which `x-router-*` request headers are honoured.")


class AppsSection(Section):
    # `from` is no name for a Python field, and the field's own name is no key.
    model_config = ConfigDict(populate_by_name=False)

    source: Text = Field(
        "x-router-app",
        alias="from",
        description="The header that names the app, or `apiKey` for a hash of the client's key.",
    )
    allow: dict[Text, OneOrMore] = Field(
        default_factory=dict, description="App → the models it may use; an app not named, any."
    )


class DecisionLogSection(Section):
    path: Text = Field("stdout", description="A file to append to, `stdout`, or `none`.")
    max_bytes: LogBytes = Field(
        100 * 1024 * 1024, description="Size at which the file is rotated; bytes, or `100MiB`."
    )
    keep: int = Field(5, ge=1, le=1000, description="Rotated files kept: `path.1` is the newest.")


class OtlpSection(Section):
    """Where OpenTelemetry spans and metrics go, as OTLP over HTTP."""

    endpoint: Text = Field(
        description="The collector's base URL; `/v1/traces` and `/v1/metrics` are added to it."
    )
    headers: dict[Text, SecretStr] = Field(
        default_factory=dict,
        description="Sent with every export; write `${NAME}` for what is secret.",
    )
    interval: DurationS = Field(30.0, description="How often metrics are exported.")
    metrics: bool = Field(default=True, description="Whether metrics are exported.")
    traces: bool = Field(default=True, description="Whether spans are exported, one a request.")

    @model_validator(mode="after")
    def _exports_something(self) -> Self:
        if not (self.metrics or self.traces):
            raise ValueError("exports nothing: turn metrics or traces on, or leave otlp out")
        return self


class TelemetrySection(Section):
    baseline_model: Text | None = Field(
        None, description="The model whose price savings are measured against."
    )
    otlp: OtlpSection | None = Field(None, description="OpenTelemetry export; off if absent.")


class ServerSection(Section):
    decision_timeout: DurationS = Field(
        2.0, description="How long Envoy waits for a decision before it answers 504."
    )
    drain_delay: DurationS | None = Field(
        None,
        description="How long requests are still taken on shutdown, so that Envoy's health check "
        "finds the other replicas first; no time if there are none.",
    )
    drain_timeout: DurationS = Field(
        30.0, description="How long open requests may take to finish on shutdown."
    )
    transport: Literal["lean", "grpcio"] = Field(
        "grpcio", description="What carries gRPC from Envoy; taken at the start only."
    )
    passthrough: Text | None = Field(
        None, description="Base URL for every path that is not an LLM's; 404 if absent."
    )


class ConfigFile(Section):
    """A routing config."""

    providers: dict[Text, ProviderSection] = Field(
        default_factory=dict, description="Where models run; presets need not be named here."
    )
    models: dict[Text, ModelSection] = Field(
        default_factory=dict, description="What is known of models, over the built-in catalog."
    )
    routes: tuple[RouteSection, ...] = Field(
        description="Tried in order; the first that matches decides."
    )
    aliases: dict[Text, Text] = Field(
        default_factory=dict,
        description="What clients get by other names: alias → model; a model's own name "
        "means that model everywhere else in this file.",
    )
    health_check: HealthCheckSection = Field(
        default_factory=HealthCheckSection, description="When a failing provider is left out."
    )
    max_attempts: int = Field(3, ge=1, le=10, description="Targets tried for one request.")
    first_byte_timeout: DurationS = Field(30.0, description="Default of the providers'.")
    body_bytes_max: BodyBytes = Field(
        32 * 1024 * 1024, description="Larger requests get a 413; a number of bytes, or `32MiB`."
    )
    requested_model: Literal["honour", "ignore"] = Field(
        "honour", description="Whether a configured model that a client names is used."
    )
    unknown_capability: Literal["allow", "deny"] = Field(
        "deny", description="Whether a model may be used for what it is not known to do."
    )
    bound_history: Literal["pin", "strip"] = Field(
        "pin",
        description="What becomes of earlier thinking that only the provider which it came from "
        "can read: the request goes there, or it is left out elsewhere.",
    )
    overrides: OverridesSection = Field(
        default_factory=OverridesSection, description="What clients may ask for in headers."
    )
    apps: AppsSection = Field(
        default_factory=AppsSection,
        description="Which application asks, and which models it may use.",
    )
    decision_log: DecisionLogSection = Field(
        default_factory=DecisionLogSection, description="Where the record of every request goes."
    )
    telemetry: TelemetrySection = Field(
        default_factory=TelemetrySection, description="What is measured, and who is told."
    )
    server: ServerSection = Field(
        default_factory=ServerSection, description="How the router itself runs."
    )
