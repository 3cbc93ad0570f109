"""The latest decisions, for `/decisions`: a bounded ring, each entry replaced by its outcome.

Any replica may write an outcome: one that did not decide adds the record when it hears of it, and
one that did shows the decision without an outcome, if another heard of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

ENTRIES_MAX: Final = 1000
BYTES_MAX: Final = 8 * 1024 * 1024
"""Of records as JSON; thousands of rejected targets make a record long."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records to show; `target` stands in the chain or served."""

    limit: int = 100
    route: str | None = None
    target: str | None = None
    app: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record as JSON, which takes less room than its dicts, and what it is found by."""

    body: bytes
    route: str | None
    app: str | None
    targets: frozenset[str]


class Decisions:
    """Records by their decision's id, in the order of their first appearance here."""

    def __init__(self, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0

    def decided(self, decision_id: str, record: Mapping[str, Any]) -> None:
        """A record without its outcome, unless that has overtaken it."""
        if decision_id not in self._entries:
            self._put(decision_id, {**record, "outcome": None})

    def finished(self, record: Mapping[str, Any]) -> None:
        """A record with its outcome, in the place that it has already or as the newest."""
        self._put(record["id"], record)

    def newest(self, wanted: Wanted) -> bytes:
        """A JSON array, newest first."""
        found = (entry.body for entry in self._matching(wanted))
        return b"[" + b",".join(islice(found, wanted.limit)) + b"]"

    def _matching(self, wanted: Wanted) -> Iterator[_Entry]:
        for entry in reversed(self._entries.values()):
            if (
                wanted.route in {None, entry.route}
                and wanted.app in {None, entry.app}
                and (wanted.target is None or wanted.target in entry.targets)
            ):
                yield entry

    def _put(self, decision_id: str, record: Mapping[str, Any]) -> None:
        entry = _entry_of(record)
        before = self._entries.get(decision_id)
        self._entries[decision_id] = entry
        self._bytes += len(entry.body) - (len(before.body) if before else 0)
        while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            oldest = next(iter(self._entries))
            self._bytes -= len(self._entries.pop(oldest).body)


def _entry_of(record: Mapping[str, Any]) -> _Entry:
    served = (record.get("outcome") or {}).get("target")
    targets = {link["target"] for link in record.get("chain") or ()}
    return _Entry(
        body=_encode(record),
        route=record.get("route"),
        app=record.get("app"),
        targets=frozenset(targets | {served} if served else targets),
    )
