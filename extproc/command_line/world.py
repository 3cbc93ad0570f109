"""Flags that set what the world would have supplied: time, chance and what was seen of targets."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from extproc.config.problems import ConfigError, Problem, named_after, nearest, path_of
from extproc.config.world import StateSection, read_state
from extproc.policy.draw import DRAW_BITS
from extproc.snapshot import Snapshot

DEFAULT_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""A fixed moment, so that the same question has the same answer tomorrow."""

_LAST_MOMENT: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class World:
    state: StateSection
    now: float
    seed: str

    def draw(self, number: int = 0) -> int:
        """The random bits of request `number`."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        return int.from_bytes(digest, "big") >> (256 - DRAW_BITS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--now",
        type=_moment,
        default=DEFAULT_NOW,
        metavar="TIME",
        help="ISO 8601 or Unix seconds (2026-01-01T00:00:00Z)",
    )
    parser.add_argument("--seed", default="0", help="what chance draws from (0)")
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="what has been seen of the targets"
    )


def world_of(arguments: argparse.Namespace, *snapshots: Snapshot) -> World:
    """Raises `ConfigError` for a state file that is not one, or not of any of `snapshots`."""
    state = StateSection()
    if arguments.state:
        state = read_state(arguments.state)
        known = {target for snapshot in snapshots for target in snapshot.targets}
        with named_after(arguments.state):
            _check_targets(state, known)
    return World(state, arguments.now, arguments.seed)


def _check_targets(state: StateSection, known: Collection[str]) -> None:
    unknown = [name for name in state.targets if name not in known]
    if unknown:
        raise ConfigError(
            Problem(path_of(("targets", name)), f"no target is called {name}", nearest(name, known))
            for name in unknown
        )


def _moment(text: str) -> float:
    try:
        moment = float(text)
    except ValueError:
        try:
            named = datetime.fromisoformat(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no time") from None
        moment = (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp()
    if not 0 <= moment <= _LAST_MOMENT:  # a decision's id and time can tell no other
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1970 and 9999")
    return moment
