"""`extproc check`: exit 1 and one line per error: path, what is wrong, what would be right."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from extproc.command_line.loading import complain, load
from extproc.config import ConfigError, Problem
from extproc.config.schema import config_schema


class _PrintSchema(argparse.Action):
    """Ends the command as `--version` does, whatever else is or is not given."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> None:
        print(json.dumps(config_schema(), indent=2))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "--schema",
        action=_PrintSchema,
        nargs=0,
        help="print the JSON Schema of a config and end; no CONFIG is needed then",
    )


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
    for fact in compiled.facts:
        print(f"  {fact.about}: {fact.what} ({fact.source})")
    return 0
