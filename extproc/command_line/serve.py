"""`extproc serve`: the ext_proc service and the admin HTTP server, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import uvloop

from extproc.command_line.addresses import grpc_address, port_or_any
from extproc.command_line.loading import complain, load
from extproc.config import ConfigError
from extproc.servers.ext_proc import DECISIONS
from extproc.servers.serving import BindError, Listen, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "--listen",
        action="append",
        type=grpc_address,
        metavar="ADDRESS",
        help="host:port or unix:/path for Envoy to reach; may be repeated (127.0.0.1:9002)",
    )
    parser.add_argument("--admin-host", default="127.0.0.1", metavar="HOST")
    parser.add_argument("--admin-port", type=port_or_any, default=9902, metavar="PORT")


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _print_decisions()
    listen = Listen(
        router=arguments.listen or ["127.0.0.1:9002"],
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
    )
    try:
        snapshot = load(arguments.config).snapshot
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(snapshot, listen))
    except (ConfigError, BindError) as error:
        return complain(error)
    return 0


def _print_decisions() -> None:
    """The record of every decision to stdout, a line each; all other messages go to stderr."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    decisions = logging.getLogger(DECISIONS)
    decisions.addHandler(handler)
    decisions.propagate = False
