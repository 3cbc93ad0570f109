"""What Envoy tells of attempts comes in their order, and however odd an answer's headers are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

pytestmark = pytest.mark.alone

ROUTING = """
healthCheck: { errorRateThreshold: 0.5 }
models:
  stumbles: { targets: [{ provider: openai }], contextWindow: 100000 }
  odd: { targets: [{ provider: azure }], contextWindow: 100000 }
  spare: { targets: [{ provider: google }], contextWindow: 100000 }
routes:
  - { match: { taskType: stumbles }, model: stumbles, fallback: spare }
  - { match: { default: true }, model: odd }
"""
ERRORS = 60
APART = 6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("news")) as plane:
        yield plane


def test_errors_among_good_answers_are_no_row(plane: DataPlane) -> None:
    """One answer in six, and less than half are allowed: told of alone they would be a row."""
    target = "openai/stumbles"

    def answers() -> int:
        return len(plane.visits("stumbles"))

    def has_answered(times: int) -> bool:
        return answers() >= times

    def stumbling() -> None:
        for _ in range(ERRORS):
            until = answers() + APART
            plane.fault("openai", model="stumbles", status=500, times=1)
            eventually(partial(has_answered, until), "more answers")

    plane.under_load(stumbling, pause_s=0, headers={"x-router-task": "stumbles"})
    visits = plane.visits("stumbles")
    errors = [visit for visit in visits if visit.status == 500]
    assert 0.9 * ERRORS <= len(errors) <= len(visits) / (APART - 1)
    eventually(lambda: plane.state(target)["errors"] == len(errors), "the errors to be told of")
    assert plane.state(target)["breaker"] == "closed"


@pytest.mark.parametrize(
    "left", ["12.0", "unlimited", "-1", "99999999999999999999", "5, 5", "+7", "1e3"]
)
def test_an_answer_is_told_of_whatever_it_says_is_left(
    plane: DataPlane, client: httpx.Client, left: str
) -> None:
    told = {"x-ratelimit-remaining-requests": left, "x-ratelimit-remaining-tokens": left}
    plane.fault("azure", headers=told)
    before = plane.state("azure/odd")["samples"]
    assert client.post(CHAT, json=HELLO).status_code == 200
    eventually(lambda: plane.state("azure/odd")["samples"] == before + 1, "the answer", wait_s=5)
