"""Which providers are stood in for, and the config with stand-ins in their place (ADR 4)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from extproc.command_line.loading import compiled
from extproc.config import Compiled
from extproc.config.presets import APIS, AZURE_V1
from extproc.vocabulary import Api, Provider, ProviderName, Surface

_UNVERSIONED: Final = {Api.OPENAI: "v1", Api.AZURE: "", Api.BEDROCK: ""}


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
        providers = as_written.snapshot.providers
        places: dict[str, str] = {
            name: f"{self.url}/{name}{_base_path(providers[name])}" for name in names
        }
        return compiled(text, places), names

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


def _base_path(provider: Provider) -> str:
    """Where a stand-in has the API of `provider`."""
    if provider.api is Api.AZURE and Surface.RESPONSES in provider.endpoints:
        return AZURE_V1
    return f"/{APIS[provider.api].version or _UNVERSIONED[provider.api]}".rstrip("/")


def add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stand-ins",
        choices=("missing", "all", "none"),
        default="missing",
        help="which providers are stood in for: those without a key, all, or none (missing)",
    )
