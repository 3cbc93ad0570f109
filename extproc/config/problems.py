"""What is wrong with a config, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extproc.config.file import ConfigFile

Location = tuple[str | int, ...]
"""Where something stands in a file: keys and positions, from the top."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `path` is as a person would write it: `routes[1].match.taskType`."""

    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path or 'config'}: {self.what}; {self.remedy}"


class ConfigError(Exception):
    """A config that cannot run, with every problem found, not just the first.

    Attributes:
        problems: at least one, in the order of the file where that is known.
        rest: what is left of the file without them, where they have no bearing on it.

    """

    def __init__(self, problems: Iterable[Problem], rest: ConfigFile | None = None) -> None:
        self.problems = tuple(problems)
        self.rest = rest
        super().__init__("\n".join(map(str, self.problems)))


@contextmanager
def named_after(file: Path) -> Iterator[None]:
    """Puts the file before what is wrong in it, where there are several that could be meant."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            problem
            if problem.path.startswith(f"{file}")
            else replace(problem, path=f"{file}: {problem.path}" if problem.path else f"{file}")
            for problem in error.problems
        ) from None


def path_of(location: Iterable[str | int]) -> str:
    """`("routes", 1, "match")` → `routes[1].match`; names that hold dots are bracketed."""
    path = ""
    for part in location:
        if isinstance(part, int) or "." in part:
            path += f"[{part}]"
        elif not part.isprintable():
            path += f"[{part!r}]"
        else:
            path += f".{part}" if path else part
    return path


def nearest(name: str, known: Iterable[str], also: Iterable[str] = ()) -> str:
    """A remedy for a misspelt name: the one it resembles, else all of `known`.

    `also` may be resembled but is not listed. Case makes no difference to what is alike.
    """
    names = sorted(set(known))
    spelt = {other.lower(): other for other in (*also, *names)}
    close = get_close_matches(name.lower(), sorted(spelt), n=1, cutoff=0.6)
    if close:
        return f"did you mean {spelt[close[0]]}?"
    return f"known here: {', '.join(names) or 'none'}"
