"""What of a conversation only the provider that it began at can read, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from extproc.dialects.conversation import BOUND, Demand
from extproc.vocabulary import Candidate, History, Reason, Rejection

# What else binds, stored answers and files, is nowhere but there: left out, the request is another.
_MAY_GO: Final = frozenset({Demand.BOUND_THINKING, Demand.ENCRYPTED_REASONING})

# Any Claude reads what another one signed; this is nowhere but at one provider.
_AT_ONE: Final = frozenset({Demand.STORED_STATE, Demand.STORED_FILES, Demand.ENCRYPTED_REASONING})


def history_of(demands: frozenset[Demand], *, strip: bool) -> History | None:
    """None of a conversation that can go on anywhere."""
    bound = demands & BOUND
    if not bound:
        return None
    return History(tuple(sorted(demand.name.lower() for demand in bound)), strip)


def binding(demands: frozenset[Demand], *, strip: bool) -> frozenset[Demand]:
    """The demands that stay when the policy has had its say."""
    return demands - _MAY_GO if strip else demands


def at_home(candidates: tuple[Candidate, ...], demands: frozenset[Demand]) -> tuple[Candidate, ...]:
    """Rejects all but one provider's for what only one can have: the first that is eligible.

    A request doesn't say who stored what it names. The first as written is always the same one, so
    that what began there goes on there.
    """
    kept = demands & _AT_ONE
    if not kept:
        return candidates
    home = next((one.target.provider.name for one in candidates if not one.rejection), None)
    detail = f"needs {min(kept)}, and of those that may have it {home} comes first"
    return tuple(
        [
            one
            if one.rejection or one.target.provider.name == home
            else replace(one, rejection=Rejection(one.target.id, Reason.CAPABILITY, detail))
            for one in candidates
        ]
    )
