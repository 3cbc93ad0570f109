"""What providers do comes back and changes the next decision, on a real Envoy."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

from extproc.stand_in import Seen

pytestmark = pytest.mark.alone

# State is by target: each rule has models of its own, at two providers or three.
ROUTING = """
healthCheck: { interval: 10s, errorRateThreshold: 0.3 }
models:
  waits: { targets: [{ provider: openai }], contextWindow: 100000 }
  runs-down: { targets: [{ provider: openai }], contextWindow: 100000 }
  bounded:
    targets: [{ provider: openai }]
    contextWindow: 100000
    limits: { requestsPerMinute: 5 }
  breaks: { targets: [{ provider: openai }], contextWindow: 100000 }
  all-fail: { targets: [{ provider: openai }], contextWindow: 100000 }
  all-fail-too: { targets: [{ provider: google }], contextWindow: 100000 }
  quick: { targets: [{ provider: openai }], contextWindow: 100000 }
  quick-too: { targets: [{ provider: google }], contextWindow: 100000 }
  spare: { targets: [{ provider: google }], contextWindow: 100000 }
routes:
  - { match: { taskType: waits }, model: waits, fallback: spare }
  - { match: { taskType: runs-down }, model: runs-down, fallback: spare }
  - { match: { taskType: bounded }, model: bounded, fallback: spare }
  - { match: { taskType: breaks }, model: breaks, fallback: spare }
  - { match: { taskType: all-fail }, model: all-fail, fallback: all-fail-too }
  - { match: { taskType: quick }, candidates: [quick, quick-too], objective: latency }
  - { match: { default: true }, model: spare }
"""
CLIENTS = 8


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("loop")) as plane:
        yield plane


def ask(client: httpx.Client, task: str) -> httpx.Response:
    return client.post(CHAT, json=HELLO, headers={"x-router-task": task})


def served(client: httpx.Client, task: str) -> str:
    answer = ask(client, task)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-router-target"]


def models_of(seen: tuple[Seen, ...]) -> Counter[str]:
    return Counter(json.loads(one.body)["model"] for one in seen)


def under_load(plane: DataPlane, task: str, meanwhile: Callable[[], None]) -> list[httpx.Response]:
    return plane.under_load(
        meanwhile, clients=CLIENTS, pause_s=0.02, headers={"x-router-task": task}
    )


def test_a_failure_of_everything_alike_opens_nothing(
    plane: DataPlane, client: httpx.Client
) -> None:
    def heard_of() -> int:
        return sum(one["requests"] for one in plane.asked("/state")["targets"])

    # Everything is all that was heard of lately: first here, so that there is nothing else.
    eventually(lambda: heard_of() == 0, "other tests' requests to be forgotten")
    plane.fault("openai", model="all-fail", status=500)
    plane.fault("google", model="all-fail-too", status=500)
    for _ in range(20):
        assert ask(client, "all-fail").status_code >= 500
    eventually(lambda: plane.state("openai/all-fail")["errors"] >= 5, "the errors to be told of")
    breakers = {
        plane.state(f"{name}")["breaker"] for name in ("openai/all-fail", "google/all-fail-too")
    }
    assert breakers == {"closed"}


def test_after_a_429_the_target_is_left_alone_and_no_client_sees_one(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", model="waits", status=429, retry_after_s=90)
    assert {served(client, "waits") for _ in range(30)} == {"google/spare"}
    answers = under_load(plane, "waits", lambda: time.sleep(2))
    assert {answer.status_code for answer in answers} == {200}
    # The first one, and at most one more: all others were decided after its log had come.
    assert models_of(plane.seen("openai"))["waits"] <= 2


def test_headroom_that_runs_down_moves_traffic_before_the_first_429(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", model="runs-down", requests_per_minute=20)
    answers = [served(client, "runs-down") for _ in range(60)]
    assert answers[0] == "openai/runs-down"
    assert answers[-1] == "google/spare"
    assert 15 <= answers.count("openai/runs-down") <= 20
    attempts = [one for one in plane.decisions() if one["route"] == "route-2"]
    assert {one["outcome"]["attempts"] for one in attempts if one["outcome"]} == {1}
    assert "requests_exhausted" in {r["reason"] for one in attempts for r in one["rejected"]}


def test_a_configured_limit_is_kept_also_by_many_clients_at_once(plane: DataPlane) -> None:
    answers = under_load(plane, "bounded", lambda: time.sleep(2))
    assert {answer.status_code for answer in answers} == {200}
    assert models_of(plane.seen("openai"))["bounded"] == 5


def test_errors_open_the_breaker_and_a_probe_closes_it_again(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", model="breaks", status=500)
    eventually(
        lambda: (
            plane.state("openai/breaks")["breaker"] != "closed" or ask(client, "breaks") is None
        ),
        "the breaker to open",
        wait_s=10,
    )
    first = ask(client, "breaks")
    assert (first.headers["x-router-target"], first.headers["x-router-attempts"]) == (
        "google/spare",
        "1",
    )
    (record,) = plane.decisions(limit=1)
    assert record["rejected"][0]["reason"] == "breaker_open"

    plane.reset()  # the provider is well again, and nobody has noticed yet
    half_open = plane.state("openai/breaks")["until"]
    assert half_open is not None
    # Envoy has ejected it too, for about as long: whichever lets it back first does no harm.
    answers = under_load(
        plane,
        "breaks",
        lambda: eventually(
            lambda: plane.state("openai/breaks")["breaker"] == "closed", "the probe", wait_s=40
        ),
    )
    assert {answer.status_code for answer in answers} == {200}
    assert models_of(plane.seen("openai"))["breaks"] <= CLIENTS
    assert plane.state("openai/breaks")["slow_start"] < 1


def test_half_open_is_tried_by_one_request_at_a_time(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", model="breaks", status=500)
    eventually(
        lambda: plane.state("openai/breaks")["breaker"] == "open" or ask(client, "breaks") is None,
        "the breaker to open",
        wait_s=30,
    )
    plane.reset()
    plane.fault("openai", model="breaks", delay_s=1.5)
    under_load(
        plane,
        "breaks",
        lambda: eventually(
            lambda: plane.state("openai/breaks")["breaker"] == "closed", "the probe", wait_s=60
        ),
    )
    # One probe, answered late; what came with its answer is slow start's share.
    assert models_of(plane.seen("openai"))["breaks"] <= CLIENTS


def test_a_slow_provider_loses_its_traffic_within_ten_seconds_and_gets_it_back_within_sixty(
    plane: DataPlane,
) -> None:
    usual_s, slow_s = 0.03, 0.3
    plane.fault("openai", model="quick", delay_s=usual_s)
    plane.fault("google", model="quick-too", delay_s=usual_s)
    answers: list[httpx.Response] = []

    def share(of_last_s: float) -> float:
        since = time.monotonic() - of_last_s
        recent = [
            answer.headers["x-router-target"]
            for answer in tuple(answers)
            if answer.extensions["at"] >= since
        ]
        return recent.count("openai/quick") / len(recent) if len(recent) >= 20 else 0.5

    def story() -> None:
        eventually(lambda: 0.2 < share(1) < 0.8 and len(answers) > 100, "both to serve")
        plane.fault("openai", model="quick", delay_s=slow_s)
        eventually(lambda: share(1) < 0.05, "the traffic to leave", wait_s=10)
        time.sleep(3)
        assert share(2) < 0.1
        plane.fault("openai", model="quick", delay_s=usual_s)
        eventually(lambda: share(1) > 0.2, "the traffic to return", wait_s=60)

    plane.under_load(
        story, clients=CLIENTS, pause_s=0, headers={"x-router-task": "quick"}, answers=answers
    )
    assert {answer.status_code for answer in answers} == {200}
