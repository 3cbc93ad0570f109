"""The decision log: the record of every request, a JSON object a line, to a file or stdout.

Written by a thread of its own, so that a slow disk holds up no decision. What it can't keep up with
is dropped and counted: routing matters more than its log.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

import msgspec

from extproc.servers.rotation import RotatingFile, write_all
from extproc.snapshot import LOG_NOWHERE, LOG_TO_STDOUT, DecisionLogSettings

WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""Lines that wait for the writer: some ten thousand records."""

GATHER_S: Final = 0.05
"""How long the writer waits for more lines: one write and one wake-up for many."""

WRITE_BYTES: Final = 64 * 1024
"""How much is written at once, so that a file grows beyond its size by no more than that."""

LAST_BYTES: Final = 1024 * 1024
"""How far back from its end a file is read for what it holds already."""

SAY_DROPPED_S: Final = 60.0
"""How often the log says that lines were dropped."""

CLOSE_S: Final = 5.0
"""How long `close` waits for what is left to be written."""

_STDERR: Final = 2

_log = logging.getLogger(__name__)


class DecisionLogError(Exception):
    """A decision log that can't be written, found out before anything is served."""


class _Sink(Protocol):
    def write(self, lines: bytes) -> None: ...
    def close(self) -> None: ...


class _Descriptor:
    """An open file descriptor that nobody need close. No buffer, so no lock held at exit."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, lines: bytes) -> None:
        write_all(self._fd, lines)

    def close(self) -> None: ...


class DecisionLog:
    """Takes records from the event loop; `write` never waits and never raises.

    `stdout` is the descriptor that the path `stdout` stands for. `on_dropped` is told how many
    lines were dropped, from either thread.

    Raises:
        DecisionLogError: for a file that can't be opened.

    """

    def __init__(
        self,
        settings: DecisionLogSettings,
        stdout: int,
        on_dropped: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._on_dropped = on_dropped
        self._settings = settings
        self._lines: list[bytes] = []
        self._waiting: list[Future[None]] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._dropped_unsaid = 0
        self._say_after = 0.0
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None
        sink = _sink(settings, stdout)
        self._is_file = isinstance(sink, RotatingFile)
        if sink:
            # A daemon: at the end, a disk that hangs must not hold up the process.
            self._writer = threading.Thread(
                target=self._drain, args=(sink,), name="decision-log", daemon=True
            )
            self._writer.start()

    @property
    def dropped(self) -> int:
        """Lines that were not written since the start."""
        return self._dropped

    def write(self, record: bytes) -> None:
        """`record` is JSON on one line."""
        if not self._writer:
            return
        line = record + b"\n"
        with self._changed:
            fits = self._waiting_bytes + len(line) <= WAITING_BYTES_MAX
            if fits and not self._closing.is_set():
                self._waiting_bytes += len(line)
                self._lines.append(line)
                if len(self._lines) == 1:
                    self._changed.notify()
                return
        self._drop(1, "the writer can't keep up" if not fits else "it is closed")

    async def written(self) -> None:
        """Returns when all lines up to now have been written, or dropped."""
        with self._changed:
            if not self._waiting_bytes:
                return
            done: Future[None] = Future()
            self._waiting.append(done)
            self._changed.notify()
        await asyncio.wrap_future(done)

    def last_ids(self) -> list[str]:
        """The ids of the last records that the file holds: those of the process before this one."""
        if not self._is_file:
            return []
        with Path(self._settings.path).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = file.read().splitlines()
        return [found for line in lines if (found := _id_of(line))]

    def close(self) -> None:
        """Write what is left, for at most `CLOSE_S`; the rest is counted as dropped."""
        if not self._writer:
            return
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._writer.join(CLOSE_S)
        with self._changed:
            left, self._lines = len(self._lines), []
        if left:
            self._drop(left, "it was closed before they were written")

    def _drain(self, sink: _Sink) -> None:
        while True:
            lines, waiting = self._taken()
            for batch in _batches(lines):
                written = b"".join(batch)
                try:
                    sink.write(written)
                except OSError as error:
                    self._drop(len(batch), error.strerror or type(error).__name__)
                with self._changed:
                    self._waiting_bytes -= len(written)
            self._tell(waiting)
            if not lines:
                break
        sink.close()

    def _tell(self, waiting: Iterable[Future[None]]) -> None:
        """Those who began to wait while their lines were being written wait no longer either."""
        with self._changed:
            late, self._waiting = ([], self._waiting) if self._lines else (self._waiting, [])
        for done in (*waiting, *late):
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def _taken(self) -> tuple[list[bytes], list[Future[None]]]:
        """The lines that wait, and who waits for them; no lines when it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing.is_set())
            # Who waits holds back an acknowledgement, and what has none may die with the process.
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set(), GATHER_S)
            lines, self._lines = self._lines, []
            waiting, self._waiting = self._waiting, []
        return lines, waiting

    def _drop(self, count: int, why: str) -> None:
        self._on_dropped(count)
        now = time.monotonic()
        with self._changed:
            self._dropped += count
            self._dropped_unsaid += count
            if now < self._say_after:
                return
            self._say_after = now + SAY_DROPPED_S
            unsaid, self._dropped_unsaid = self._dropped_unsaid, 0
        _log.warning("decision log: %d lines dropped, the last because %s", unsaid, why)


def _id_of(line: bytes) -> str | None:
    """None for what is no record: the first of the lines may be half of one."""
    try:
        return _read_id(line).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Identified(msgspec.Struct):
    id: str


_read_id: Final = msgspec.json.Decoder(_Identified).decode


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > WRITE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _sink(settings: DecisionLogSettings, stdout: int) -> _Sink | None:
    if settings.path == LOG_NOWHERE:
        return None
    outputs = {LOG_TO_STDOUT: stdout, "/dev/stdout": stdout, "/dev/stderr": _STDERR}
    if settings.path in outputs:
        return _Descriptor(outputs[settings.path])
    path = Path(settings.path)
    try:
        if _is_stream(path):
            return _Descriptor(_opened_stream(path))
        return RotatingFile(path, settings.bytes_max, settings.keep)
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else "not a path"
        if error.errno == errno.ENXIO:
            what = "nobody reads it"
        raise DecisionLogError(
            f"decisionLog.path: can't write {settings.path}: {what}; name a file in a folder "
            f"that this process may write to, or `{LOG_TO_STDOUT}`"
        ) from None


def _is_stream(path: Path) -> bool:
    """A pipe or a device: nothing to rotate, or to read."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _opened_stream(path: Path) -> int:
    """Without waiting for a reader, should it be a FIFO: that there is none is an error."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    os.set_blocking(fd, True)
    return fd
