"""The admin HTTP server: whether the process lives and whether it takes requests."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web


def build_admin(is_ready: Callable[[], bool]) -> web.Application:
    """`/healthz` answers while the process runs, `/readyz` 200 only while it takes requests."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        if is_ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "draining"}, status=503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
