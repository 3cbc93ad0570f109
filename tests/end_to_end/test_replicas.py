"""The router killed, drained and doubled under load: what is written, and never twice."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from data_plane import CHAT, HELLO, LOOPBACK, DataPlane, Program, eventually, free_port

from extproc.envoy_config import TcpAddress, UnixSocket

pytestmark = pytest.mark.alone

ROUTING = """
server: { drainDelay: 2s }
decisionLog: { path: DIRECTORY/decisions.jsonl }
models:
  one: { targets: [{ provider: openai }], contextWindow: 100000 }
  other: { targets: [{ provider: google }], contextWindow: 100000 }
routes: [{ match: { default: true }, model: one, fallback: other }]
"""
CLIENTS = 8


class Replicated(DataPlane):
    """Two routers behind one Envoy. They share a decision log, as they may: a line is one write."""

    def __init__(self, directory: Path) -> None:
        super().__init__(ROUTING.replace("DIRECTORY", str(directory)), directory)
        self._second_at = TcpAddress(LOOPBACK, free_port())
        self._second_admin_port = free_port()

    @property
    def routers(self) -> tuple[TcpAddress | UnixSocket, ...]:
        return (*super().routers, self._second_at)

    @contextmanager
    def second(self) -> Iterator[Program]:
        router = Program(
            [
                *(sys.executable, "-m", "extproc", "serve", str(self.config_file)),
                *("--listen", f"{self._second_at.host}:{self._second_at.port}"),
                *("--admin-port", str(self._second_admin_port)),
            ],
            self.directory / "router-2.log",
            self._env,
        )
        try:
            eventually(lambda: self.second_asked("/readyz").status_code == 200, "the second router")
            self.await_healthy(2)  # or there is nobody to take over when one of them goes
            yield router
        finally:
            router.end()

    def await_healthy(self, count: int) -> None:
        healthy = "cluster.extproc.membership_healthy"
        eventually(lambda: self.stat(healthy) == count, f"Envoy to see {count} well")

    def second_asked(self, path: str) -> httpx.Response:
        at = f"http://{LOOPBACK}:{self._second_admin_port}"
        return httpx.get(at + path, trust_env=False, verify=False)

    def records(self) -> list[dict[str, Any]]:
        log = self.directory / "decisions.jsonl"
        return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    plane = Replicated(tmp_path_factory.mktemp("replicas"))
    with plane:
        yield plane


@pytest.fixture
def replicated(running: Replicated) -> Replicated:
    running.reset()
    return running


def under_load(plane: DataPlane, meanwhile: Callable[[], None]) -> list[httpx.Response]:
    """With some load before and after it."""

    def in_between() -> None:
        time.sleep(0.5)
        meanwhile()
        time.sleep(0.5)

    return plane.under_load(in_between, clients=CLIENTS)


def decided(answers: list[httpx.Response]) -> set[str]:
    return {a.headers["x-router-decision"] for a in answers if "x-router-decision" in a.headers}


UNDER_WAY = 40
"""A batch, if the kill comes in the few milliseconds that a router takes to write one (ADR 11)."""


def assert_each_is_written_once(plane: Replicated, ids: set[str], lost_max: int = 0) -> None:
    def written() -> Counter[str]:
        return Counter(record["id"] for record in plane.records())

    eventually(lambda: len(ids - written().keys()) <= lost_max, "the records")
    assert {found for found, count in written().items() if count > 1} == set()
    assert all(record["outcome"]["status"] for record in plane.records() if record["id"] in ids)


def test_a_router_killed_and_started_again_under_load_loses_no_more_than_it_held(
    replicated: Replicated,
) -> None:
    def kill_twice() -> None:
        for _ in range(2):
            replicated.await_healthy(1)
            replicated.kill_router()
            replicated.start_router()
        replicated.await_healthy(1)

    answers = under_load(replicated, kill_twice)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert sum(answer.status_code == 200 for answer in answers) > CLIENTS
    assert_each_is_written_once(replicated, decided(answers), lost_max=2 * UNDER_WAY)


def test_two_replicas_share_the_work_and_write_each_record_once(replicated: Replicated) -> None:
    with replicated.second():
        answers = under_load(replicated, lambda: None)
        assert {answer.status_code for answer in answers} == {200}
        assert_each_is_written_once(replicated, decided(answers))
        # Both have decided, and both were told of every attempt.
        assert len(replicated.second_asked("/decisions?limit=1").json()) == 1
        (target,) = [
            one
            for one in replicated.second_asked("/state").json()["targets"]
            if one["target"] == "openai/one"
        ]
        assert target["requests"] >= len(answers)


def test_a_replica_that_is_killed_costs_what_was_under_way_at_it_and_no_more(
    replicated: Replicated,
) -> None:
    with replicated.second() as router:
        answers = under_load(replicated, lambda: router.send(signal.SIGKILL))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) <= 2 * CLIENTS
    assert {answer.status_code for answer in refused} <= {503}
    assert_each_is_written_once(replicated, decided(answers), lost_max=UNDER_WAY)


def test_a_replica_that_drains_costs_nothing(replicated: Replicated) -> None:
    with replicated.second() as router:

        def drain() -> None:
            router.send(signal.SIGTERM)
            router.wait()

        answers = under_load(replicated, drain)
    assert {answer.status_code for answer in answers} == {200}
    assert_each_is_written_once(replicated, decided(answers))


def test_what_one_replica_hears_of_a_target_all_know(replicated: Replicated) -> None:
    with replicated.second(), replicated.client() as client:
        replicated.fault("openai", status=429, retry_after_s=90, times=1)
        assert client.post(CHAT, json=HELLO).headers["x-router-target"] == "google/other"
        replicated.reset()
        for _ in range(4 * CLIENTS):
            assert client.post(CHAT, json=HELLO).headers["x-router-target"] == "google/other"
        assert not replicated.seen("openai")
