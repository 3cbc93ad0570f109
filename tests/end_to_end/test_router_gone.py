"""Without the router nothing is forwarded, and clients are told; it may come back any time."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Self

import httpx
import pytest
from data_plane import CHAT, HELLO, LOOPBACK, DataPlane, eventually

pytestmark = pytest.mark.alone

DECISION_TIMEOUT_S = 1.0
DRAIN_TIMEOUT_S = 3.0
ROUTING = f"""
healthCheck: {{ enabled: false }}
server: {{ decisionTimeout: {DECISION_TIMEOUT_S}, drainTimeout: {DRAIN_TIMEOUT_S} }}
routes:
  - match: {{ default: true }}
    model: claude-sonnet-4
    fallback: gpt-4o
"""

UPSTREAM_BODY = HELLO | {"model": "claude-sonnet-4-20250514"}
WORKERS = 8
SOME = 30
PAUSE_S = 0.01


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("gone")) as plane:
        yield plane


@pytest.fixture(autouse=True)
def alive(plane: DataPlane) -> Iterator[None]:
    """Whatever a test did to the router, the next one finds it well, beside the same Envoy."""
    pid = plane.envoy.pid
    yield
    if plane.router.status is not None:
        plane.start_router()
    eventually(plane.router_is_ready, "the router")
    with plane.client() as client:
        eventually(lambda: client.post(CHAT, json=HELLO).is_success, "an answer")
    assert (plane.envoy.pid, plane.envoy.status) == (pid, None)


def assert_refused(status: int, body: bytes, *expected: tuple[int, str]) -> None:
    error = json.loads(body)["error"]
    assert (status, error["code"]) in expected
    assert error["type"] == "server_error"
    assert error["message"]


UNAVAILABLE = (503, "router_unavailable")
TOO_SLOW = (504, "router_timeout")


def outcomes_under_load(
    plane: DataPlane, trouble: Callable[[Counter[int]], Awaitable[None]]
) -> Counter[int]:
    """The statuses of what was asked while `trouble` ran; each answer that isn't a 200 is checked.

    `trouble` is given the counts as they grow.
    """
    statuses: Counter[int] = Counter()

    async def ask(client: httpx.AsyncClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer = await client.post(CHAT, json=HELLO)
            if answer.status_code != 200:
                assert_refused(answer.status_code, answer.content, UNAVAILABLE, TOO_SLOW)
                await asyncio.sleep(PAUSE_S)
            statuses[answer.status_code] += 1

    async def run() -> None:
        stop = asyncio.Event()
        async with plane.async_client() as client, asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(ask(client, stop))
            try:
                await trouble(statuses)
            finally:
                stop.set()

    asyncio.run(run())
    return statuses


async def until(holds: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(eventually, holds, what)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_router_that_ends_under_load_leaves_no_request_unrouted(
    plane: DataPlane, signum: signal.Signals
) -> None:
    async def trouble(statuses: Counter[int]) -> None:
        await until(lambda: statuses[200] > SOME, "answers")
        plane.router.send(signum)
        status = await asyncio.to_thread(plane.router.wait)
        assert status == (-signal.SIGKILL if signum is signal.SIGKILL else 0)
        await until(lambda: statuses[503] > SOME, "refusals")
        plane.start_router()
        before = statuses[200]
        await until(lambda: statuses[200] > before + SOME, "answers again")

    statuses = outcomes_under_load(plane, trouble)
    seen = plane.seen()
    assert all(json.loads(one.body) == UPSTREAM_BODY for one in seen)
    # One that is killed between its reply and the end of its stream breaks what it has just routed.
    broken = WORKERS if signum is signal.SIGKILL else 0
    assert statuses[200] <= len(seen) <= statuses[200] + broken


def test_a_router_that_stops_answering_is_a_504(plane: DataPlane, client: httpx.Client) -> None:
    plane.router.send(signal.SIGSTOP)
    answer = client.post(CHAT, json=HELLO)
    plane.router.send(signal.SIGCONT)
    assert_refused(answer.status_code, answer.content, TOO_SLOW)
    assert answer.elapsed.total_seconds() < DECISION_TIMEOUT_S + 5
    eventually(plane.router_is_ready, "the router")
    assert not plane.seen()


def test_a_router_that_drains_finishes_what_is_open_and_takes_nothing_new(
    plane: DataPlane, client: httpx.Client
) -> None:
    with HalfSent(plane) as request:
        plane.router.send(signal.SIGTERM)
        eventually(lambda: not plane.router_is_ready(), "the router to drain")
        late = client.post(CHAT, json=HELLO)
        assert_refused(late.status_code, late.content, UNAVAILABLE)
        assert plane.router.status is None
        status, body = request.finish()
    assert status == 200, body
    assert plane.router.wait() == 0
    assert [json.loads(seen.body) for seen in plane.seen()] == [UPSTREAM_BODY]


def test_an_upload_may_take_longer_than_a_decision(plane: DataPlane) -> None:
    with HalfSent(plane) as request:
        time.sleep(1.5 * DECISION_TIMEOUT_S)
        status, body = request.finish()
    assert status == 200, body


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
def test_a_request_that_is_still_arriving_when_its_router_ends_goes_nowhere(
    plane: DataPlane, signum: signal.Signals
) -> None:
    with HalfSent(plane) as request:
        plane.router.send(signum)
        plane.router.wait()
        assert_refused(*request.finish(), UNAVAILABLE)
    assert not plane.seen()


class HalfSent:
    """A request whose headers the router has answered and whose body is half on its way."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._body = json.dumps(HELLO).encode()
        self._connection = HTTPConnection(LOOPBACK, plane.port, timeout=20)

    def __enter__(self) -> Self:
        answered = self._plane.stat("http.llm.ext_proc.stream_msgs_received")
        self._connection.putrequest("POST", CHAT)
        self._connection.putheader("content-length", str(len(self._body)))
        self._connection.endheaders(self._body[:10])
        eventually(
            lambda: self._plane.stat("http.llm.ext_proc.stream_msgs_received") == answered + 1,
            "the router's answer to the headers",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def finish(self) -> tuple[int, bytes]:
        self._connection.send(self._body[10:])
        with closing(self._connection.getresponse()) as answer:
            return answer.status, answer.read()
