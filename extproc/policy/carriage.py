"""Which targets of a chain can be given their body: the sent one with another head, or their own.

The body travels to Envoy once, as the first target wants it. A later one that speaks the same gets
it with its own model put in; any other needs a body of its own, which travels beside the first in
the request's metadata, and so must be small (docs/adr/0014-carried-bodies.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from extproc.policy.eligibility import is_native
from extproc.vocabulary import Candidate, Reason, Rejection, Surface, Target

CARRIED_BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the client's body, if a chain is to hold targets of several dialects."""


def carried(
    chain: Iterable[Candidate], surface: Surface, body_bytes: int, length: int
) -> tuple[list[Candidate], list[Candidate]]:
    """The first `length` of `chain` that can be given their body, and those that can't."""
    kept: list[Candidate] = []
    left: list[Candidate] = []
    for candidate in chain:
        if len(kept) == length:
            break
        if body_bytes <= CARRIED_BODY_BYTES_MAX or _alike(kept, candidate.target, surface):
            kept.append(candidate)
        else:
            detail = (
                f"{body_bytes} bytes, and as a fallback in another dialect "
                f"at most {CARRIED_BODY_BYTES_MAX} go with the request"
            )
            rejection = Rejection(candidate.target.id, Reason.BODY_TOO_LARGE, detail)
            left.append(replace(candidate, rejection=rejection))
    return kept, left


def _alike(kept: list[Candidate], target: Target, surface: Surface) -> bool:
    return not kept or _form(kept[0].target, surface) == _form(target, surface)


def _form(target: Target, surface: Surface) -> tuple[object, ...] | None:
    """What a target's body depends on beyond the client's; None: on nothing but its model's name.

    What is known of a model decides how it is asked, so that the same API does not mean the same
    body.
    """
    if is_native(target, surface):
        return None
    provider = target.provider
    return provider.api, provider.chat_form, target.model.name, target.upstream_model
