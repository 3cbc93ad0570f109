"""`extproc check`: exit 1 and one line per error: path, what is wrong, what would be right."""

from __future__ import annotations

import argparse
from pathlib import Path

from extproc.command_line.loading import complain, load
from extproc.config import ConfigError, Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")


def run(arguments: argparse.Namespace) -> int:
    try:
        compiled = load(arguments.config)
    except ConfigError as error:
        return complain(error)
    if compiled.missing_keys:
        return complain(
            ConfigError(
                Problem(f"providers.{name}.apiKey", f"{where} is not set", "set it, or give a key")
                for name, where in compiled.missing_keys.items()
            )
        )
    snapshot = compiled.snapshot
    print(
        f"{arguments.config}: ok, {len(snapshot.routes)} routes over {len(snapshot.targets)} "
        f"targets, {snapshot.config}"
    )
    return 0
