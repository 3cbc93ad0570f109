"""One router process: bind, serve, and on SIGTERM finish what is open before leaving."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from extproc.servers.access_log import AccessLogService
from extproc.servers.admin import Sources, build_admin
from extproc.servers.ext_proc import STREAMS_MAX, ExtProcService, channel_options
from extproc.servers.lag import sample_lag
from extproc.servers.reload import Loaded, Reloader, ReloadStatus
from extproc.servers.reports import config_report
from extproc.servers.router import Router
from extproc.snapshot import BODY_BYTES_CEILING
from extproc.wire.ext_proc import SERVICE

SWEEP_S: Final = 1.0

GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Few collections: little of a request is cyclic, and much waits for its outcome."""

_UNIX: Final = "unix:"

_log = logging.getLogger(__name__)


class BindError(Exception):
    """An address that can't be listened on: in use, or not this machine's."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: `router` as gRPC writes addresses, `host:port` or `unix:/path`."""

    router: Sequence[str]
    admin_host: str
    admin_port: int


async def serve(router: Router, listen: Listen, reloader: Reloader[Any]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    What `reloader` loads replaces the config that runs; SIGHUP asks it to load now.

    Raises:
        BindError: before anything is served.

    """
    stop = asyncio.Event()
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, lambda: hurry.set() if stop.is_set() else stop.set())
    # Before anybody is served: until it is handled, SIGHUP ends the process.
    loop.add_signal_handler(signal.SIGHUP, reloader.reload_now)

    server = grpc.aio.server(
        # The limit on a body may be raised by a reload, gRPC's may not.
        options=channel_options(BODY_BYTES_CEILING),
        maximum_concurrent_rpcs=STREAMS_MAX,
    )
    service = ExtProcService(router)
    server.add_generic_rpc_handlers((service.handler(), AccessLogService(router).handler()))
    healths = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    for address in listen.router:
        _bind(server, address)
    sources = Sources(
        registry=router.metrics.registry,
        decisions=router.decisions,
        config=lambda: config_report(router.snapshot, reloader.status, time.time()),
        state=router.report,
        explain=router.explain,
    )
    admin = web.AppRunner(build_admin(lambda: not stop.is_set(), sources), access_log=None)
    await admin.setup()
    beside = [
        asyncio.create_task(_sweep(router)),
        asyncio.create_task(sample_lag(router.metrics.loop_lagged)),
    ]
    try:
        await _listen_admin(admin, listen)
        # What is loaded by now stays: a collection that walks it all takes tens of milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        await server.start()
        await _set_health(healths, health_pb2.HealthCheckResponse.SERVING)
        _log.info("routing on %s with config %s", ", ".join(listen.router), router.snapshot.config)
        reloading = _keep_in_step(router, reloader)
        await stop.wait()
        reloading.cancel()

        await _set_health(healths, health_pb2.HealthCheckResponse.NOT_SERVING)
        await _until(hurry, router.snapshot.drain_delay_s)
        await _drain(server, service, hurry, router.snapshot.drain_timeout_s)
    finally:
        for task in beside:
            task.cancel()
        await admin.cleanup()
    _log.info("stopped")


async def _drain(
    server: grpc.aio.Server, service: ExtProcService, hurry: asyncio.Event, timeout_s: float
) -> None:
    """Take nothing new, and end when what is open has, or at `hurry`, or after `timeout_s`."""
    _log.info("draining: open requests have %g s to finish", timeout_s)
    draining = asyncio.create_task(server.stop(timeout_s))
    # Only exchanges are waited for: a health watch stays open as long as its client likes.
    enough = {asyncio.create_task(hurry.wait()), asyncio.create_task(service.until_idle())}
    await asyncio.wait({draining, *enough}, return_when=asyncio.FIRST_COMPLETED)
    for task in enough:
        task.cancel()
    await server.stop(None)
    await draining


async def _until(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)


async def _sweep(router: Router) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        router.sweep()


def _keep_in_step(router: Router, reloader: Reloader[Any]) -> asyncio.Task[None]:
    def swap(loaded: Loaded) -> None:
        before, after = router.snapshot, loaded.snapshot
        if (before.decision_log, before.telemetry.otlp) != (
            after.decision_log,
            after.telemetry.otlp,
        ):
            _log.warning("decisionLog and telemetry.otlp take effect at the next start")
        router.use(after)

    def count(status: ReloadStatus) -> None:
        router.metrics.reloaded(ok=status.last_error is None, now=time.time())

    count(reloader.status)  # the first time counts too
    reloader.on_reload(swap)
    reloader.on_attempt(count)
    return asyncio.create_task(reloader.run())


def _bind(server: grpc.aio.Server, address: str) -> None:
    """Bind, having tried it with a plain socket: of what went wrong, grpc says only that it did."""
    try:
        _try_to_bind(address)
        server.add_insecure_port(address)
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else "no such address"
        raise BindError(f"can't listen on {address}: {what}") from error
    except RuntimeError as error:
        raise BindError(f"can't listen on {address}") from error


def _try_to_bind(address: str) -> None:
    """Raises `OSError` if `address` can't be had; a socket file that nobody serves can."""
    if address.startswith(_UNIX):
        path = address.removeprefix(_UNIX)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, int(port)), family=family).close()


async def _listen_admin(admin: web.AppRunner, listen: Listen) -> None:
    try:
        await web.TCPSite(admin, listen.admin_host, listen.admin_port).start()
    except OSError as error:
        where = f"{listen.admin_host}:{listen.admin_port}"
        raise BindError(f"can't listen on {where}: {error.strerror}") from error


async def _set_health(healths: health.HealthServicer, status: int) -> None:
    for name in ("", SERVICE):
        await healths.set(name, status)
