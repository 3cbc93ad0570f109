"""Processes of a benchmark: started, waited for, watched through /proc, ended by their id."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

READY_S: Final = 120.0
STOP_S: Final = 5.0
IDLE_S: Final = 0.1
SETTLE_S_MAX: Final = 15.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    name: str
    pid: int

    def cpu_s(self) -> float:
        """User and system time of all its threads so far; the kernel counts in ticks of 10 ms."""
        stat = Path(f"/proc/{self.pid}/stat").read_text("ascii")
        fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class NotStartedError(SystemExit):
    """It ended before it was ready, or never was. Ends the benchmark, unless it can do without."""


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    is_ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """`command` from when it is ready until the end of the block; without `env` nothing is set."""
    with tempfile.TemporaryFile() as output:
        popen = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env or {})
        try:
            deadline = time.monotonic() + READY_S
            while not is_ready():
                if popen.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    said = output.read()[-2000:].decode(errors="replace")
                    raise NotStartedError(f"{name} did not start: {' '.join(command)}\n{said}")
                time.sleep(0.02)
            yield Process(name, popen.pid)
        finally:
            popen.terminate()
            try:
                popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()


def settle(processes: Sequence[Process]) -> None:
    """Until they are at rest: what they still do of one load must not run beside the next."""
    end_s = time.monotonic() + SETTLE_S_MAX
    before_s = sum(process.cpu_s() for process in processes)
    while time.monotonic() < end_s:
        time.sleep(IDLE_S)
        now_s = sum(process.cpu_s() for process in processes)
        if now_s - before_s < 3 / _TICKS_PER_S:
            return
        before_s = now_s


def answers(port: int, path: str) -> Callable[[], bool]:
    """Whether `path` on that loopback port answers 200."""

    def is_ready() -> bool:
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return is_ready


def free_ports(count: int) -> list[int]:
    """Distinct ports: all are held until the last is found."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
