"""Keeps the directory that Envoy watches in step with the config that runs.

One after the other, each when Envoy has taken the one before: new keys; new clusters beside all old
ones; filters and routes that know both; changed clusters. Then the config may be swapped. What only
older configs need stays until no request decided under them is open (docs/adr/0010-reload.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from extproc.envoy_config.files import (
    Secret,
    has_version,
    read_resources,
    remove_secrets,
    secret_files,
    version_of,
    write_resources,
    write_secrets,
)
from extproc.envoy_config.transition import joined, with_additions
from extproc.envoy_config.xds import CDS, FILES, Resources, files_of
from extproc.servers.envoy_admin import Progress
from extproc.servers.reload import Loaded, ReloadError

TAKEN_WITHIN_S: Final = 10.0
"""How long Envoy may take for one step; then the reload is given up."""

SETTLES_WITHIN_S: Final = 1.0
"""After this long, a file whose version Envoy does not name is one that it does not watch."""

UNSEEN_STEP_S: Final = 2.0
"""What a step is given where Envoy's admin server can't be asked, as from another host."""

GRACE_S_MAX: Final = 120.0
"""The longest that what only an older config needs stays for requests decided under it."""

_POLL_S: Final = 0.02

_Order = tuple[tuple[str, ...], tuple[str, ...]]
_OTHERS: Final = tuple(file for file in FILES if file != CDS)
_ADDING: Final[_Order] = ((CDS,), _OTHERS)  # routes name clusters, filters find keys that one holds
_REMOVING: Final[_Order] = (_OTHERS, (CDS,))

_log = logging.getLogger(__name__)
_L = TypeVar("_L", bound=Loaded)


class Asking(Protocol):
    """Envoy's admin server, or none that answers."""

    async def progress(self) -> Progress | None: ...


@dataclass(frozen=True, slots=True)
class Needs:
    """All that one config needs of Envoy. `secrets` by the name of their file."""

    resources: Resources
    secrets: Mapping[str, Secret] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Superseded:
    """What requests still open may need."""

    resources: Resources
    secret_files: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Answered:
    progress: Progress
    unwatched: frozenset[Path]


_Before = _Answered | None  # None: it can't be asked


class EnvoyUpdate(Generic[_L]):
    """`grace_s` tells how long a request decided under a config may take until its last attempt."""

    def __init__(
        self,
        directory: Path,
        needs: Callable[[_L], Needs],
        admin: Asking,
        grace_s: Callable[[_L], float],
    ) -> None:
        self._directory = directory
        self._needs = needs
        self._admin = admin
        self._grace_s = grace_s
        self._lock = asyncio.Lock()
        self._running: _L | None = None
        self._wanted: Needs | None = None
        self._superseded: list[_Superseded] = []  # at most a few a second, for a minute or two
        self._sweeps: set[asyncio.Task[None]] = set()

    async def publish(self, loaded: _L) -> None:
        """Returns when Envoy can serve requests decided under `loaded`, and under those before.

        Raises:
            ReloadError: with the directory as it was.

        """
        async with self._lock:
            try:
                wanted = await asyncio.to_thread(self._needs, loaded)
                held = await asyncio.to_thread(read_resources, self._directory)
                files = await asyncio.to_thread(secret_files, self._directory)
                await self._bring_over(held or wanted.resources, wanted)
            except OSError as error:
                what = f"can't be written ({error.strerror})"
                raise ReloadError(f"{self._directory}: {what}") from error
            # At the start, the process before this one may have left what its requests need.
            grace_s = self._grace_s(self._running) if self._running else GRACE_S_MAX
            before = self._wanted.resources if self._wanted else held
            if before and (before != wanted.resources or files - wanted.secrets.keys()):
                superseded = _Superseded(before, frozenset(files))
                self._superseded.append(superseded)
                self._sweep_after(grace_s, superseded)
            self._running, self._wanted = loaded, wanted

    async def _bring_over(self, held: Resources, wanted: Needs) -> None:
        before = await self._before()
        keys = await asyncio.to_thread(write_secrets, self._directory, wanted.secrets)
        try:
            await self._step(with_additions(held, wanted.resources), before)
            await self._step(joined(wanted.resources, [held]), before)
            await self._until_taken([path for path in keys if has_version(path)], before)
            if not all(map(has_version, keys)):
                await self._until_read()
        except (OSError, ReloadError):
            with suppress(OSError):  # what is wrong with the directory is told already
                await asyncio.to_thread(self._take_back, held, keys)
            raise

    def _take_back(self, held: Resources, keys: Mapping[Path, Secret | None]) -> None:
        write_secrets(self._directory, {path.name: old for path, old in keys.items() if old})
        for file, resources in files_of(held).items():
            write_resources(self._directory, file, resources)

    async def _before(self) -> _Before:
        """How Envoy is and which files it watches: those whose version, as they are, it runs.

        Somebody's own Envoy may have its listener and routes from elsewhere (docs/own-envoy.md).
        """
        deadline = time.monotonic() + SETTLES_WITHIN_S
        while (progress := await self._admin.progress()) is not None:
            paths = [self._directory / file for file in FILES]
            others = {path for path in paths if version_of(path) not in progress.versions}
            if not others or time.monotonic() > deadline:
                return _Answered(progress, frozenset(others))
            await asyncio.sleep(_POLL_S)  # another replica may just have written
        return None

    async def _step(self, wanted: Resources, before: _Before, order: _Order = _ADDING) -> None:
        held = files_of(wanted)
        for files in order:
            written = [
                self._directory / file
                for file in files
                if await asyncio.to_thread(write_resources, self._directory, file, held[file])
            ]
            await self._until_taken(written, before)

    async def _until_taken(self, written: Collection[Path], before: _Before) -> None:
        """Wait until Envoy runs these files as they are now: another replica may write them too."""
        deadline = time.monotonic() + TAKEN_WITHIN_S
        watched = [path for path in written if not before or path not in before.unwatched]
        missing = watched
        while watched:
            progress = await self._admin.progress()
            if progress is None or before is None:
                await asyncio.sleep(UNSEEN_STEP_S)
                return
            if refused := progress.refused_since(before.progress):
                raise ReloadError(f"Envoy refuses it, its log says why: {', '.join(refused)}")
            missing = [path for path in watched if version_of(path) not in progress.versions]
            if not missing and not progress.warming:
                return
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_POLL_S)
        if missing:
            names = ", ".join(path.name for path in missing)
            raise ReloadError(f"Envoy did not take {names} within {TAKEN_WITHIN_S:g} s")
        if watched:
            _log.warning("some clusters are not ready yet: can their names be resolved?")

    async def _until_read(self) -> None:
        """Wait until Envoy has read what was renamed before: it tells no version of such a file.

        One thread of it reads files and answers. What it answers first may be older than what it
        reads in the same round, but not what it is asked after that.
        """
        for _ in range(2):
            if await self._admin.progress() is None:
                await asyncio.sleep(UNSEEN_STEP_S)
                return

    def _sweep_after(self, grace_s: float, superseded: _Superseded) -> None:
        sweep = asyncio.create_task(self._sweep(grace_s, superseded))
        self._sweeps.add(sweep)
        sweep.add_done_callback(self._sweeps.discard)

    async def _sweep(self, grace_s: float, superseded: _Superseded) -> None:
        """Take away what nobody needs any more. What fails here is left for the next sweep."""
        await asyncio.sleep(grace_s)
        async with self._lock:
            self._superseded.remove(superseded)
            assert self._wanted, "a sweep comes after something was published"
            needed = set(self._wanted.secrets).union(*(s.secret_files for s in self._superseded))
            older = [each.resources for each in reversed(self._superseded)]
            try:
                before = await self._before()
                await self._step(joined(self._wanted.resources, older), before, _REMOVING)
                gone = await asyncio.to_thread(secret_files, self._directory) - needed
                await asyncio.to_thread(remove_secrets, self._directory, gone)
            except Exception as error:  # noqa: BLE001  nobody waits for a sweep
                what = error if isinstance(error, (OSError, ReloadError)) else type(error).__name__
                _log.warning("what Envoy needs no more is still there: %s", what)
