"""`extproc envoy`: Envoy's configuration, and its secrets beside it, for a routing config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from extproc.command_line import places
from extproc.command_line.loading import complain, load
from extproc.config import ConfigError
from extproc.envoy_config import bootstrap, to_json
from extproc.envoy_config.files import CONFIG_FILE, SECRETS_DIR, write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write envoy.json and secrets/ there (else only the former, to stdout)",
    )
    parser.add_argument(
        "--secrets-dir",
        type=Path,
        metavar="DIR",
        help="where Envoy will find the secrets, if not in the output's secrets/",
    )
    parser.add_argument(
        "--router",
        type=places.router_address,
        default="127.0.0.1:9002",
        metavar="ADDRESS",
        help="where the router listens, host:port or unix:/path (127.0.0.1:9002)",
    )
    places.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        compiled = load(arguments.config)
    except ConfigError as error:
        return complain(error)
    for name, where in compiled.missing_keys.items():
        print(f"{name}: {where} is not set; Envoy will send it no credential", file=sys.stderr)
    output: Path | None = arguments.output
    secrets_dir = arguments.secrets_dir or (output or Path("/etc/envoy")).resolve() / SECRETS_DIR
    deployment = places.deployment(arguments, arguments.router, secrets_dir)
    config = bootstrap(compiled.snapshot, deployment)
    if output is None:
        print(to_json(config), end="")
        return 0
    try:
        write(output, config, compiled.keys)
    except OSError as error:
        return complain(error)
    print(f"wrote {output / CONFIG_FILE} and {len(compiled.keys)} secrets", file=sys.stderr)
    return 0
