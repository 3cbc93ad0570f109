"""The `extproc` command: the only part that prints or reads the environment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from extproc import __version__

_COMMANDS: Final = {
    "up": "Envoy, the router and, where no key is set, stand-in providers: one process tree",
    "serve": "the router alone, for an Envoy that runs elsewhere",
    "check": "say what is wrong with a routing config",
    "explain": "the decision for one request, and why",
    "test": "routing unit tests, without running anything",
    "diff": "what another config would change",
    "envoy": "write the Envoy configuration for a routing config",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for what the command found wrong, 2 for usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="extproc", description="An inference router for Envoy.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = {
        name: subparsers.add_parser(name, help=text, description=text.capitalize() + ".")
        for name, text in _COMMANDS.items()
    }
    name = arguments[0] if arguments else ""
    if name not in commands:
        parser.parse_args(arguments)  # exits: help, version, or what is wrong
        return 2
    # Only the chosen command is imported: building Envoy's messages costs a second and 40 MB,
    # which the router does without.
    command = import_module(f"extproc.command_line.{name}")
    command.add_arguments(commands[name])
    # Intermixed, or an argument that may be left out could not stand behind a flag.
    parsed = commands[name].parse_intermixed_args(arguments[1:])
    try:
        status: int = command.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit complains
        return 1
    return status
