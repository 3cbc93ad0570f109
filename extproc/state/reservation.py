"""What one request holds of the targets it may go to, from its decision until all is told of it.

Its attempts and its end are told of separately, in any order, and some never are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from extproc.outcome import Attempt, is_providers_failure
from extproc.state.limits import NOTHING, Amount
from extproc.vocabulary import TargetId


@dataclass(frozen=True, slots=True)
class Link:
    """One target of a chain: what the request is to take there.

    `uncalibrated` is the estimate of input tokens before what was learned of the family.
    """

    target: TargetId
    amount: Amount
    uncalibrated: float


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request was counted as at a target, and when."""

    target: TargetId
    amount: Amount
    at: float


@dataclass(slots=True)
class Reservation:
    """Of the request `request_id`; `chain` is empty where another replica decided.

    `waits_on` is the link whose target is at work, as far as is known; `unused` is what was charged
    at the decision and may yet be given back; `probes` are the probes taken and not yet made.
    `used` is what attempts were charged, `answered` the target that the request's end named before
    its attempt was told of. `sent` is what had been sent to the first target, this included.
    `streamed_by`, `streaming_ms` and `output_tokens` are known one after another.
    """

    request_id: str
    at: float
    chain: tuple[Link, ...] = ()
    waits_on: Link | None = None
    unused: Charge | None = None
    probes: tuple[TargetId, ...] = ()
    used: list[Charge] = field(default_factory=list)
    answered: TargetId | None = None
    sent: Amount = NOTHING
    streamed_by: TargetId | None = None
    streaming_ms: float = 0.0
    output_tokens: int = 0
    ended_at: float = 0.0

    def link_of(self, target: TargetId) -> Link | None:
        for link in self.chain:
            if link.target == target:
                return link
        return None

    def after(self, target: TargetId) -> Link | None:
        """Who is tried when `target` has failed."""
        ids = [link.target for link in self.chain]
        place = ids.index(target) + 1 if target in ids else len(ids)
        return self.chain[place] if place < len(ids) else None


def is_last(attempt: Attempt, chain_length: int) -> bool:
    """Whether no other follows: it answered, the client left, or the chain ends (ADR 3)."""
    if attempt.status is None:
        is_tried_again = attempt.failure is not None
    else:
        is_tried_again = attempt.status == 429 or is_providers_failure(attempt.status)
    return not is_tried_again or attempt.number >= chain_length
