"""How fast one target answers: means that decay with time, so that old samples fade, busy or not.

Two means of the time to the first byte, a fast one, which ranking goes by, and a slow one to tell
a spike from. A sample weighs by the time since the one before it; the first few count alike, so
that the very first does not stand for minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from extproc.outcome import Attempt, Failure

FAST_S: Final = 5.0
SLOW_S: Final = 120.0
GAP_S_MIN: Final = 0.01
"""Samples that come closer together weigh as if they were so far apart."""

SAMPLES_MIN: Final = 5
SPIKE: Final = 3.0
STALE_S: Final = 5.0
SILENT_DURATIONS: Final = 3.0
TOKENS_MIN: Final = 10
"""Answers of fewer tokens say nothing of speed."""

MS_MAX: Final = 86_400_000.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Means in milliseconds; None before the first sample.

    `sampled_at` is when the newest sample ended, by its Envoy's clock; `heard_at` when it was told
    of, by ours.
    """

    fast_ms: float | None = None
    slow_ms: float | None = None
    duration_ms: float = 0.0
    samples: int = 0
    sampled_at: float = 0.0
    heard_at: float = 0.0
    ms_per_token: float | None = None
    spoke_at: float = 0.0


UNSEEN: Final = Latency()


def sample_ms(attempt: Attempt) -> float | None:
    """What `attempt` says of the time to the first byte, if anything.

    One that gave up waiting for it counts with the time it waited: a target that hangs is slow.
    """
    answered = attempt.status is not None and attempt.status < 400
    waited = attempt.failure is Failure.TIMEOUT and attempt.status is None
    found = attempt.ttfb_ms if answered else attempt.duration_ms if waited else None
    return found if found is not None and 0 <= found <= MS_MAX else None


def observed(latency: Latency, attempt: Attempt, now: float) -> Latency:
    ttfb_ms = sample_ms(attempt)
    if ttfb_ms is None:
        return latency
    duration_ms = max(ttfb_ms, min(attempt.duration_ms, MS_MAX))
    ended_at = min(now, attempt.began + duration_ms / 1000)
    if latency.fast_ms is None or latency.slow_ms is None:
        return replace(
            latency,
            fast_ms=ttfb_ms,
            slow_ms=ttfb_ms,
            duration_ms=duration_ms,
            samples=1,
            sampled_at=ended_at,
            heard_at=now,
        )
    gap_s = ended_at - latency.sampled_at
    alike = 1 / (latency.samples + 1) if latency.samples < SAMPLES_MIN else 0.0
    fast = max(alike, _weight(gap_s, FAST_S))
    slow = max(alike, _weight(gap_s, SLOW_S))
    return Latency(
        fast_ms=latency.fast_ms + fast * (ttfb_ms - latency.fast_ms),
        slow_ms=latency.slow_ms + slow * (ttfb_ms - latency.slow_ms),
        duration_ms=latency.duration_ms + fast * (duration_ms - latency.duration_ms),
        samples=latency.samples + 1,
        # Not the larger of the two: after a clock was set back, time must go on.
        sampled_at=ended_at if gap_s > 0 or gap_s < -SLOW_S else latency.sampled_at,
        heard_at=now,
        ms_per_token=latency.ms_per_token,
        spoke_at=latency.spoke_at,
    )


def spoken(latency: Latency, streaming_ms: float, output_tokens: int, now: float) -> Latency:
    """`latency` after a streamed answer that took so long from its first byte to its last."""
    if output_tokens < TOKENS_MIN or not 0 <= streaming_ms <= MS_MAX:
        return latency
    pace = streaming_ms / output_tokens
    if latency.ms_per_token is not None:
        weight = _weight(now - latency.spoke_at, FAST_S)
        pace = latency.ms_per_token + weight * (pace - latency.ms_per_token)
    return replace(latency, ms_per_token=pace, spoke_at=now)


def spiking(latency: Latency) -> bool:
    if latency.fast_ms is None or latency.slow_ms is None or latency.samples < SAMPLES_MIN:
        return False
    return latency.fast_ms > SPIKE * latency.slow_ms


def stale(latency: Latency, now: float) -> bool:
    """Whether what was seen is old enough to be looked at again."""
    return latency.fast_ms is not None and not 0 <= now - latency.heard_at < STALE_S


def silent(latency: Latency, busy_since: float, now: float) -> bool:
    """Whether a target that has had requests since `busy_since` should have been heard of by now.

    Its answers are told of when they end, so one that answers at length may be silent for long.
    """
    wait_s = max(STALE_S, SILENT_DURATIONS * latency.duration_ms / 1000)
    return now - max(latency.heard_at, busy_since) > wait_s


def _weight(gap_s: float, constant_s: float) -> float:
    return -math.expm1(-max(gap_s, GAP_S_MIN) / constant_s)
