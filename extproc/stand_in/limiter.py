"""A rate limit with a fixed window, and the headers in which providers report theirs."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Literal

WINDOW_S = 60

Spelling = Literal["openai", "anthropic"] | None
"""Whose names the headers have; None where a provider tells nothing of its limits."""


class Limiter:
    """Requests and tokens in a window that its first request opens. Time is in Unix seconds."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._limits = {unit: limit for unit, limit in limits.items() if limit is not None}
        self._left = dict(self._limits)
        self._ends_s = 0.0

    def admit(self, tokens: int, now_s: float) -> bool:
        """Count one request of so many tokens, or refuse it and count nothing."""
        if now_s >= self._ends_s:
            self._ends_s = now_s + WINDOW_S
            self._left = dict(self._limits)
        cost = {"requests": 1, "tokens": tokens}
        if any(cost[unit] > left for unit, left in self._left.items()):
            return False
        self._left = {unit: left - cost[unit] for unit, left in self._left.items()}
        return True

    def retry_after_s(self, now_s: float) -> int:
        return max(1, math.ceil(self._ends_s - now_s))

    def headers(self, spelling: Spelling, now_s: float) -> dict[str, str]:
        """What of the limit is left.

        https://docs.anthropic.com/en/api/rate-limits#response-headers
        https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
        """
        headers: dict[str, str] = {}
        if spelling is None:
            return headers
        for unit, limit in self._limits.items():
            facts = {"limit": str(limit), "remaining": str(self._left[unit])}
            if spelling == "anthropic":
                facts["reset"] = rfc3339(self._ends_s)
                headers |= {f"anthropic-ratelimit-{unit}-{k}": fact for k, fact in facts.items()}
            else:
                facts["reset"] = go_duration(self._ends_s - now_s)
                headers |= {f"x-ratelimit-{k}-{unit}": fact for k, fact in facts.items()}
        return headers


def go_duration(seconds: float) -> str:
    """`250ms`, `8.64s`, `6m0s`: as Go prints a duration, to the millisecond, rounded up."""
    ms = max(0, math.ceil(round(seconds * 1000, 3)))
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    return (f"{minutes}m" if minutes else "") + f"{ms / 1000:g}s"


def rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(math.ceil(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
