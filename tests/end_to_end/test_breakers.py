"""The breaker and Envoy's own ejection: what each makes of the same failures, and the way back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

pytestmark = pytest.mark.alone

# A long interval: tests are over before it is, so that nothing is forgotten midway.
ROUTING = """
healthCheck: { interval: 60s, errorRateThreshold: 0.2 }
models:
  bursts: { targets: [{ provider: openai }], contextWindow: 100000 }
  dies: { targets: [{ provider: anthropic }], contextWindow: 100000 }
  spare: { targets: [{ provider: google }], contextWindow: 100000 }
routes:
  - { match: { taskType: bursts }, model: bursts, fallback: spare }
  - { match: { taskType: dies }, model: dies, fallback: spare }
  - { match: { default: true }, model: spare }
"""
SPARE = ("google/spare", "1")
CLIENTS = 8
IN_A_ROW = 5
OPEN_S = 10


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("breakers")) as plane:
        yield plane


def ask(client: httpx.Client, task: str) -> tuple[str, str]:
    """Who served, at which attempt."""
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": task})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-router-target"], answer.headers["x-router-attempts"]


def ejected(plane: DataPlane, target: str) -> int:
    return plane.stat(f"cluster.{target}.outlier_detection.ejections_active")


def ejections(plane: DataPlane, target: str) -> int:
    """So far."""
    return plane.stat(f"cluster.{target}.outlier_detection.ejections_enforced_total")


def breaker(plane: DataPlane, target: str) -> str:
    state: str = plane.state(target)["breaker"]
    return state


def test_a_burst_of_errors_that_envoy_lets_pass_opens_the_breaker_and_one_probe_at_a_time_closes_it(
    plane: DataPlane, client: httpx.Client
) -> None:
    """Four errors of sixteen answers are more than one in five, and never five in a row."""
    target = "openai/bursts"
    assert {ask(client, "bursts") for _ in range(12)} == {(target, "1")}
    eventually(lambda: plane.state(target)["requests"] == 12, "the answers to be told of")
    well = time.monotonic()
    plane.fault("openai", model="bursts", status=500, times=4)
    assert {ask(client, "bursts") for _ in range(4)} == {("google/spare", "2")}
    eventually(lambda: breaker(plane, target) == "open", "the breaker to open")
    assert ask(client, "bursts") == SPARE
    (newest,) = plane.decisions(limit=1)
    assert [(r["target"], r["reason"]) for r in newest["rejected"]] == [(target, "breaker_open")]
    assert [link["target"] for link in newest["chain"]] == ["google/spare"]
    assert (ejected(plane, target), ejections(plane, target)) == (0, 0)

    # It fails on, slowly: many could meet there.
    plane.reset()
    plane.fault("openai", model="bursts", status=500, times=1, delay_s=1)
    answers = plane.under_load(
        lambda: eventually(lambda: plane.visits("bursts"), "a probe", wait_s=2 * OPEN_S),
        clients=CLIENTS,
        headers={"x-router-task": "bursts"},
    )
    assert {answer.status_code for answer in answers} == {200}
    (probe,) = plane.visits("bursts")
    assert probe.status == 500
    assert probe.began - well > OPEN_S
    eventually(lambda: breaker(plane, target) == "open", "to be open again")
    assert len(plane.visits("bursts")) == 1


def test_envoy_and_the_breaker_leave_out_a_dead_target_and_let_it_back_without_a_fight(
    plane: DataPlane, client: httpx.Client
) -> None:
    """Five errors in a row are enough for both, for about ten seconds each."""
    target = "anthropic/dies"
    for _ in range(3):
        assert ask(client, "dies") == (target, "1")
    eventually(lambda: plane.state(target)["requests"] == 3, "the answers to be told of")
    plane.fault("anthropic", model="dies", status=503)
    assert {ask(client, "dies") for _ in range(IN_A_ROW)} == {("google/spare", "2")}
    eventually(lambda: breaker(plane, target) == "open", "the breaker to open")
    eventually(lambda: ejected(plane, target) == 1, "the ejection")
    assert [ask(client, "dies") for _ in range(IN_A_ROW)] == [SPARE] * IN_A_ROW
    assert len(plane.visits("dies")) == 3 + IN_A_ROW

    plane.reset()  # well again
    plane.fault("anthropic", model="dies", delay_s=0.5)

    def is_back() -> bool:
        return breaker(plane, target) == "closed" and not ejected(plane, target)

    def recovery() -> None:
        eventually(is_back, "both to let it back", wait_s=40)
        time.sleep(3)

    answers = plane.under_load(recovery, clients=CLIENTS, headers={"x-router-task": "dies"})
    assert {answer.status_code for answer in answers} == {200}
    # A probe that met the ejection went on to the next within its attempt: nobody tried twice.
    assert {answer.headers["x-router-attempts"] for answer in answers} == {"1"}
    assert (breaker(plane, target), ejected(plane, target)) == ("closed", 0)
    assert ejections(plane, target) == 1
    visits = plane.visits("dies")
    assert {visit.status for visit in visits} == {200}
    probe, *later = visits
    assert all(visit.began >= probe.ended for visit in later), "nobody beside the probe"
    # Slow start: a tenth at first, and two in three seconds.
    since = [a for a in answers if a.extensions["at"] > probe.ended]
    assert 0 < len(later) < 0.5 * len(since)
