"""Which targets can serve a request at all: by what they can do and how much they can read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from extproc.vocabulary import Estimate, Feature, Reason, Rejection, Target

_HEADROOM_TENTHS: Final = 11
"""An estimate may be short by a tenth."""


def eligible(
    targets: Iterable[Target],
    features: frozenset[Feature],
    estimate: Estimate,
    *,
    allow_unknown: bool,
) -> tuple[tuple[Target, ...], tuple[Rejection, ...]]:
    """The targets that can serve, in the order given, and why the others can't."""
    able: list[Target] = []
    rejected: list[Rejection] = []
    for target in targets:
        rejection = _lacks(target, features, allow_unknown=allow_unknown) or _too_small(
            target, estimate, allow_unknown=allow_unknown
        )
        if rejection:
            rejected.append(rejection)
        else:
            able.append(target)
    return tuple(able), tuple(rejected)


def _lacks(
    target: Target, features: frozenset[Feature], *, allow_unknown: bool
) -> Rejection | None:
    known = target.model.capabilities
    missing = [feature for feature in features if not known.get(feature, allow_unknown)]
    if not missing:
        return None
    feature = min(missing)
    detail = f"needs {feature}, which it {'lacks' if feature in known else 'is not known to have'}"
    return Rejection(target.id, Reason.CAPABILITY, detail)


def _too_small(target: Target, estimate: Estimate, *, allow_unknown: bool) -> Rejection | None:
    window = target.model.context_window
    if window is None and allow_unknown:
        return None
    # In integers, because a client may write a limit that no float can hold.
    needed = -(-(estimate.input_tokens + estimate.output_tokens) * _HEADROOM_TENTHS // 10)
    if window is not None and needed <= window:
        return None
    detail = f"needs {needed} tokens, {'has ' + str(window) if window else 'window unknown'}"
    return Rejection(target.id, Reason.CONTEXT_WINDOW, detail)
