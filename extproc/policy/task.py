"""Which kind of work a request is: header, then metadata, else unknown."""

from __future__ import annotations

import re
from typing import Final

from extproc.policy.request import Request
from extproc.vocabulary import Refusal, Task, TaskSource

TASK_HEADER: Final = "x-router-task"
TASK_FIELD: Final = "task_type"
UNKNOWN_TASK: Final = "unknown"

_TASK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def task_of(request: Request, *, header_allowed: bool) -> Task | Refusal:
    said = request.headers.get(TASK_HEADER) if header_allowed else None
    source, where = TaskSource.HEADER, f"The header `{TASK_HEADER}`"
    if said is None:
        said = request.payload.metadata.get(TASK_FIELD)
        source, where = TaskSource.METADATA, f"The field `metadata.{TASK_FIELD}`"
    if said is None:
        return Task(UNKNOWN_TASK, TaskSource.NONE)
    if not _TASK.fullmatch(said):
        message = f"{where} is not a task type: use up to 64 letters, digits, `.`, `_` and `-`."
        return Refusal("invalid_request", 400, "invalid_task", message)
    return Task(said, source)
