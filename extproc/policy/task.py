"""Which kind of work a request is: header, then metadata, then the classifier, else unknown."""

from __future__ import annotations

import re
from typing import Final

from extproc.dialects.payload import Payload
from extproc.text.classifier import Classifier
from extproc.vocabulary import Refusal, Task, TaskSource

TASK_FIELD: Final = "task_type"
UNKNOWN_TASK: Final = "unknown"

_TASK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def task_of(payload: Payload, said: str | None, classifier: Classifier | None) -> Task | Refusal:
    """`said` is what the header `x-router-task` holds, if it is honoured."""
    if said is not None:
        return _named(said, TaskSource.HEADER, "The header `x-router-task`")
    said = payload.metadata.get(TASK_FIELD)
    if said is not None:
        return _named(said, TaskSource.METADATA, f"The field `metadata.{TASK_FIELD}`")
    if classifier is None or not payload.last_turn:
        return Task(UNKNOWN_TASK, TaskSource.NONE)
    found = classifier.classify(payload.last_turn)
    confidence = round(found.confidence, 3)
    if found.type is None:
        return Task(UNKNOWN_TASK, TaskSource.NONE, confidence)
    return Task(found.type, TaskSource.CLASSIFIER, confidence)


def _named(said: str, source: TaskSource, where: str) -> Task | Refusal:
    if _TASK.fullmatch(said):
        return Task(said, source)
    message = f"{where} is not a task type: use up to 64 letters, digits, `.`, `_` and `-`."
    return Refusal("invalid_request", 400, "invalid_task", message)
