"""Which targets can serve a request at all: by what they can do, where they are, what they cost.

Facts are tri-state: what is unknown counts as `allow_unknown` says. Every target is asked the same,
first choices and fallbacks alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from extproc.dialects.conversation import Demand
from extproc.dialects.registry import PROVIDERS
from extproc.feature import Feature
from extproc.vocabulary import Candidate, ModelName, Reason, Rejection, Surface, Target

_HEADROOM_TENTHS: Final = 11
"""An estimate may be short by a tenth."""

_DEFAULT_QUALITY: Final = "default"


@dataclass(frozen=True, slots=True)
class Need:
    """What one request, its route and its app ask of every target.

    `output_tokens` are expected; `output_tokens_max` is the request's own limit, which providers
    hold against the window whatever the answer takes. `demands` only bind a target that does not
    speak `surface` itself: those that its API has no counterpart for make it ineligible.
    """

    features: frozenset[Feature]
    output_tokens: int
    task_type: str
    allow_unknown: bool
    output_tokens_max: int | None = None
    quality_min: float | None = None
    latency_ms_max: float | None = None
    cost_usd_max: float | None = None
    region: str | None = None
    allowed_models: frozenset[ModelName] | None = None
    avoid: frozenset[str] = frozenset()
    surface: Surface = Surface.CHAT
    demands: frozenset[Demand] = frozenset()


_Finding = tuple[Reason, str] | None
Check = Callable[[Candidate, Need], _Finding]


def checks_of(need: Need) -> tuple[Check, ...]:
    """The checks that can find anything: one about what `need` leaves open can't."""
    every: tuple[tuple[Check, bool], ...] = (
        (_app_policy, need.allowed_models is not None),
        (_avoided, bool(need.avoid)),
        (_capability, bool(need.features)),
        (_only_embeds, Feature.EMBEDDINGS not in need.features),
        (_translation, bool(need.demands)),
        (_context_window, True),
        (_region, need.region is not None),
        (_quality, need.quality_min is not None),
        (_price, need.cost_usd_max is not None),
        (_latency, need.latency_ms_max is not None),
    )
    return tuple([check for check, can_find in every if can_find])


def ineligible(candidate: Candidate, need: Need, checks: Iterable[Check]) -> Rejection | None:
    """Why `candidate` can't serve; the first reason that `checks` (`checks_of(need)`) find."""
    for check in checks:
        found = check(candidate, need)
        if found is not None:
            reason, detail = found
            return Rejection(candidate.target.id, reason, detail)
    return None


def quality_of(quality: Mapping[str, float], task_type: str) -> float | None:
    return quality.get(task_type, quality.get(_DEFAULT_QUALITY))


def _app_policy(candidate: Candidate, need: Need) -> _Finding:
    allowed = need.allowed_models
    if allowed is None or candidate.target.model.name in allowed:
        return None
    return Reason.APP_POLICY, "not among the models that this app may use"


def _avoided(candidate: Candidate, need: Need) -> _Finding:
    target = candidate.target
    if need.avoid.isdisjoint((target.id, target.provider.name, target.model.name)):
        return None
    return Reason.AVOIDED, "the client asked to avoid it"


def _capability(candidate: Candidate, need: Need) -> _Finding:
    known = candidate.target.model.capabilities
    missing = [f for f in need.features if not known.get(f, need.allow_unknown)]
    if not missing:
        return None
    feature = min(missing)
    lacks = "which it lacks" if feature in known else "which it is not known to have"
    return Reason.CAPABILITY, f"needs {feature}, {lacks}"


def _only_embeds(candidate: Candidate, _need: Need) -> _Finding:
    if not candidate.target.model.capabilities.get(Feature.EMBEDDINGS):
        return None
    return Reason.CAPABILITY, "needs an answer, and it only embeds"


def is_native(target: Target, surface: Surface) -> bool:
    """Whether its provider speaks the client's API itself."""
    return surface in target.provider.endpoints


def _translation(candidate: Candidate, need: Need) -> _Finding:
    provider = candidate.target.provider
    if is_native(candidate.target, need.surface):
        return None
    lacking = need.demands & PROVIDERS[provider.api].lacks(candidate.target)
    if not lacking:
        return None
    return Reason.CAPABILITY, f"needs {min(lacking)}, which its API `{provider.api}` can't give"


def with_headroom(tokens: int) -> int:
    """The window that so many estimated tokens need."""
    return -(-tokens * _HEADROOM_TENTHS // 10)


def _context_window(candidate: Candidate, need: Need) -> _Finding:
    window = candidate.target.model.context_window
    output = max(need.output_tokens, need.output_tokens_max or 0)
    needed = with_headroom(candidate.input_tokens + output)
    if window is None:
        unknown = f"needs {needed} tokens, window unknown"
        return None if need.allow_unknown else (Reason.CONTEXT_WINDOW, unknown)
    if needed <= window:
        return None
    return Reason.CONTEXT_WINDOW, f"needs {needed} tokens, has {window}"


def _region(candidate: Candidate, need: Need) -> _Finding:
    region = candidate.target.provider.region
    if need.region is None or region == need.region or (region is None and need.allow_unknown):
        return None
    return Reason.REGION, f"needs {need.region}, has {region or 'unknown'}"


def _quality(candidate: Candidate, need: Need) -> _Finding:
    if need.quality_min is None:
        return None
    quality = quality_of(candidate.target.model.quality, need.task_type)
    if quality is None:
        unknown = f"needs {need.quality_min:g}, unknown for {need.task_type}"
        return None if need.allow_unknown else (Reason.QUALITY_FLOOR, unknown)
    if quality >= need.quality_min:
        return None
    detail = f"needs {need.quality_min:g} for {need.task_type}, has {quality:g}"
    return Reason.QUALITY_FLOOR, detail


def _price(candidate: Candidate, need: Need) -> _Finding:
    ceiling, cost = need.cost_usd_max, candidate.expected_cost_usd
    if ceiling is None:
        return None
    if cost is None:
        unknown = f"at most ${ceiling:g}, price unknown"
        return None if need.allow_unknown else (Reason.PRICE_UNKNOWN, unknown)
    return None if cost <= ceiling else (Reason.PRICE_CEILING, f"at most ${ceiling:g}, ${cost:.6f}")


def _latency(candidate: Candidate, need: Need) -> _Finding:
    """A target that was not seen yet may try: else it never would be."""
    ceiling, latency = need.latency_ms_max, candidate.expected_latency_ms
    if ceiling is None or latency is None or latency <= ceiling:
        return None
    return Reason.LATENCY_CEILING, f"at most {ceiling:g} ms, {latency:.0f} expected"
