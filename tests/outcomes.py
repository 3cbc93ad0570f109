"""What came of requests, for tests: decisions of real configs, finished as one likes."""

from typing import Any

from configs import CHAT, body_of

from extproc.exchange import read_and_decide
from extproc.outcome import Attempt, Failure, Finished, Outcome, Usage
from extproc.record import record
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import Decision, ReportedModel, TargetId

NOW = 1_767_225_600.0
DRAW = 2**70 + 7


def decision_on(
    snapshot: Snapshot, headers: dict[str, str] | None = None, *, draw: int = DRAW, **fields: object
) -> Decision:
    return read_and_decide(
        *(CHAT, headers or {}, body_of(**fields), snapshot, EMPTY_VIEW), now=NOW, draw=draw
    )[0]


def outcome_of(decision: Decision, **changed: Any) -> Outcome:  # noqa: ANN401  fields of all types
    """The first target answered at once, unless said otherwise."""
    target = decision.chain[0].target.id if decision.chain else None
    usual: dict[str, Any] = {
        "target": target,
        "attempts": 1,
        "status": 200,
        "ttfb_ms": 310.0,
        "duration_ms": 1840.0,
        "usage": Usage(20, 5),
        "cost_usd": 0.5,
        "reported_model": ReportedModel("reported-1"),
    }
    return Outcome(**usual | changed)


def finished_with(decision: Decision, outcome: Outcome, traceparent: str | None = None) -> Finished:
    return Finished("request-1", record(decision, 143), outcome, NOW, traceparent)


def finished(decision: Decision, **changed: Any) -> Finished:  # noqa: ANN401  fields of all types
    return finished_with(decision, outcome_of(decision, **changed))


def attempt(
    target: str = "openai/gpt-4o", status: int | None = 200, failure: Failure | None = None
) -> Attempt:
    return Attempt("request-1", 1, TargetId(target), NOW, status, failure, 310.0, 1840.0)
