"""What of a conversation only the provider that it began at can read, and what becomes of it."""

from __future__ import annotations

from extproc.dialects.conversation import BOUND, Demand
from extproc.vocabulary import History

# What else binds, stored answers and files, is nowhere but there: left out, the request is another.
_MAY_GO = frozenset({Demand.BOUND_THINKING, Demand.ENCRYPTED_REASONING})


def history_of(demands: frozenset[Demand], *, strip: bool) -> History | None:
    """None of a conversation that can go on anywhere."""
    bound = demands & BOUND
    if not bound:
        return None
    return History(tuple(sorted(demand.name.lower() for demand in bound)), strip)


def binding(demands: frozenset[Demand], *, strip: bool) -> frozenset[Demand]:
    """The demands that stay when the policy has had its say."""
    return demands - _MAY_GO if strip else demands
