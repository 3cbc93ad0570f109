"""What is wrong with a config, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


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

    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


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


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt name: the one it resembles, else all that exist."""
    names = sorted(set(known))
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(names) or 'none'}"
