"""From a config's path to its running form, or to one line per error on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from extproc.config import Compiled, ConfigError, Problem, compile_config, read_config, read_text
from extproc.config.file import ConfigFile
from extproc.explain import RequestError, WrittenRequest, written_request


def load(path: Path) -> Compiled:
    """Raises `ConfigError`, also for a file that can't be read."""
    return compiled(read_text(path))


def compiled(text: str, base_urls: Mapping[str, str] | None = None) -> Compiled:
    """Raises `ConfigError`, with what is wrong in form and, where it can be said, with names."""
    try:
        file = read_config(text, os.environ)
    except ConfigError as error:
        raise ConfigError([*error.problems, *_wrong_with(error.rest, base_urls)]) from None
    return compile_config(file, os.environ, base_urls)


def _wrong_with(
    file: ConfigFile | None, base_urls: Mapping[str, str] | None
) -> tuple[Problem, ...]:
    if file is None:
        return ()
    try:
        compile_config(file, os.environ, base_urls)
    except ConfigError as error:
        return error.problems
    return ()


def complain(error: Exception) -> int:
    """Print `error`; returns the exit status that goes with it."""
    print(error, file=sys.stderr)
    return 1


def requests_of(path: Path) -> Iterator[tuple[int, WrittenRequest]]:
    """The requests of a file, one on each line, with the line's number from 1.

    Raises `ConfigError` and `RequestError`, the latter with the line.
    """
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        if line.strip():
            try:
                yield number, written_request(line)
            except RequestError as error:
                raise RequestError(f"line {number}: {error}") from None


def read_bytes(path: Path) -> bytes:
    """The content of a file, or of standard input for `-`. Raises `ConfigError`."""
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        what = f"can't be read ({error.strerror})"
        raise ConfigError(
            [Problem(str(path), what, "name a file, or - for standard input")]
        ) from None
