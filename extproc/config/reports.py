"""What is reported and to whom: the decision log, the baseline of savings, OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from extproc.config.file import DecisionLogSection
from extproc.config.models import targets_of
from extproc.config.providers import check_header, origin_of
from extproc.config.run import Compilation
from extproc.snapshot import DecisionLogSettings, Otlp, Telemetry
from extproc.vocabulary import Target

_OTLP: Final = ("telemetry", "otlp")
_SIGNAL_PATHS: Final = ("/v1/traces", "/v1/metrics", "/v1/logs")
_EXAMPLE: Final = "http://localhost:4318"


def decision_log_of(section: DecisionLogSection) -> DecisionLogSettings:
    return DecisionLogSettings(section.path, section.max_bytes, section.keep)


def telemetry_of(run: Compilation) -> tuple[Telemetry, Mapping[str, str]]:
    """Beside it the headers of exports, which are secret."""
    return Telemetry(_baseline(run), _otlp(run)), _otlp_headers(run)


def _baseline(run: Compilation) -> Target | None:
    """The first target of `baselineModel` that has a price.

    It is resolved aside, so that a model which is only compared with is neither offered to
    clients nor made known to Envoy, and needs no key.
    """
    name = run.file.telemetry.baseline_model
    if name is None:
        return None
    location = ("telemetry", "baselineModel")
    aside = replace(
        run, problems=[], models=dict(run.models), resolving=dict(run.resolving), facts=[]
    )
    targets = targets_of(aside, name, location)
    if not targets:
        run.problems += aside.problems  # none, where the model's own section has been told of
        return None
    priced = next((target for target in targets if target.prices), None)
    if priced is None:
        remedy = f"write models.{targets[0].model.name}.price, or name a model that has one"
        run.problem(location, f"{name} has no price to measure savings against", remedy)
        return None
    run.facts += [fact for fact in aside.facts if fact.about == priced.id]
    return priced


def _otlp(run: Compilation) -> Otlp | None:
    section = run.file.telemetry.otlp
    if section is None:
        return None
    location = (*_OTLP, "endpoint")
    endpoint = section.endpoint.rstrip("/")
    if origin_of(run, endpoint, location, _EXAMPLE) and endpoint.endswith(_SIGNAL_PATHS):
        run.problem(location, "is one signal's, not the collector's", f"write {_EXAMPLE}")
    return Otlp(endpoint, section.interval, section.metrics, section.traces)


def _otlp_headers(run: Compilation) -> Mapping[str, str]:
    section = run.file.telemetry.otlp
    headers = {k: v.get_secret_value() for k, v in section.headers.items()} if section else {}
    for name, value in headers.items():
        check_header(run, name, value, (*_OTLP, "headers", name))
    return MappingProxyType({name.lower(): value for name, value in headers.items()})
