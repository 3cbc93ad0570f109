"""One compilation: the file, the environment, what is resolved so far and what was found wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from extproc.config.file import ConfigFile
from extproc.config.problems import Problem, path_of
from extproc.vocabulary import ModelName, Provider, ProviderName, Target

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,126}")
MODEL_NAME_REMEDY: Final = "use letters, digits and . _ : @ / -, not `auto`"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known of a model or a target, and where it is known from."""

    about: str
    what: str
    source: str


@dataclass(slots=True)
class Compilation:
    """One run: the file, the environment, what is resolved so far and what was found wrong."""

    file: ConfigFile
    env: Mapping[str, str]
    base_urls: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    providers: dict[ProviderName, Provider | None] = field(default_factory=dict)
    keys: dict[ProviderName, str] = field(default_factory=dict)
    headers: dict[ProviderName, Mapping[str, str]] = field(default_factory=dict)
    missing_keys: dict[ProviderName, str] = field(default_factory=dict)
    models: dict[ModelName, tuple[Target, ...]] = field(default_factory=dict)
    resolving: dict[str, ModelName] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)

    def problem(self, location: Iterable[str | int], what: str, remedy: str) -> None:
        self.problems.append(Problem(path_of(location), what, remedy))
