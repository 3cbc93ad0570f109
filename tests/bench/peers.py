"""What the benchmark compares with, each installed once, pinned, in a place of its own.

Nothing of it is in this project's own environment, and what can't be had is left out with a reason.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

LITELLM: Final = "1.106.0"
PORTKEY: Final = "1.15.2"
GO_SOURCE: Final = Path(__file__).parent / "go_ext_proc"

INSTALL_S: Final = 600.0
REASON_CHARS_MAX: Final = 200


class LeftOutError(Exception):
    """Why something is not measured."""


def litellm_proxy() -> Path:
    """The command that starts it."""
    python = python_environment(f"litellm[proxy]=={LITELLM}")
    return python.parent / "litellm"


def portkey_gateway() -> Path:
    """The script that `node` runs."""
    package = "@portkey-ai/gateway"

    def install(directory: Path) -> None:
        npm = [tool("npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        _run([*npm, "--prefix", str(directory), f"{package}@{PORTKEY}"], "npm")

    tool("node")
    directory = kept(f"portkey-{PORTKEY}", install)
    return directory / "node_modules" / package / "build/start-server.js"


def go_ext_proc() -> Path:
    """The program, built of `GO_SOURCE` as it is now."""
    source = b"".join(file.read_bytes() for file in sorted(GO_SOURCE.iterdir()))

    def install(directory: Path) -> None:
        build = [tool("go"), "build", "-C", str(GO_SOURCE), "-trimpath"]
        _run([*build, "-o", str(directory / "ext_proc"), "."], "go")

    return kept(f"go-ext-proc-{hashlib.sha256(source).hexdigest()[:16]}", install) / "ext_proc"


def python_environment(requirement: str) -> Path:
    """The Python of an environment with that and what it needs."""

    def install(directory: Path) -> None:
        venv.create(directory, clear=True, with_pip=True, symlinks=True)
        pip = [str(directory / "bin/python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", requirement], "pip")

    name = "-".join(re.findall(r"[\w.]+", requirement))
    return kept(f"{name}-python-{platform.python_version()}", install) / "bin/python"


def kept(name: str, install: Callable[[Path], None]) -> Path:
    """The directory of that name, outside of the project; filled by `install` if it is not yet."""
    home = Path(tempfile.gettempdir()) / f"extproc-bench-{os.getuid()}"
    directory = home / name
    stamp = directory / ".installed"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise LeftOutError(f"{home} is someone else's")
    if not stamp.exists():  # written last, so that a broken install is retried
        sys.stderr.write(f"Installing {name} in {directory} …\n")
        directory.mkdir(exist_ok=True)
        install(directory)
        stamp.touch()
    return directory


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LeftOutError(f"{name} is not installed")
    return found


def _run(command: Sequence[str], tool: str) -> None:
    try:
        subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        raise LeftOutError(f"{tool} took more than {INSTALL_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise LeftOutError(f"{tool} failed: {_last(str(error.stderr))}") from None


def _last(said: str) -> str:
    """What a tool said of its failure, in a line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    return "".join([*errors, *lines[-1:]][:1])[:REASON_CHARS_MAX]
