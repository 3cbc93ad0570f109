"""What may be told of an exception: where it came from, and never what it says."""

from __future__ import annotations

import traceback


def where(error: BaseException) -> str:
    """Its places in the code; its message may quote a payload, a config or a log entry."""
    return "".join(traceback.format_tb(error.__traceback__))
