"""How late the event loop is: what every request waits for beside its own decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 0.25


async def sample_lag(report: Callable[[float], None], interval_s: float = INTERVAL_S) -> None:
    """Sleep, report by how many seconds one woke too late, and again, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        report(max(0.0, loop.time() - due))
