"""When the content of a file has changed, however that came about.

The content is read twice a second rather than the file watched: an edit in place, a rename over it
and Kubernetes' swap of a symlink three levels up all look alike, on every kind of file system.
"""

from __future__ import annotations

from typing import Final

POLL_S: Final = 0.5


class Settling:
    """Given a reading at a time, tells which is to be acted on.

    That is one which came twice in a row, so that a file half written is not taken, and differs
    from the one acted on last. None is the reading of a file that can't be read.
    """

    def __init__(self, acted_on: bytes | None) -> None:
        self._acted_on = acted_on
        self._last = acted_on

    def settles(self, reading: bytes | None) -> bool:
        settled = reading == self._last and reading != self._acted_on
        self._last = reading
        if settled:
            self._acted_on = reading
        return settled

    def act_on(self, reading: bytes | None) -> None:
        """Take `reading` as acted on without waiting for another."""
        self._acted_on = self._last = reading
