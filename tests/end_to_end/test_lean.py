"""The lean transport under a real Envoy: a part of what all other tests here show on `grpcio`.

`EXTPROC_TRANSPORT=lean python -m pytest tests/end_to_end` shows the rest.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

MIB = 1024 * 1024
LIMIT = 9 * MIB
ROUTING = """
bodyBytesMax: 9MiB
healthCheck: { enabled: false }
server: { decisionTimeout: 2s, drainTimeout: 5s }
routes:
  - match: { default: true }
    model: claude-sonnet-4
    fallback: gpt-4o
"""
OTHER = ROUTING.replace("model: claude-sonnet-4", "model: gpt-4o").replace(
    "fallback: gpt-4o", "fallback: claude-sonnet-4"
)
MESSAGES: list[Any] = [{"role": "user", "content": "Hello, who are you?"}]
SAYS = "This is claude-sonnet-4-20250514 at anthropic, standing in."
MODEL = b'"model":"claude-sonnet-4-20250514",'
AT_ONCE = 200
CLIENTS = 8
SOME = 30

HEAD = b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"'
TAIL = b'"}}]}]}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("lean"), transport="lean") as plane:
        yield plane


@pytest.fixture(autouse=True)
def kept(plane: DataPlane) -> Iterator[None]:
    """No stream stays open, and Envoy understands all that it is sent."""
    yield
    eventually(lambda: plane.stat("cluster.extproc.http2.streams_active") <= 1, "the streams' end")
    assert plane.stat("cluster.extproc.http2.rx_messaging_error") == 0


def test_openais_sdk_gets_a_completion_and_a_stream(plane: DataPlane) -> None:
    with openai.OpenAI(base_url=plane.base_url + "/v1", api_key="anything") as sdk:
        answer = sdk.chat.completions.create(model="auto", messages=MESSAGES)
        assert answer.choices[0].message.content == SAYS
        stream = sdk.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == SAYS


def body_of(size_bytes: int) -> bytes:
    return HEAD + b"A" * (size_bytes - len(HEAD) - len(TAIL)) + TAIL


@pytest.mark.parametrize("size_bytes", [16_384, 65_536, MIB, LIMIT])
def test_a_body_of_any_size_arrives_whole(
    plane: DataPlane, client: httpx.Client, size_bytes: int
) -> None:
    body = body_of(size_bytes)
    assert client.post(CHAT, content=body).status_code == 200
    (seen,) = plane.seen()
    assert seen.body == b"{" + MODEL + body.removeprefix(b"{")


def test_large_bodies_side_by_side_share_the_windows(plane: DataPlane) -> None:
    async def run() -> set[int]:
        async with plane.async_client() as client:
            posts = (client.post(CHAT, content=body_of(3 * MIB)) for _ in range(12))
            return {answer.status_code for answer in await asyncio.gather(*posts)}

    assert asyncio.run(run()) == {200}
    assert {len(seen.body) for seen in plane.seen()} == {3 * MIB + len(MODEL)}


REFUSED: dict[str, tuple[str, str, bytes | None, int]] = {
    "a body that is none": ("POST", CHAT, b"hello", 400),
    "a body that is too large": ("POST", CHAT, body_of(LIMIT + 1), 413),
    "an unknown model": ("POST", CHAT, json.dumps(HELLO | {"model": "x"}).encode(), 404),
    "an unknown path": ("POST", "/nowhere", b"{}", 404),
    "a wrong method": ("DELETE", CHAT, None, 405),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_answered_by_the_router(
    plane: DataPlane, client: httpx.Client, name: str
) -> None:
    method, path, body, status = REFUSED[name]
    answer = client.request(method, path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["code"]
    assert not plane.seen()


def test_what_the_router_itself_knows_is_told(client: httpx.Client) -> None:
    assert client.get("/v1/models").json()["object"] == "list"


def test_the_next_provider_answers_when_the_first_fails(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", status=503)
    answer = client.post(CHAT, json=HELLO)
    assert (answer.status_code, answer.headers["x-router-attempts"]) == (200, "2")


def test_many_at_once_are_each_answered_with_their_own(plane: DataPlane) -> None:
    def asked(number: int) -> dict[str, object]:
        return HELLO | {"user": str(number)}

    async def run() -> list[httpx.Response]:
        async with plane.async_client() as client:
            posts = (client.post(CHAT, json=asked(number)) for number in range(AT_ONCE))
            return await asyncio.gather(*posts)

    answers = asyncio.run(run())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["x-router-decision"] for answer in answers}) == AT_ONCE
    users = {json.loads(seen.body)["user"] for seen in plane.seen()}
    assert users == {str(number) for number in range(AT_ONCE)}


def test_clients_that_leave_leave_nothing_open(plane: DataPlane) -> None:
    plane.fault("anthropic", delay_s=5.0)

    async def run() -> None:
        async with plane.async_client() as client:
            posts = [asyncio.create_task(client.post(CHAT, json=HELLO)) for _ in range(20)]
            await asyncio.to_thread(eventually, lambda: len(plane.seen()) == 20, "the attempts")
            for post in posts:
                post.cancel()
            await asyncio.gather(*posts, return_exceptions=True)

    asyncio.run(run())


def test_outcomes_come_back_in_the_access_log(plane: DataPlane, client: httpx.Client) -> None:
    decision = client.post(CHAT, json=HELLO).headers["x-router-decision"]

    def is_told() -> bool:
        (record,) = (one for one in plane.decisions() if one["id"] == decision)
        return bool((record["outcome"] or {}).get("status") == 200)

    eventually(is_told, "the outcome")


def test_a_reload_counts_for_the_next_request(plane: DataPlane, client: httpx.Client) -> None:
    plane.reload(plane.config(OTHER))
    assert client.post(CHAT, json=HELLO).headers["x-router-model"] == "gpt-4o"
    plane.reload(plane.config(ROUTING))
    assert client.post(CHAT, json=HELLO).headers["x-router-model"] == "claude-sonnet-4"
    assert not plane.said("take effect at the next start")


def test_another_transport_in_a_reload_waits_for_the_next_start(plane: DataPlane) -> None:
    text = plane.config(ROUTING)
    plane.reload(text.replace("transport: lean", "transport: grpcio"))
    plane.reload(text)
    assert len(plane.said("server.transport take effect at the next start")) == 2


def test_so_far_no_connection_was_given_up(plane: DataPlane) -> None:
    """Before the next tests: one that drains counts as faulty to Envoy, on `grpcio` as well.

    It closes a drained connection amid what it reads, if the reset after the last trailers is there
    already.
    """
    assert plane.stat("cluster.extproc.upstream_cx_protocol_error") == 0
    assert plane.stat("cluster.extproc.upstream_cx_destroy_with_active_rq") == 0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_router_that_ends_under_load_leaves_no_request_unrouted(
    plane: DataPlane, signum: signal.Signals
) -> None:
    answers: list[httpx.Response] = []

    def served() -> int:
        return sum(answer.status_code == 200 for answer in answers)

    def end_and_start() -> None:
        eventually(lambda: served() > SOME, "answers")
        plane.router.send(signum)
        assert plane.router.wait() == (0 if signum is signal.SIGTERM else -signal.SIGKILL)
        plane.start_router()
        before = served()
        eventually(lambda: served() > before + SOME, "answers again")

    plane.under_load(end_and_start, clients=CLIENTS, answers=answers)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all("x-router-decision" in one.headers for one in answers if one.status_code == 200)
