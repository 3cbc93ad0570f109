"""The latest decisions, for `/decisions`: a bounded ring, each entry replaced by its outcome.

Any replica may write an outcome: one that did not decide adds the record when it hears of it, and
one that did shows the decision without an outcome, if another heard of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from extproc.record import with_outcome

ENTRIES_MAX: Final = 1000
BYTES_MAX: Final = 8 * 1024 * 1024
"""Of records as JSON; thousands of rejected targets make a record long."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records to show; `target` stands in the chain or served."""

    limit: int = 100
    route: str | None = None
    target: str | None = None
    app: str | None = None


class Decisions:
    """Records by their decision's id, in the order of their first appearance here."""

    def __init__(self, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: dict[str, bytes] = {}
        self._bytes = 0

    def decided(self, decision_id: str, record: bytes) -> None:
        """A record as JSON, unless its outcome has overtaken it."""
        if decision_id not in self._entries:
            self._put(decision_id, with_outcome(record, None))

    def finished(self, decision_id: str, record: bytes) -> None:
        """A record with its outcome, in the place that it has already or as the newest."""
        self._put(decision_id, record)

    def newest(self, wanted: Wanted) -> bytes:
        """A JSON array, newest first."""
        newest = reversed(self._entries.values())
        found = (entry for entry in newest if _fits(entry, wanted))
        return b"[" + b",".join(islice(found, wanted.limit)) + b"]"

    def _put(self, decision_id: str, record: bytes) -> None:
        before = self._entries.get(decision_id, b"")
        self._entries[decision_id] = record
        self._bytes += len(record) - len(before)
        while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            oldest = next(iter(self._entries))
            self._bytes -= len(self._entries.pop(oldest))


class _Link(msgspec.Struct):
    target: str


class _Outcome(msgspec.Struct):
    target: str | None


class _Record(msgspec.Struct):
    """What a record is found by."""

    route: str | None = None
    app: str | None = None
    chain: list[_Link] = []
    outcome: _Outcome | None = None


_read = msgspec.json.Decoder(_Record).decode


def _fits(entry: bytes, wanted: Wanted) -> bool:
    """Read only when it is asked for: every request adds an entry, and few are looked at."""
    if wanted.route is wanted.target is wanted.app is None:
        return True
    record = _read(entry)
    targets = {link.target for link in record.chain}
    if record.outcome and record.outcome.target:
        targets.add(record.outcome.target)
    return (
        wanted.route in {None, record.route}
        and wanted.app in {None, record.app}
        and (wanted.target is None or wanted.target in targets)
    )
