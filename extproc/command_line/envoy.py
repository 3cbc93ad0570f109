"""`extproc envoy`: Envoy's configuration, and its secrets beside it, for a routing config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from extproc.command_line import places
from extproc.command_line.loading import complain, load
from extproc.command_line.snippet import text_of
from extproc.config import ConfigError
from extproc.envoy_config import CONFIG_FILE, TcpAddress, bootstrap, to_json, write
from extproc.envoy_config.files import secrets_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write envoy.json and the files it names there (else print all but the secrets)",
    )
    parser.add_argument(
        "--snippet",
        action="store_true",
        help="print what to add to an Envoy of your own, as YAML with comments",
    )
    places.add_directory_arguments(parser)
    parser.add_argument(
        "--router",
        action="append",
        type=places.router_address,
        metavar="ADDRESS",
        help="where the router listens, host:port or unix:/path; once for each of its replicas "
        "(127.0.0.1:9002)",
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
    routers = arguments.router or [TcpAddress("127.0.0.1", 9002)]
    deployment = places.deployment(arguments, routers, output or Path("/etc/envoy"))
    if arguments.snippet:
        print(text_of(arguments.config, compiled.snapshot, deployment), end="")
        return 0
    if output is None:
        print(to_json(bootstrap(compiled.snapshot, deployment)), end="")
        return 0
    try:
        write(output, compiled.snapshot, deployment, compiled.secrets)
    except OSError as error:
        return complain(error)
    count = len(secrets_of(compiled.snapshot, compiled.secrets))
    print(f"wrote {output / CONFIG_FILE} and {count} secrets", file=sys.stderr)
    return 0
