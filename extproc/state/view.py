"""What a decision may know of the world: one frozen view, taken when a request arrives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from extproc.text.tokens import Calibration, Family, Output
from extproc.vocabulary import TargetId


class Breaker(StrEnum):
    """Closed: takes requests. Open: takes none. Half open: takes one at a time, to find out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target, as last seen; what is None has not been seen.

    `not_before` is Unix seconds, as told by a 429. `requests_left` and `tokens_left` are what the
    current minute still allows, `input_tokens_left` and `output_tokens_left` the same for a
    provider that counts these apart. `ttfb_ms` and `ms_per_token` are decayed means.

    `pending` requests are under way. Without a sample for some seconds a target is `stale`: its
    means are old. It is `silent` if it should have answered by now. While its breaker has closed
    just now, it should get no more than its `slow_start` share of the requests.
    """

    breaker: Breaker = Breaker.CLOSED
    probing: bool = False
    not_before: float = 0.0
    requests_left: float | None = None
    tokens_left: float | None = None
    input_tokens_left: float | None = None
    output_tokens_left: float | None = None
    ttfb_ms: float | None = None
    ms_per_token: float | None = None
    spiking: bool = False
    cached_share: float = 0.0
    pending: int = 0
    stale: bool = False
    silent: bool = False
    slow_start: float = 1.0


UNSEEN: Final = TargetView()


@dataclass(frozen=True, slots=True)
class View:
    """Everything seen. A target, family or task that is absent has not been seen.

    `calibration` is, per family of models, how far estimates were off; `output`, per task type,
    what answers have taken so far.
    """

    targets: Mapping[TargetId, TargetView] = field(default_factory=dict)
    calibration: Mapping[Family, Calibration] = field(default_factory=dict)
    output: Mapping[str, Output] = field(default_factory=dict)

    def of(self, target: TargetId) -> TargetView:
        return self.targets.get(target, UNSEEN)


EMPTY_VIEW: Final = View()
