"""One router process: bind, serve, and on SIGTERM finish what is open before leaving."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from extproc.servers.admin import build_admin
from extproc.servers.ext_proc import STREAMS_MAX, ExtProcService, channel_options
from extproc.servers.reload import Loaded, Reloader
from extproc.snapshot import BODY_BYTES_CEILING, Snapshot
from extproc.wire.ext_proc import SERVICE

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


async def serve(snapshot: Snapshot, listen: Listen, reloader: Reloader[Any] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    With a `reloader`, what it loads replaces `snapshot`; SIGHUP asks it to load now.

    Raises:
        BindError: before anything is served.

    """
    stop = asyncio.Event()
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, lambda: hurry.set() if stop.is_set() else stop.set())
    if reloader:  # before anybody is served: until it is handled, SIGHUP ends the process
        loop.add_signal_handler(signal.SIGHUP, reloader.reload_now)

    server = grpc.aio.server(
        # The limit on a body may be raised by a reload, gRPC's may not.
        options=channel_options(BODY_BYTES_CEILING),
        maximum_concurrent_rpcs=STREAMS_MAX,
    )
    service = ExtProcService(snapshot)
    server.add_generic_rpc_handlers((service.handler(),))
    healths = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    for address in listen.router:
        _bind(server, address)
    admin = web.AppRunner(build_admin(lambda: not stop.is_set()), access_log=None)
    await admin.setup()
    try:
        await _listen_admin(admin, listen)
        # What is loaded by now stays: a collection that walks it all takes tens of milliseconds.
        gc.collect()
        gc.freeze()
        await server.start()
        await _set_health(healths, health_pb2.HealthCheckResponse.SERVING)
        _log.info("routing on %s with config %s", ", ".join(listen.router), snapshot.config)
        reloading = _keep_in_step(service, reloader) if reloader else None
        await stop.wait()
        if reloading:
            reloading.cancel()

        await _set_health(healths, health_pb2.HealthCheckResponse.NOT_SERVING)
        drain_timeout_s = service.snapshot.drain_timeout_s
        _log.info("draining: open requests have %g s to finish", drain_timeout_s)
        draining = asyncio.create_task(server.stop(drain_timeout_s))
        # Only exchanges are waited for: a health watch stays open as long as its client likes.
        enough = {asyncio.create_task(hurry.wait()), asyncio.create_task(service.until_idle())}
        await asyncio.wait({draining, *enough}, return_when=asyncio.FIRST_COMPLETED)
        for task in enough:
            task.cancel()
        await server.stop(None)
        await draining
    finally:
        await admin.cleanup()
    _log.info("stopped")


def _keep_in_step(service: ExtProcService, reloader: Reloader[Any]) -> asyncio.Task[None]:
    def swap(loaded: Loaded) -> None:
        service.snapshot = loaded.snapshot

    reloader.on_reload(swap)
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
