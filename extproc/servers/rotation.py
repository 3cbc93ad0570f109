"""A file that is appended to, rotated by size, and found again when somebody else rotated it.

`logging.handlers` either rotates or watches, and flushes line by line; this does both, a batch of
lines at a time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_MODE: Final = 0o640


class RotatingFile:
    """`path`, and beside it `path.1` (the newest) to `path.keep`. Raises `OSError` as files do."""

    def __init__(self, path: Path, bytes_max: int, keep: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._keep = keep
        self._torn = False
        self._fd = self._opened()

    def write(self, lines: bytes) -> None:
        """Append whole lines; a batch that would not fit begins a new file."""
        self._find_again()
        size = os.fstat(self._fd).st_size
        if size and size + len(lines) > self._bytes_max:
            self._rotate()
        if self._torn:  # what was cut off by a full disk ends here
            lines = b"\n" + lines
        self._torn = True
        write_all(self._fd, lines)
        self._torn = False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _reopen(self) -> None:
        self.close()
        self._fd = self._opened()
        self._torn = False

    def _find_again(self) -> None:
        """Open the path anew if it names another file by now, or none."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            self._reopen()
            return
        if self._fd < 0 or not os.path.samestat(there, os.fstat(self._fd)):
            self._reopen()

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._numbered(1))
        self._reopen()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def write_all(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
