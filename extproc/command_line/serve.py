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
from extproc.config import Compiled, ConfigError
from extproc.servers.decision_log import DecisionLog, DecisionLogError
from extproc.servers.metrics import Metrics
from extproc.servers.router import Router
from extproc.servers.serving import BindError, Listen, serve
from extproc.servers.telemetry import TelemetryError, start


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
    listen = Listen(
        router=arguments.listen or ["127.0.0.1:9002"],
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
    )
    try:
        router = _router(load(arguments.config))
    except (ConfigError, DecisionLogError, TelemetryError) as error:
        return complain(error)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(router, listen, str(arguments.config)))
    except BindError as error:
        return complain(error)
    finally:
        router.close()
    return 0


def _router(compiled: Compiled) -> Router:
    """Raises `DecisionLogError` and `TelemetryError`."""
    snapshot = compiled.snapshot
    otlp = snapshot.telemetry.otlp
    exporter = start(otlp, compiled.otlp_headers) if otlp else None
    metrics = Metrics()
    log = DecisionLog(snapshot.decision_log, sys.stdout.fileno(), metrics.log_dropped)
    return Router(snapshot, metrics, log, exporter)
