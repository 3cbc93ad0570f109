"""What one target still allows: the time it asked to be left alone, and what is left of a minute.

Two sources, of which the smaller counts: what the provider says is left, less what was sent since;
and the limits of the config, held over any 60 seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from extproc.state import window
from extproc.state.instants import duration_s, http_date, number, rfc_3339
from extproc.state.window import Span, Window
from extproc.vocabulary import Limits

MINUTE: Final = Span(bucket_s=2.0, buckets=31)
"""A bucket more than a minute has: what was counted at the start of the oldest still counts."""

WAIT_S: Final = 1.0
"""How long to leave a target alone that answered 429 and said no more."""

WAIT_S_MAX: Final = 366 * 86_400.0
RESET_S: Final = 60.0
RESET_S_MAX: Final = 86_400.0
EPOCH_S_MIN: Final = 1e9
EPOCH_MS_MIN: Final = 1e12
"""No reset is 31 years away, let alone 31,000: from here on a number is a time, in s or in ms."""

LEFT_MAX: Final = 10**12


class Amount(NamedTuple):
    """Requests and their tokens."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def plus(self, other: Amount) -> Amount:
        return Amount(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Amount) -> Amount:
        return Amount(*(a - b for a, b in zip(self, other, strict=True)))


NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Told:
    """`left` of something until `resets_at`, as `told_at`, when `sent` was all that had been sent.

    Times are Unix seconds.
    """

    left: int
    told_at: float
    resets_at: float
    sent: Amount


@dataclass(frozen=True, slots=True)
class Left:
    """What may still be asked; None: no limit is known."""

    requests: float | None = None
    tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """`minute` counts requests and, as amount, tokens, whoever sent them; `sent` only ours, ever.

    `told` holds what the provider said, by a name of `_QUANTITIES`.
    """

    not_before: float = 0.0
    minute: Window = window.EMPTY
    sent: Amount = NOTHING
    told: Mapping[str, Told] | None = None


UNLIMITED: Final = Allowance()
NO_LIMIT: Final = Left()


class _Source(NamedTuple):
    quantity: str
    remaining: str
    reset: str


_SOURCES: Final = (
    _Source("requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    _Source("tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    *(
        _Source(
            quantity,
            f"anthropic-ratelimit-{name}-remaining",
            f"anthropic-ratelimit-{name}-reset",
        )
        for quantity, name in (
            ("requests", "requests"),
            ("tokens", "tokens"),
            ("input_tokens", "input-tokens"),
            ("output_tokens", "output-tokens"),
        )
    ),
)
"""https://platform.openai.com/docs/guides/rate-limits, https://docs.anthropic.com/en/api/rate-limits"""


def sending(allowance: Allowance, amount: Amount, limits: Limits, now: float) -> Allowance:
    """`allowance` after a decision to send so much."""
    return replace(
        allowance,
        sent=allowance.sent.plus(amount),
        minute=_counted(allowance.minute, amount, limits, now),
    )


def unsent(allowance: Allowance, amount: Amount, at: float) -> Allowance:
    """`allowance` with what was to be sent, decided `at` a time, given back."""
    return replace(
        allowance,
        sent=allowance.sent.minus(amount),
        minute=window.corrected(allowance.minute, MINUTE, at, -amount.requests, -amount.tokens),
    )


def charged(allowance: Allowance, amount: Amount, limits: Limits, now: float) -> Allowance:
    """`allowance` after something was sent that no decision here had meant for it."""
    return replace(allowance, minute=_counted(allowance.minute, amount, limits, now))


def settled(allowance: Allowance, at: float, tokens: int, actual_tokens: int) -> Allowance:
    """`allowance` with the `tokens` that were counted `at` a time corrected."""
    if tokens == actual_tokens or not allowance.minute.buckets:
        return allowance
    difference = actual_tokens - tokens
    return replace(allowance, minute=window.corrected(allowance.minute, MINUTE, at, 0, difference))


def refused(allowance: Allowance, headers: Mapping[str, str], now: float) -> Allowance:
    """`allowance` after a 429: a wait, which nothing shortens.

    It begins when it is heard of: a little late, never too early.
    """
    until = now + min(_wait_s(headers, now), WAIT_S_MAX)
    return replace(allowance, not_before=until) if until > allowance.not_before else allowance


def heard(
    allowance: Allowance, headers: Mapping[str, str], sent: Amount, answered_at: float, now: float
) -> Allowance:
    """`allowance` after an answer that told what is left, given `at`.

    `sent` is what had been sent when the provider counted. An older answer changes nothing.
    """
    told = dict(allowance.told or {})
    for source in _SOURCES:
        left = number(headers.get(source.remaining))
        known = told.get(source.quantity)
        if left is None or (known and answered_at < known.told_at <= now):
            continue
        reset_s = _reset_s(headers.get(source.reset), now)
        resets_at = now + min(RESET_S if reset_s is None else reset_s, RESET_S_MAX)
        whole = int(min(left, LEFT_MAX))
        told[source.quantity] = Told(whole, answered_at, resets_at, sent)
    return replace(allowance, told=told) if told else allowance


def left_at(allowance: Allowance, limits: Limits, now: float) -> Left:
    """What is left now, of both sources."""
    told = allowance.told
    rpm, tpm = limits.requests_per_minute, limits.tokens_per_minute
    if not told and rpm is None and tpm is None:
        return NO_LIMIT
    requests = tokens = input_tokens = output_tokens = None
    if told:
        sent = allowance.sent
        requests = _left(told.get("requests"), "requests", sent, now)
        tokens = _left(told.get("tokens"), "tokens", sent, now)
        input_tokens = _left(told.get("input_tokens"), "input_tokens", sent, now)
        output_tokens = _left(told.get("output_tokens"), "output_tokens", sent, now)
    if rpm is not None or tpm is not None:
        minute = window.current(allowance.minute, MINUTE, now)
        requests = _smaller(requests, None if rpm is None else rpm - minute.requests)
        tokens = _smaller(tokens, None if tpm is None else tpm - minute.amount)
    return Left(requests, tokens, input_tokens, output_tokens)


def _counted(minute: Window, amount: Amount, limits: Limits, now: float) -> Window:
    if limits.requests_per_minute is None and limits.tokens_per_minute is None:
        return minute
    return window.counted(minute, MINUTE, now, amount.requests, amount.tokens)


def _left(told: Told | None, quantity: str, sent: Amount, now: float) -> float | None:
    if told is None or now >= told.resets_at:
        return None
    since: int = getattr(sent, quantity) - getattr(told.sent, quantity)
    return told.left - max(0, since)


def _smaller(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _wait_s(headers: Mapping[str, str], now: float) -> float:
    """What is told first of: milliseconds, seconds or a date, the reset of what is exhausted."""
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = number(text)
    if seconds:
        return seconds
    date = http_date(text, now)
    if date is not None and date > now:
        return date - now
    return max(_exhausted_s(headers, now), default=WAIT_S)


def _exhausted_s(headers: Mapping[str, str], now: float) -> list[float]:
    """The resets of what is told to be used up, or of which no more is told than the reset."""
    found = []
    for source in _SOURCES:
        reset_s = _reset_s(headers.get(source.reset), now)
        if reset_s and not number(headers.get(source.remaining)):
            found.append(min(reset_s, RESET_S_MAX))
    return found


def _reset_s(text: str | None, now: float) -> float | None:
    """Seconds until a reset that is told as a duration or as a time."""
    seconds = duration_s(text)
    if seconds is not None and seconds < EPOCH_S_MIN:
        return seconds
    at = rfc_3339(text) if seconds is None else seconds
    if at is None:
        return None
    return max(0.0, (at / 1000 if at >= EPOCH_MS_MIN else at) - now)
