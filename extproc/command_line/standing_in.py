"""Which providers are stood in for, and the config with stand-ins in their place (ADR 4)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from extproc.command_line.loading import compiled
from extproc.config import Compiled
from extproc.vocabulary import ProviderName


@dataclass(frozen=True, slots=True)
class StandIns:
    """`which` is `missing` (those without a key), `all` or `none`; `url` is where they are."""

    which: str = "none"
    url: str = ""

    def compiled(self, text: str) -> tuple[Compiled, tuple[ProviderName, ...]]:
        """The config, and which of its providers are stood in for. Raises `ConfigError`."""
        as_written = compiled(text)
        names = self._among(as_written)
        if not names:
            return as_written, ()
        return compiled(text, {name: f"{self.url}/{name}/v1" for name in names}), names

    def _among(self, config: Compiled) -> tuple[ProviderName, ...]:
        providers = config.snapshot.providers
        match self.which:
            case "all":
                return tuple(providers)
            case "missing":
                # One's own address that is spoken to in plain text is there as written.
                return tuple(name for name in config.missing_keys if providers[name].tls)
            case _:
                return ()


def add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stand-ins",
        choices=("missing", "all", "none"),
        default="missing",
        help="which providers are stood in for: those without a key, all, or none (missing)",
    )
