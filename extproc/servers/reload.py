"""Hot reload: the file changes, what it says is loaded and checked, Envoy is told, then it runs.

The next decision is made under the new config when everybody is ready for it, by swapping one
reference; the one before it, and all that are open, keep theirs. Whatever goes wrong on the way
leaves the last good config running (docs/adr/0010-reload.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from extproc.servers.traces import where
from extproc.servers.watch import POLL_S, Settling
from extproc.snapshot import Snapshot

_log = logging.getLogger(__name__)

CONTENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""What is read of the file. A config may have 4 MiB, so this much is refused whatever it says."""


class Loaded(Protocol):
    """A config that can run; `extproc.config.Compiled` is one."""

    @property
    def snapshot(self) -> Snapshot: ...


_L = TypeVar("_L", bound=Loaded)
_P_contra = TypeVar("_P_contra", bound=Loaded, contravariant=True)


class Publish(Protocol[_P_contra]):
    """Returns when everybody else is ready for a config. Raises `ReloadError`."""

    async def __call__(self, loaded: _P_contra, /) -> None: ...


class ReloadError(Exception):
    """Why a config can't run here: the text is for people, a line for each mistake."""


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """What runs and what became of the last attempt to change it.

    `config` is what runs, since `loaded_at` (seconds since 1970). `last_error` is the text of the
    last attempt's failure, None once an attempt succeeds.
    """

    path: str
    config: str
    loaded_at: float
    last_attempt_at: float | None = None
    last_error: str | None = None
    succeeded: int = 0
    failed: int = 0


class Reloader(Generic[_L]):
    """Keeps what runs in step with a file.

    `load` makes a config of the file's content (None: it could not be read), in a thread, and
    raises `ReloadError` if it can't.
    """

    def __init__(  # noqa: PLR0913  # the file, and one function for each thing to do with it
        self,
        path: Path,
        content: bytes | None,
        loaded: _L,
        *,
        load: Callable[[bytes | None], _L],
        publish: Publish[_L],
        poll_s: float = POLL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.loaded: _L = loaded
        self.status = ReloadStatus(str(path), loaded.snapshot.config, loaded_at=clock())
        self._path = path
        self._settling = Settling(content)
        self._load = load
        self._publish = publish
        self._poll_s = poll_s
        self._clock = clock
        self._now = asyncio.Event()
        self._on_reload: list[Callable[[_L], None]] = []
        self._on_attempt: list[Callable[[ReloadStatus], None]] = []

    def on_reload(self, hook: Callable[[_L], None]) -> None:
        """Call `hook` with each new config. All hooks run in one step of the event loop."""
        self._on_reload.append(hook)

    def on_attempt(self, hook: Callable[[ReloadStatus], None]) -> None:
        """Call `hook` after each attempt, whatever became of it."""
        self._on_attempt.append(hook)

    def reload_now(self) -> None:
        """Load the file even if it has not changed, and without waiting for a second reading."""
        self._now.set()

    async def run(self) -> None:
        """Watch until cancelled. One reload at a time: what changes meanwhile is seen after it."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), self._poll_s)
            reading = await asyncio.to_thread(content_of, self._path)
            if self._now.is_set():
                self._now.clear()
                self._settling.act_on(reading)
                await self.reload(reading)
            elif self._settling.settles(reading):
                await self.reload(reading)

    async def reload(self, content: bytes | None) -> None:
        """Load, publish, swap. Never raises: what went wrong is in the status and the log."""
        try:
            loaded = await asyncio.to_thread(self._load, content)
            await self._publish(loaded)
        except ReloadError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  a mistake of ours must not end the watching
            _log.debug("%s", where(error))
            self._failed(f"{type(error).__name__} while loading")
        else:
            self._swap(loaded)
        for hook in self._on_attempt:
            hook(self.status)

    def _swap(self, loaded: _L) -> None:
        self.loaded = loaded
        for hook in self._on_reload:
            hook(loaded)
        now = self._clock()
        self.status = replace(
            self.status,
            config=loaded.snapshot.config,
            loaded_at=now,
            last_attempt_at=now,
            last_error=None,
            succeeded=self.status.succeeded + 1,
        )
        _log.info("config %s loaded", loaded.snapshot.config)

    def _failed(self, error: str) -> None:
        if error != self.status.last_error:
            for line in error.splitlines():
                _log.warning("not loaded, %s stays: %s", self.status.config, line)
        self.status = replace(
            self.status,
            last_attempt_at=self._clock(),
            last_error=error,
            failed=self.status.failed + 1,
        )


def content_of(path: Path) -> bytes | None:
    """None if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(CONTENT_BYTES_MAX)
    except OSError:
        return None
