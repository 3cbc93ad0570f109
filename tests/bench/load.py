"""A closed loop of POST requests: each connection sends its next request when the last is answered.

`wrk` where it is installed, else processes of Python, which take more of the machine away from what
is measured. Neither corrects for a system that stalls: compare latencies within one run only.
"""

from __future__ import annotations

import json
import math
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

Generator = Literal["wrk", "python"]
GENERATORS: Final[tuple[Generator, ...]] = ("wrk", "python")

WORKERS_MAX: Final = 2
_START_S: Final = 0.5
_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Numbers:
    """In requests that differ, `@request` and `@session` stand for eight digits each.

    The former count up from `first`, the latter begin anew after `sessions`.
    """

    first: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one stretch of load saw; `errors` are answers other than 200 and broken connections.

    `requests` are those answered well.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


def available() -> Generator:
    return "wrk" if shutil.which("wrk") else "python"


def run(
    generator: Generator,
    url: str,
    bodies: Sequence[bytes],
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: int,
    numbers: Numbers | None = None,
) -> Load:
    """Every connection sends the `bodies` in turn; `numbers` makes them differ."""
    drive = _wrk if generator == "wrk" else _python
    heads = {"content-type": "application/json", **headers}
    return drive(url, bodies, heads, connections, seconds, numbers=numbers)


_SCRIPT: Final = """
local directory, requests, turn = os.getenv("BENCH_DIR"), {}, 0
local first, sessions = tonumber(os.getenv("BENCH_FIRST")), tonumber(os.getenv("BENCH_SESSIONS"))
local threads, begun = tonumber(os.getenv("BENCH_THREADS")), 0
wrk.method = "POST"
for line in io.lines(directory .. "/headers") do
  local name, value = line:match("^(.-): (.*)$")
  wrk.headers[name] = value
end
function setup(thread)
  thread:set("place", begun)
  begun = begun + 1
end
function init(args)
  for i = 1, tonumber(os.getenv("BENCH_BODIES")) do
    local body = io.open(directory .. "/body-" .. i, "rb"):read("*a")
    requests[i] = wrk.format(nil, nil, nil, body)
  end
end
function request()
  turn = turn + 1
  return requests[turn % #requests + 1]
end
if first then
  local turned, digits = request, {}
  function request()
    local number = first + place + turn * threads
    digits["@request"] = string.format("%08d", number)
    digits["@session"] = string.format("%08d", number % sessions)
    return (turned():gsub("@%a+", digits))
  end
end
function done(summary, latency, requests)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.timeout
  io.write(string.format("\\nRESULT %d %f %f %f %d\\n", summary.requests - e.status,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors + e.status))
end
"""


def _wrk(
    url: str,
    bodies: Sequence[bytes],
    headers: Mapping[str, str],
    connections: int,
    seconds: int,
    *,
    numbers: Numbers | None,
) -> Load:
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "post.lua")
        script.write_text(_SCRIPT, "ascii")
        heads = "".join(f"{name}: {value}\n" for name, value in headers.items())
        Path(directory, "headers").write_text(heads, "ascii")
        for number, body in enumerate(bodies, 1):
            Path(directory, f"body-{number}").write_bytes(body)
        threads = min(connections, WORKERS_MAX)
        command = [
            *("wrk", "--threads", str(threads), "--connections", str(connections)),
            *("--duration", f"{seconds}s", "--timeout", f"{seconds + _WAIT_S:.0f}s"),
            *("--script", str(script), url),
        ]
        environment = {
            "BENCH_DIR": directory,
            "BENCH_BODIES": str(len(bodies)),
            "BENCH_THREADS": str(threads),
            "PATH": _path_of("wrk"),
        }
        if numbers:
            environment["BENCH_FIRST"] = str(numbers.first)
            environment["BENCH_SESSIONS"] = str(numbers.sessions)
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=seconds + _WAIT_S,
            )
        except subprocess.SubprocessError:  # there is nothing to connect to, any more
            return Load(0, seconds, math.nan, math.nan, errors=connections)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    requests, duration_s, p50_ms, p99_ms, errors = line.split()[1:]
    return Load(int(requests), float(duration_s), float(p50_ms), float(p99_ms), int(errors))


def _path_of(program: str) -> str:
    found = shutil.which(program)
    assert found is not None
    return str(Path(found).parent)


def _python(
    url: str,
    bodies: Sequence[bytes],
    headers: Mapping[str, str],
    connections: int,
    seconds: int,
    *,
    numbers: Numbers | None,
) -> Load:
    said = {"headers": dict(headers), "bodies": [body.decode() for body in bodies]}
    parts = min(connections, WORKERS_MAX)
    begin_s = time.monotonic() + _START_S  # one clock for all processes of a machine
    with ExitStack() as stack:
        workers = []
        for index in range(parts):
            share = connections // parts + (index < connections % parts)
            command = [sys.executable, __file__, url, str(share), str(begin_s), str(seconds)]
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            workers.append(worker)
        for index, worker in enumerate(workers):
            assert worker.stdin is not None
            told = said | {"numbers": numbers and [numbers.first + index, parts, numbers.sessions]}
            worker.stdin.write(json.dumps(told).encode())
            worker.stdin.close()
            worker.stdin = None  # else `communicate` would close it again
        answers = [worker.communicate(timeout=seconds + _WAIT_S)[0] for worker in workers]
    results = [json.loads(answer) for answer in answers]
    latencies_us = sorted(latency for result in results for latency in result["latencies_us"])
    answered = len(latencies_us)
    return Load(
        requests=answered,
        seconds=seconds,
        p50_ms=latencies_us[answered // 2] / 1000 if answered else math.nan,
        p99_ms=latencies_us[answered * 99 // 100] / 1000 if answered else math.nan,
        errors=sum(result["errors"] for result in results),
    )


def request_of(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    where = urlsplit(url)
    heads = {"host": where.netloc, **headers, "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in heads.items())
    return f"POST {where.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def numbered(requests: Sequence[bytes], first: int, step: int, sessions: int) -> Iterator[bytes]:
    """The `requests` in turn, every `step`th number in them."""
    for number, request in zip(count(first, step), cycle(requests), strict=False):
        with_number = request.replace(b"@request", b"%08d" % number)
        yield with_number.replace(b"@session", b"%08d" % (number % sessions))


def _work(
    url: str, requests: Iterator[bytes], connections: int, begin_s: float, seconds: float
) -> tuple[list[int], int]:
    """One process: its connections in turn, as each has an answer. Latencies in µs, and errors."""
    where = urlsplit(url)
    host, port = str(where.hostname), int(where.port or 80)
    latencies_us, errors = [], 0
    time.sleep(max(0.0, begin_s - time.monotonic()))
    clients = [
        _Client(socket.create_connection((host, port)), requests) for _ in range(connections)
    ]
    waiting = {client.socket.fileno(): client for client in clients}
    poll = select.epoll()
    for number in waiting:
        poll.register(number, select.EPOLLIN)
    end_s = time.monotonic() + seconds
    while waiting and (left_s := end_s - time.monotonic()) > 0:
        for number, _ in poll.poll(left_s):
            client = waiting[number]
            latency_us = client.receive()
            if latency_us is None:  # a connection that failed is out: errors end the benchmark
                errors += 1
                poll.unregister(number)
                waiting.pop(number).socket.close()
            elif latency_us:
                latencies_us.append(latency_us)
    for client in waiting.values():
        client.socket.close()
    return latencies_us, errors


class _Client:
    """One connection with one request under way."""

    def __init__(self, connected: socket.socket, requests: Iterator[bytes]) -> None:
        self.socket = connected
        self._requests = requests
        self._send()

    def receive(self) -> int | None:
        """The answer's latency in µs, 0 if there is more to come, None if it is not a good one."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            return None
        self._received += data
        if not data or not self._received.startswith(b"HTTP/1.1 200"[: len(self._received)]):
            return None
        head, complete, body = self._received.partition(b"\r\n\r\n")
        if not complete:
            return 0
        _, found, length = head.lower().partition(b"content-length: ")
        if not found:
            return None
        if len(body) < int(length.split(b"\r\n", 1)[0]):
            return 0
        latency_us = (time.perf_counter_ns() - self._sent_ns) // 1000
        self._send()
        return latency_us

    def _send(self) -> None:
        self._received = b""
        self._sent_ns = time.perf_counter_ns()
        self.socket.sendall(next(self._requests))


def _main() -> None:
    url, connections, begin_s, seconds = sys.argv[1:]
    told = json.load(sys.stdin)
    requests = [request_of(url, body.encode(), told["headers"]) for body in told["bodies"]]
    drawn = numbered(requests, *told["numbers"]) if told["numbers"] else cycle(requests)
    latencies_us, errors = _work(url, drawn, int(connections), float(begin_s), float(seconds))
    json.dump({"latencies_us": latencies_us, "errors": errors}, sys.stdout)


if __name__ == "__main__":
    _main()
