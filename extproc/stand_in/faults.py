"""Trouble on demand: what a provider was told to do wrong, and for how many requests still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from extproc.stand_in.errors import ApiError
from extproc.stand_in.limiter import Limiter

PROVIDERS_MAX = 256
"""How many providers can have a fault at once."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=600)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
HeaderName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9-]{1,64}\Z")]
HeaderValue = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]([ -~]{0,254}[!-~])?\Z")]


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What goes wrong, or is not as usual. Every field may be left out; the given ones add up.

    They take effect in this order: `hang`, `delay_s`, `reset: before_headers`, `status`, the
    limits, and then what happens on the way: `chunk_delay_s`, `stall_after_chunks`,
    `reset: mid_stream`, `error_mid_stream`, `end_mid_stream`. A plain JSON answer that stalls or
    breaks midway is two chunks; the last two are for streams only. `headers` are those of answers
    and of errors, and take the place of the limits' own.
    """

    model: str | None = None  # only requests for this model, as the provider calls it
    times: Count | None = None  # how many requests are hit; until cleared if absent
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    retry_after_s: Seconds | None = None  # goes with `status`; a 429 says one second without it
    delay_s: Seconds = 0  # before the first byte
    chunk_delay_s: Seconds = 0  # between two chunks
    reset: Literal["before_headers", "mid_stream"] | None = None  # a TCP reset, not a clean end
    stall_after_chunks: Annotated[int, msgspec.Meta(ge=0)] | None = None
    error_mid_stream: bool = False  # after half of the chunks: an error event, then a clean end
    end_mid_stream: bool = False  # a clean end after half of the chunks
    hang: bool = False  # never answer
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    headers: dict[HeaderName, HeaderValue] = {}
    cached_tokens: Tokens = 0  # of the prompt's, as far as it has so many
    reasoning_tokens: Tokens = 0  # on top of what is said, within the most that is allowed

    @property
    def breaks_midway(self) -> bool:
        return self.reset is not None or self.stall_after_chunks is not None


@dataclass(frozen=True, slots=True)
class Hit:
    """What one request meets."""

    fault: Fault
    limiter: Limiter | None


@dataclass(slots=True)
class _Standing:
    fault: Fault
    times_left: int | None
    limiter: Limiter | None


class FaultBook:
    """At most one fault for each provider, and at most `PROVIDERS_MAX` in all."""

    def __init__(self) -> None:
        self._standing: dict[str, _Standing] = {}

    def put(self, provider: str, fault: Fault) -> None:
        if provider not in self._standing and len(self._standing) >= PROVIDERS_MAX:
            raise ApiError(409, f"{PROVIDERS_MAX} providers have a fault already; clear one first.")
        limited = fault.requests_per_minute or fault.tokens_per_minute
        self._standing[provider] = _Standing(
            fault,
            fault.times,
            Limiter(fault.requests_per_minute, fault.tokens_per_minute) if limited else None,
        )

    def get(self, provider: str) -> Fault | None:
        """The fault as it stands, `times` counted down."""
        standing = self._standing.get(provider)
        if standing is None:
            return None
        return msgspec.structs.replace(standing.fault, times=standing.times_left)

    def clear(self, provider: str) -> None:
        self._standing.pop(provider, None)

    def take(self, provider: str, model: str) -> Hit:
        """What this request meets; uses up one of the fault's times."""
        standing = self._standing.get(provider)
        if standing is None or standing.fault.model not in (None, model):
            return Hit(Fault(), None)
        if standing.times_left is not None:
            standing.times_left -= 1
            if standing.times_left == 0:
                self.clear(provider)
        return Hit(standing.fault, standing.limiter)
