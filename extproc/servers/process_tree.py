"""Several programs as one: they start in order, and when one ends or a signal comes, all end."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_STOP_S: Final = 5.0
"""How long a child has to leave on SIGTERM before it is killed."""

_HURRIED_STOP_S: Final = 0.5
"""How long it has once a second signal came."""

_POLL_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1

_log = logging.getLogger(__name__)


class ChildError(Exception):
    """A child that ended on its own or did not become ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """A program to run, and how to tell that it is up. `is_ready` may raise `OSError` till then.

    `drain` returns when the child may be told to leave. SIGHUP is passed on to who `takes_hangup`.
    """

    name: str
    command: Sequence[str]
    is_ready: Callable[[], Awaitable[bool]]
    ready_timeout_s: float = 30.0
    env: Mapping[str, str] | None = None
    drain: Callable[[], Awaitable[None]] | None = None
    takes_hangup: bool = False


async def run_together(children: Sequence[Child], on_ready: Callable[[], None]) -> None:
    """Run `children` until SIGINT or SIGTERM, then end them, the last started first.

    A second signal waits for nobody.

    Raises:
        ChildError: when a child ended before it was told to; the others have been ended too.

    """
    signals = _Signals()
    stopping = asyncio.create_task(signals.stop.wait())
    running: list[tuple[Child, asyncio.subprocess.Process]] = []
    try:
        for child in children:
            process = await _start(child)
            running.append((child, process))
            ready = asyncio.create_task(_until_ready(child))
            await _first_of(running, stopping, ready)
            if signals.stop.is_set():
                return
            if child.takes_hangup:
                signals.pass_hangups_to(process)
        on_ready()
        await _first_of(running, stopping)
    finally:
        stopping.cancel()
        is_asked = signals.stop.is_set()
        signals.stop.set()  # from now on a signal is one too many
        for child, process in reversed(running):
            if is_asked and child.drain:
                await _unless(signals.hurry, child.drain())
            await _end(process, signals.hurry)


class _Signals:
    """What came: SIGINT or SIGTERM once, and again; SIGHUP goes to the children that take it.

    But where a terminal is closed, SIGHUP means that nobody is there to stop this any more.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._had_terminal = _has_terminal()
        self._hung_up: list[asyncio.subprocess.Process] = []
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def pass_hangups_to(self, process: asyncio.subprocess.Process) -> None:
        """Not sooner than it handles SIGHUP: before that, it would end by it."""
        self._hung_up.append(process)

    def _end(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()

    def _hang_up(self) -> None:
        if self._had_terminal and not _has_terminal():
            self._end()
            return
        for process in self._hung_up:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGHUP)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def _start(child: Child) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *child.command,
            env=child.env,
            # Its own group: Ctrl-C reaches only the parent, which ends the children in order.
            process_group=0,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    except OSError as error:
        raise ChildError(f"{child.name} can't be started: {error}") from error


def _die_with_parent() -> None:
    """In the child, before its program: be ended when the parent is, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:  # the parent died first
        os._exit(1)


async def _until_ready(child: Child) -> None:
    try:
        async with asyncio.timeout(child.ready_timeout_s):
            while not await _answers(child):  # noqa: ASYNC110  another process can't set an event
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        waited = f"{child.ready_timeout_s:g} s"
        raise ChildError(f"{child.name} was not ready within {waited}") from None


async def _answers(child: Child) -> bool:
    try:
        return await child.is_ready()
    except OSError:
        return False


async def _first_of(
    running: Sequence[tuple[Child, asyncio.subprocess.Process]],
    *awaited: asyncio.Task[object],
) -> None:
    """Wait for one of `awaited`; a child that ends meanwhile is an error."""
    exits: dict[asyncio.Task[object], Child] = {
        asyncio.create_task(_exit_status(process)): child for child, process in running
    }
    done, _ = await asyncio.wait({*awaited, *exits}, return_when=asyncio.FIRST_COMPLETED)
    for task in exits:
        task.cancel()
    for task in done:
        if task in exits and not any(other in done for other in awaited):
            raise ChildError(f"{exits[task].name} ended with status {task.result()}")
        task.result()


async def _exit_status(process: asyncio.subprocess.Process) -> object:
    return await process.wait()


async def _end(process: asyncio.subprocess.Process, hurry: asyncio.Event) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    left = asyncio.create_task(process.wait())
    await _unless(hurry, _within(_STOP_S, left))
    await _within(_HURRIED_STOP_S if hurry.is_set() else 0, left)
    if not left.done():
        _log.warning("killing process %d: it did not leave on SIGTERM", process.pid)
        process.kill()
    await left


async def _within(seconds: float, task: asyncio.Task[int]) -> None:
    await asyncio.wait({task}, timeout=seconds)


async def _unless(event: asyncio.Event, what: Awaitable[None]) -> None:
    """Wait for `what`, but no longer than until `event`."""
    awaited = {asyncio.ensure_future(what), asyncio.create_task(event.wait())}
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    for task in awaited:
        task.cancel()
    await asyncio.wait(awaited)
