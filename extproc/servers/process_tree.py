"""Several programs as one: they start in order, and when one ends or a signal comes, all end."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_STOP_S: Final = 5.0
"""How long a child has to leave on SIGTERM before it is killed."""

_POLL_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1

_log = logging.getLogger(__name__)


class ChildError(Exception):
    """A child that ended on its own or did not become ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """A program to run, and how to tell that it is up. `is_ready` may raise `OSError` till then."""

    name: str
    command: Sequence[str]
    is_ready: Callable[[], Awaitable[bool]]
    ready_timeout_s: float = 30.0
    env: Mapping[str, str] | None = None


async def run_together(children: Sequence[Child], on_ready: Callable[[], None]) -> None:
    """Run `children` until SIGINT, SIGTERM or SIGHUP, then end them, the last started first.

    Raises:
        ChildError: when a child ended before it was told to; the others have been ended too.

    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, stop.set)
    stopping = asyncio.create_task(stop.wait())
    running: list[tuple[Child, asyncio.subprocess.Process]] = []
    try:
        for child in children:
            process = await _start(child)
            running.append((child, process))
            ready = asyncio.create_task(_until_ready(child))
            await _first_of(running, stopping, ready)
            if stop.is_set():
                return
        on_ready()
        await _first_of(running, stopping)
    finally:
        stopping.cancel()
        for _, process in reversed(running):
            await _end(process)


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


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        _log.warning("killing process %d: it did not leave on SIGTERM", process.pid)
        process.kill()
        await process.wait()
