"""`extproc serve`: the ext_proc service and the admin HTTP server, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from importlib import import_module
from pathlib import Path

import uvloop

from extproc.command_line.addresses import grpc_address, port_or_any
from extproc.command_line.loading import complain
from extproc.command_line.standing_in import StandIns
from extproc.config import Compiled, ConfigError, read_text, text_of
from extproc.servers.decision_log import DecisionLog, DecisionLogError
from extproc.servers.metrics import Metrics
from extproc.servers.reload import Publish, Reloader, ReloadError, content_of
from extproc.servers.router import Router
from extproc.servers.serving import Listen, serve
from extproc.servers.telemetry import TelemetryError, start
from extproc.servers.transport import BindError

_GRPC = "grpc._cython.cygrpc"

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="reloaded when it changes")
    parser.add_argument(
        "--listen",
        action="append",
        type=grpc_address,
        metavar="ADDRESS",
        help="host:port or unix:/path for Envoy to reach; may be repeated (127.0.0.1:9002)",
    )
    parser.add_argument("--admin-host", default="127.0.0.1", metavar="HOST")
    parser.add_argument("--admin-port", type=port_or_any, default=9902, metavar="PORT")
    parser.add_argument(
        "--envoy",
        type=Path,
        metavar="DIR",
        help="keep what `extproc envoy -o DIR` wrote for Envoy in step with the config",
    )
    # For `up`, which runs the stand-ins.
    parser.add_argument("--stand-ins", default="none", help=argparse.SUPPRESS)
    parser.add_argument("--stand-in-url", default="", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger(_GRPC).addFilter(_is_news)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(arguments))
    except (ConfigError, ReloadError, BindError, DecisionLogError, TelemetryError) as error:
        return complain(error)
    return 0


def _is_news(record: logging.LogRecord) -> bool:
    """Not that Envoy closed a stream while it was being answered: its client has left."""
    return "ExecuteBatchError" not in record.getMessage()


async def _serve(arguments: argparse.Namespace) -> None:
    """Raises what can be wrong with a config, an address or a place to write to."""
    config: Path = arguments.config
    stand_ins = StandIns(arguments.stand_ins, arguments.stand_in_url)

    def load(content: bytes | None) -> Compiled:
        text = read_text(config) if content is None else text_of(content, config)
        return stand_ins.compiled(text)[0]

    def reload(content: bytes | None) -> Compiled:
        try:
            return load(content)
        except ConfigError as error:
            raise ReloadError(str(error)) from None

    listen = Listen(
        router=arguments.listen or ["127.0.0.1:9002"],
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
    )
    # What is loaded now is as new as what SIGHUP would ask for.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
    content = content_of(config)
    compiled = load(content)
    publish = _publishing(arguments.envoy)
    await publish(compiled)  # Envoy may still have what another process left
    reloader = Reloader(config, content, compiled, load=reload, publish=publish)
    router = _router(compiled)
    try:
        await serve(router, listen, reloader)
    finally:
        router.close()


def _router(compiled: Compiled) -> Router:
    """Raises `DecisionLogError` and `TelemetryError`."""
    snapshot = compiled.snapshot
    otlp = snapshot.telemetry.otlp
    exporter = start(otlp, compiled.otlp_headers) if otlp else None
    metrics = Metrics()
    log = DecisionLog(snapshot.decision_log, sys.stdout.fileno(), metrics.log_dropped)
    return Router(snapshot, metrics, log, exporter)


def _publishing(directory: Path | None) -> Publish[Compiled]:
    """What tells Envoy of a config. Raises `ReloadError`."""
    if directory is None:
        return telling_nobody()
    # Only here, because building Envoy's messages costs a second and 40 MB.
    publish: Publish[Compiled] = import_module("extproc.command_line.keeping").publishing(directory)
    return publish


def telling_nobody() -> Publish[Compiled]:
    """For an Envoy that somebody else configures: says when it has to be."""
    last: Compiled | None = None

    async def publish(compiled: Compiled) -> None:
        nonlocal last
        before, last = last, compiled
        if before and _needs_of_envoy(before) != _needs_of_envoy(compiled):
            _log.warning(
                "providers, targets or fallbacks changed: Envoy must know them too; "
                "write its configuration anew, or let --envoy DIR do so"
            )

    return publish


def _needs_of_envoy(compiled: Compiled) -> tuple[object, ...]:
    snapshot = compiled.snapshot
    return (snapshot.providers, snapshot.targets.keys(), snapshot.guards, compiled.secrets)
