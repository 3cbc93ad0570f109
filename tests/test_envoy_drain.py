"""When Envoy may be ended: nothing has been open for a while, its logs included."""

import asyncio
import time
from collections.abc import Iterable

import pytest

from extproc.servers.envoy_admin import open_of
from extproc.servers.envoy_drain import POLL_S, QUIET_S, drain


class Envoy:
    """Has these many requests open, one number for each time it is asked; the last one stays."""

    def __init__(self, numbers: Iterable[int | None]) -> None:
        self._numbers = list(numbers)
        self.lets_in = True

    async def let_nobody_in(self) -> None:
        self.lets_in = False

    async def open_requests(self) -> int | None:
        assert not self.lets_in
        return self._numbers.pop(0) if len(self._numbers) > 1 else self._numbers[0]


def seconds_to_drain(*numbers: int | None, timeout_s: float = 30.0) -> float:
    began = time.monotonic()
    asyncio.run(drain(Envoy(numbers), timeout_s))
    return time.monotonic() - began


def test_an_idle_one_is_given_time_for_its_last_logs() -> None:
    assert QUIET_S <= seconds_to_drain(0) < 3 * QUIET_S


def test_what_is_open_is_waited_for_and_its_logs_too() -> None:
    polls = [2, 1, 0, 1, 0]
    assert seconds_to_drain(*polls) >= QUIET_S + 4 * POLL_S


def test_one_that_is_gone_is_not_waited_for() -> None:
    assert seconds_to_drain(None) < QUIET_S


def test_no_request_is_waited_for_longer_than_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    assert seconds_to_drain(1, timeout_s=0.2) < 1
    assert "0.2 s" in caplog.text


def test_what_is_open_is_clients_requests_and_what_is_told_to_the_router() -> None:
    stats = "cluster.extproc.upstream_rq_active: 2\nhttp.llm.downstream_rq_active: 3\n"
    assert open_of(stats) == 5
