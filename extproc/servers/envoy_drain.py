"""Lets Envoy finish before it is ended: by itself it cuts off what is open, and forgets it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Protocol

QUIET_S: Final = 0.25
"""For so long nothing must be open: access logs are sent every 0.1 s."""

POLL_S: Final = 0.05
_log = logging.getLogger(__name__)


class Drainable(Protocol):
    """Envoy's admin server; neither method raises."""

    async def let_nobody_in(self) -> None: ...

    async def open_requests(self) -> int | None: ...


async def drain(envoy: Drainable, timeout_s: float) -> None:
    """Returns when all that is open has ended and been told to the router, or after `timeout_s`."""
    await envoy.let_nobody_in()
    deadline = time.monotonic() + timeout_s
    quiet_since = None
    while (now := time.monotonic()) < deadline:
        still_open = await envoy.open_requests()
        if still_open is None:
            return  # it has ended
        if still_open:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = now
        elif now - quiet_since >= QUIET_S:
            return
        await asyncio.sleep(POLL_S)
    _log.warning("ending Envoy: requests were open for more than %g s", timeout_s)
