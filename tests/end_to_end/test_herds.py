"""Many clients at once: what one of them has found out of a target, the others go by."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually
from stand_ins import most_at_once

pytestmark = pytest.mark.alone

ROUTING = """
models:
  slow: { targets: [{ provider: openai }], contextWindow: 100000 }
  fast: { targets: [{ provider: google }], contextWindow: 100000 }
  cold: { targets: [{ provider: azure }], contextWindow: 100000 }
  waits: { targets: [{ provider: openai }], contextWindow: 100000 }
  few-requests: { targets: [{ provider: openai }], contextWindow: 100000 }
  few-tokens: { targets: [{ provider: openai }], contextWindow: 100000 }
  spare: { targets: [{ provider: google }], contextWindow: 100000 }
routes:
  - { match: { taskType: latency }, candidates: [slow, fast, cold], objective: latency }
  - { match: { taskType: waits }, model: waits, fallback: spare }
  - { match: { taskType: few-requests }, model: few-requests, fallback: spare }
  - { match: { taskType: few-tokens }, model: few-tokens, fallback: spare }
  - { match: { default: true }, model: spare }
"""
CLIENTS = 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("herds")) as plane:
        yield plane


def after_load(plane: DataPlane, task: str, seconds: float) -> list[httpx.Response]:
    """What eight clients were answered, each asking on as soon as it was."""
    headers = {"x-router-task": task}
    return plane.under_load(lambda: time.sleep(seconds), clients=CLIENTS, headers=headers)


def test_neither_a_cold_nor_a_slow_target_draws_a_herd(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", model="slow", delay_s=0.4)
    plane.fault("google", model="fast", delay_s=0.03)
    plane.fault("azure", model="cold", delay_s=1.0)
    for model in ("slow", "slow", "fast", "fast"):  # by name: nothing is drawn
        assert client.post(CHAT, json=HELLO | {"model": model}).status_code == 200
    eventually(
        lambda: [plane.state(t)["samples"] for t in ("openai/slow", "google/fast")] == [2, 2],
        "what was found of them",
    )
    assert plane.state("azure/cold")["samples"] == 0
    asked = time.monotonic()
    answers = after_load(plane, "latency", 6)
    assert {answer.status_code for answer in answers} == {200}
    cold, fast, slow = (
        [visit for visit in plane.visits(model) if visit.began >= asked]
        for model in ("cold", "fast", "slow")
    )
    assert cold, "it was tried"
    assert most_at_once(cold) <= 2
    assert most_at_once(slow) <= 2
    assert len(fast) > 0.9 * len(answers)


def test_all_but_one_of_those_that_ask_after_a_429_leave_its_target_alone(
    plane: DataPlane,
) -> None:
    # A delay, so that all who were sent before the first 429 have arrived before it, too.
    plane.fault("openai", model="waits", status=429, retry_after_s=90, delay_s=0.3)
    answers = after_load(plane, "waits", 4)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-router-target"] for answer in answers} == {"google/spare"}
    assert len(answers) > 10 * CLIENTS
    visits = plane.visits("waits")
    first = min(visit.ended for visit in visits)
    assert len([visit for visit in visits if visit.began < first]) <= CLIENTS
    assert len([visit for visit in visits if visit.began > first]) <= 1


@pytest.mark.parametrize(
    ("model", "limits", "reason"),
    [
        ("few-requests", {"requests_per_minute": 30}, "requests_exhausted"),
        ("few-tokens", {"tokens_per_minute": 3000}, "tokens_exhausted"),
    ],
)
def test_eight_clients_move_away_before_a_limit_is_met(
    plane: DataPlane, model: str, limits: dict[str, int], reason: str
) -> None:
    plane.fault("openai", model=model, delay_s=0.05, **limits)
    answers = after_load(plane, model, 3)
    assert {answer.status_code for answer in answers} == {200}
    visits = plane.visits(model)
    # A provider may count two that are under way at once in another order than they were sent:
    # what it then says is left has one of them still to come.
    assert [visit.status for visit in visits].count(429) <= 1
    assert len(visits) >= CLIENTS
    assert answers[-1].headers["x-router-target"] == "google/spare"
    (newest,) = plane.decisions(limit=1)
    assert [one["reason"] for one in newest["rejected"]] == [reason]
