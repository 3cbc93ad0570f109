"""The event loop's lag: seen when something holds it up, and near nothing when nothing does."""

import asyncio
import contextlib
import time

import pytest

from extproc.servers.lag import sample_lag


async def sampled(seconds: float, hold_up_s: float = 0.0) -> list[float]:
    lags: list[float] = []
    sampler = asyncio.create_task(sample_lag(lags.append, 0.02))
    await asyncio.sleep(0.01)
    time.sleep(hold_up_s)  # noqa: ASYNC251  what is to be noticed
    await asyncio.sleep(seconds)
    sampler.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sampler
    return lags


def test_what_holds_up_the_loop_is_reported_in_seconds() -> None:
    lags = asyncio.run(sampled(0.1, hold_up_s=0.3))
    assert max(lags) == pytest.approx(0.29, abs=0.1)


def test_a_loop_that_is_not_held_up_is_sampled_again_and_again() -> None:
    lags = asyncio.run(sampled(0.3))
    assert len(lags) >= 3
    assert min(lags) < 0.02
    assert all(lag >= 0 for lag in lags)
