"""One router process: bind, serve, and on SIGTERM finish what is open before leaving."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from extproc.servers.access_log import AccessLogService
from extproc.servers.admin import Sources, build_admin
from extproc.servers.ext_proc import ExtProcService
from extproc.servers.grpcio import GrpcioTransport
from extproc.servers.lag import sample_lag
from extproc.servers.lean import LeanTransport
from extproc.servers.reload import Loaded, Reloader, ReloadStatus
from extproc.servers.reports import config_report
from extproc.servers.router import Router
from extproc.servers.transport import BindError, Transport
from extproc.snapshot import LEAN, Snapshot

SWEEP_S: Final = 1.0

GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Few collections: little of a request is cyclic, and much waits for its outcome."""

_log = logging.getLogger(__name__)


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

    exchanges = ExtProcService(router)
    transport = _transport(router, exchanges)
    for address in listen.router:
        transport.bind(address)
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
        await transport.start()
        await transport.set_serving(serving=True)
        _log.info("routing on %s with config %s", ", ".join(listen.router), router.snapshot.config)
        reloading = _keep_in_step(router, reloader)
        await stop.wait()
        reloading.cancel()

        await transport.set_serving(serving=False)
        await _until(hurry, router.snapshot.drain_delay_s)
        await _drain(transport, exchanges, hurry, router.snapshot.drain_timeout_s)
    finally:
        for task in beside:
            task.cancel()
        await admin.cleanup()
    _log.info("stopped")


def _transport(router: Router, exchanges: ExtProcService) -> Transport:
    access_log = AccessLogService(router)
    if router.snapshot.transport == LEAN:
        return LeanTransport(exchanges, access_log)
    return GrpcioTransport(exchanges, access_log)


async def _drain(
    transport: Transport, exchanges: ExtProcService, hurry: asyncio.Event, timeout_s: float
) -> None:
    """Take nothing new, and end when what is open has, or at `hurry`, or after `timeout_s`."""
    _log.info("draining: open requests have %g s to finish", timeout_s)
    draining = asyncio.create_task(transport.stop(timeout_s))
    # Only exchanges are waited for: a health watch stays open as long as its client likes.
    enough = {asyncio.create_task(hurry.wait()), asyncio.create_task(exchanges.until_idle())}
    await asyncio.wait({draining, *enough}, return_when=asyncio.FIRST_COMPLETED)
    for task in enough:
        task.cancel()
    await transport.stop(None)
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
        if _taken_at_start(before) != _taken_at_start(after):
            _log.warning(
                "decisionLog, telemetry.otlp and server.transport take effect at the next start"
            )
        router.use(after)

    def count(status: ReloadStatus) -> None:
        router.metrics.reloaded(ok=status.last_error is None, now=time.time())

    router.metrics.loaded(time.time())
    reloader.on_reload(swap)
    reloader.on_attempt(count)
    return asyncio.create_task(reloader.run())


def _taken_at_start(snapshot: Snapshot) -> tuple[object, ...]:
    return (snapshot.decision_log, snapshot.telemetry.otlp, snapshot.transport)


async def _listen_admin(admin: web.AppRunner, listen: Listen) -> None:
    try:
        await web.TCPSite(admin, listen.admin_host, listen.admin_port).start()
    except OSError as error:
        where = f"{listen.admin_host}:{listen.admin_port}"
        raise BindError(f"can't listen on {where}: {error.strerror}") from error
