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

from extproc.vocabulary import Feature

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


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("empty: name at least one")
    return value


DurationS = Annotated[float, BeforeValidator(_duration_s), Field(gt=0, le=3600)]
SizeBytes = Annotated[int, BeforeValidator(_size_bytes)]
Text = Annotated[str, Field(min_length=1)]
OneOrMore = Annotated[tuple[Text, ...], BeforeValidator(_listed), AfterValidator(_not_empty)]


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
    api: Literal["openai"] | None = Field(
        None, description="The dialect it speaks; `openai` is the one spoken so far."
    )
    region: Text | None = Field(None, description="Where the provider runs, in your own words.")
    headers: dict[Text, str] = Field(
        default_factory=dict, description="Sent with every request to this provider."
    )
    first_byte_timeout: DurationS | None = Field(
        None, description="How long to wait for the first byte before the next target is tried."
    )


class TargetSection(Section):
    provider: Text = Field(description="A provider of this file, or a preset's name.")
    upstream_model: Text | None = Field(
        None, description="What the provider calls the model; the model's own name if absent."
    )
    weight: int = Field(1, ge=0, description="Share of traffic among this model's targets.")


class ModelSection(Section):
    targets: tuple[TargetSection, ...] | None = Field(
        None, description="The places that run it, in order of preference."
    )
    context_window: int | None = Field(None, gt=0, description="Tokens, input and output.")
    capabilities: dict[Feature, bool] = Field(
        default_factory=dict, description="What it can do; what is absent is unknown."
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
    task_type: OneOrMore | None = Field(None, description="What kind of work is asked for.")
    model: OneOrMore | None = Field(None, description="The model's name as requested.")
    input_tokens: TokensSection | None = Field(None, description="Estimated input tokens.")
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


class RouteSection(Section):
    name: Text | None = Field(
        None, description="As decisions show it; `default` or `route-N` if absent."
    )
    match: MatchSection = Field(description="Which requests this route is for.")
    model: Text | None = Field(None, description="The model to use; short for one candidate.")
    candidates: OneOrMore | None = Field(None, description="Models to choose from, in order.")
    fallback: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = Field(
        (), description="Models to try when the first choice fails, in order."
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
    allow: tuple[Literal["task"], ...] = Field(
        ("task",), description="Which `x-router-*` request headers are honoured."
    )


class ServerSection(Section):
    decision_timeout: DurationS = Field(
        2.0, description="How long Envoy waits for a decision before it answers 504."
    )
    drain_timeout: DurationS = Field(
        30.0, description="How long open requests may take to finish on shutdown."
    )
    passthrough: Text | None = Field(
        None, description="Base URL for every path that is not an LLM's; 404 if absent."
    )


class ConfigFile(Section):
    """A routing config."""

    providers: dict[Text, ProviderSection] = Field(default_factory=dict)
    models: dict[Text, ModelSection] = Field(default_factory=dict)
    routes: tuple[RouteSection, ...] = Field(
        description="Tried in order; the first that matches decides."
    )
    aliases: dict[Text, Text] = Field(
        default_factory=dict, description="Other names that clients may ask for: alias → model."
    )
    health_check: HealthCheckSection = Field(default_factory=HealthCheckSection)
    max_attempts: int = Field(3, ge=1, le=10, description="Targets tried for one request.")
    first_byte_timeout: DurationS = Field(30.0, description="Default of the providers'.")
    body_bytes_max: SizeBytes = Field(
        32 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024, description="Larger requests get a 413."
    )
    requested_model: Literal["honour", "ignore"] = Field(
        "honour", description="Whether a configured model that a client names is used."
    )
    unknown_capability: Literal["allow", "deny"] = Field(
        "deny", description="Whether a model may be used for what it is not known to do."
    )
    overrides: OverridesSection = Field(default_factory=OverridesSection)
    server: ServerSection = Field(default_factory=ServerSection)
