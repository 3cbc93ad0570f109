"""How many frames that bring nothing on a peer may still send.

A flood of PINGs, SETTINGS, resets or empty frames costs a server work, and a peer next to nothing
(CVE-2019-9512 and its kin, CVE-2023-44487). Each such frame takes from a credit, which time and
every answer that the peer was sent give back: whoever uses the service has plenty.
"""

from __future__ import annotations

from typing import Final

from extproc.http2.errors import ErrorCode, Http2ConnectionError

RESET_COST: Final = 10
"""A stream that was opened for nothing: a thousand at once, twenty a second, by default."""

GIVEN_UP_COST: Final = 1
"""A stream that was reset before its answer: so do clients of a server that is too slow."""

_EARNED_BY_DATA: Final = 4
_BYTES_FOR_ONE: Final = 4096
"""A peer with small windows must update them often."""


class Credit:
    __slots__ = ("_at", "_left", "_max", "_per_s")

    def __init__(self, most: int, per_s: float) -> None:
        self._left: float = most
        self._max = most
        self._per_s = per_s
        self._at: float | None = None

    def earn(self, sent_bytes: int) -> None:
        self._left += _EARNED_BY_DATA + sent_bytes // _BYTES_FOR_ONE

    def take(self, cost: int, now: float) -> None:
        """Raises `Http2ConnectionError` when there is none left."""
        elapsed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(self._max, self._left + elapsed * self._per_s) - cost
        if self._left < 0:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to no end")
