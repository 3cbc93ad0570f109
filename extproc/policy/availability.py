"""Which targets can take a request now: breaker, not-before time, what is left of the minute."""

from __future__ import annotations

from extproc.state.view import Breaker, TargetView
from extproc.vocabulary import Reason, Rejection, TargetId


def unavailable(
    target: TargetId, seen: TargetView, input_tokens: int, output_tokens: int, now: float
) -> Rejection | None:
    """Why `target` should not be asked for so many tokens now; the gravest reason first."""
    if seen.breaker is Breaker.OPEN:
        return Rejection(target, Reason.BREAKER_OPEN, "too many of its answers were errors")
    if seen.breaker is Breaker.HALF_OPEN and seen.probing:
        return Rejection(target, Reason.BREAKER_OPEN, "its one probe is under way")
    if seen.not_before > now:
        wait_s = seen.not_before - now
        return Rejection(target, Reason.NOT_BEFORE, f"asked to be left alone for {wait_s:.0f} s")
    if seen.requests_left is not None and seen.requests_left < 1:
        return Rejection(target, Reason.REQUESTS_EXHAUSTED, "no requests left in this minute")
    needed = input_tokens + output_tokens
    for kind, wanted, left in (
        ("tokens", needed, seen.tokens_left),
        ("input tokens", input_tokens, seen.input_tokens_left),
        ("output tokens", output_tokens, seen.output_tokens_left),
    ):
        if left is not None and left < wanted:
            detail = f"needs {wanted} {kind}, {max(0, left):.0f} left in this minute"
            return Rejection(target, Reason.TOKENS_EXHAUSTED, detail)
    return None


def badness(seen: TargetView, now: float) -> tuple[bool, float, bool]:
    """What to ask first when nothing is available: smaller is better.

    One short of headroom may well answer; one that named a time is better asked close to it; one
    whose breaker is open has just failed.
    """
    return seen.breaker is not Breaker.CLOSED, max(0.0, seen.not_before - now), seen.spiking
