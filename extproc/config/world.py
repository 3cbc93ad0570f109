"""What `explain`, `test` and `diff` are told of the world: state files and routing test cases."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from extproc.config.file import Section, Share, Text
from extproc.config.problems import ConfigError, Problem, named_after
from extproc.config.reading import parsed, read_text, validated
from extproc.state.view import Breaker, TargetView, View
from extproc.text.tokens import Calibration, Family, Output
from extproc.vocabulary import Reason, TargetId


class TargetStateSection(Section):
    """One target as last seen; what is absent has not been seen."""

    breaker: Breaker = Breaker.CLOSED
    probing: bool = False
    not_before: float = Field(0.0, description="Unix seconds.")
    requests_left: float | None = Field(None, description="Of this minute.")
    tokens_left: float | None = Field(None, description="Of this minute.")
    input_tokens_left: float | None = Field(None, description="Where they are counted apart.")
    output_tokens_left: float | None = Field(None, description="Where they are counted apart.")
    ttfb_ms: float | None = Field(None, ge=0)
    ms_per_token: float | None = Field(None, ge=0)
    spiking: bool = False
    cached_share: Share = 0.0
    pending: int = Field(0, ge=0, description="Requests under way.")
    stale: bool = Field(default=False, description="Not heard of for seconds.")
    silent: bool = Field(default=False, description="Should have answered by now.")
    slow_start: Share = Field(1.0, description="Of its requests, after its breaker has closed.")


class StateSection(Section):
    """What the world looks like: targets by id, and what was learned of estimates."""

    targets: dict[Text, TargetStateSection] = Field(default_factory=dict)
    calibration: dict[Family, float] = Field(
        default_factory=dict, description="Family → what its estimates are multiplied with."
    )
    output_tokens: dict[Text, float] = Field(
        default_factory=dict, description="Task type → what its answers have taken."
    )

    def over(self, below: StateSection) -> StateSection:
        """What this says, and where it is silent what `below` says; likewise of each target."""
        targets = {
            name: _over(section, below.targets.get(name)) for name, section in self.targets.items()
        }
        return StateSection(
            targets=below.targets | targets,
            calibration=below.calibration | self.calibration,
            output_tokens=below.output_tokens | self.output_tokens,
        )

    def view(self) -> View:
        return View(
            targets=MappingProxyType(
                {
                    TargetId(name): TargetView(**dict(section))
                    for name, section in self.targets.items()
                }
            ),
            calibration={f: Calibration(ratio) for f, ratio in self.calibration.items()},
            output={task: Output(tokens) for task, tokens in self.output_tokens.items()},
        )


def _over(section: TargetStateSection, below: TargetStateSection | None) -> TargetStateSection:
    said = {name: getattr(section, name) for name in section.model_fields_set}
    return below.model_copy(update=said) if below else section


class ExpectSection(Section):
    """What must come out; what is absent is not looked at."""

    route: Text | None = None
    task: Text | None = None
    model: Text | None = Field(None, description="The first target's model.")
    target: Text | None = Field(None, description="The first target.")
    chain: tuple[Text, ...] | None = None
    rejected: dict[Text, Reason] = Field(default_factory=dict, description="Target → reason.")
    refusal: Text | None = Field(None, description="The refusal's kind.")
    status: int | None = Field(None, description="The refusal's HTTP status.")


def _as_mapping(value: object) -> object:
    return {} if value is None else value


class CaseSection(Section):
    """One routing test: a request, the world around it, and what must come out."""

    name: Text
    request: dict[Text, Any] = Field(
        description="A payload, or an object of path, headers and body."
    )
    headers: dict[Text, str] = Field(default_factory=dict)
    state: Annotated[StateSection, BeforeValidator(_as_mapping)] = Field(
        default_factory=StateSection
    )
    expect: ExpectSection


class _Cases(Section):
    cases: tuple[CaseSection, ...]


def read_state(path: Path) -> StateSection:
    """Raises `ConfigError`."""
    with named_after(path):
        return validated(StateSection, parsed(read_text(path)))


def read_cases(path: Path) -> tuple[CaseSection, ...]:
    """Raises `ConfigError`, also when two cases have one name."""
    with named_after(path):
        tree = parsed(read_text(path))
        if not isinstance(tree, list):
            raise ConfigError([Problem("", "not a list", "write a list of cases")])
        cases = validated(_Cases, {"cases": tree}, ("cases",)).cases
        names = [case.name for case in cases]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError([Problem(name, "names two cases", "give each its own name")])
    return cases
