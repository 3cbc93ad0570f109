"""Providers that misbehave below HTTP, or whose answers speak for the router."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Self

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane

HOST = "127.0.0.8"
MIB = 1024 * 1024

ROUTING = """
healthCheck: { enabled: false }
models:
  rude: { targets: [{ provider: rude }], contextWindow: 1000000, capabilities: { vision: true } }
routes:
  - match: { default: true }
    model: rude
    fallback: gpt-4o
"""


class Rude:
    """Answers every connection with `script` as soon as the request's header is in, then leaves.

    With `reset`, it leaves by a TCP reset. The body is not read.
    """

    def __init__(self) -> None:
        self.script = b""
        self.reset = False
        self._listener = socket.create_server((HOST, 0))
        self.base_url = f"http://{HOST}:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, name="a rude provider")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(4096)):
                    head += more
                if self.reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(self.script)


@pytest.fixture(scope="module")
def rude() -> Iterator[Rude]:
    with Rude() as provider:
        yield provider


@pytest.fixture(scope="module")
def running(rude: Rude, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    directory = tmp_path_factory.mktemp("rude")
    with DataPlane(ROUTING, directory, base_urls={"rude": rude.base_url}, feedback=False) as plane:
        yield plane


@pytest.mark.parametrize("size_bytes", [100, MIB, 8 * MIB])
@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 429 Slow down\r\nconnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=lambda script: script[:30].decode(),
)
def test_whatever_it_does_before_it_answers_the_fallback_gets_the_whole_request(
    plane: DataPlane,
    client: httpx.Client,
    rude: Rude,
    script: bytes,
    size_bytes: int,
    *,
    reset: bool,
) -> None:
    rude.script, rude.reset = script, reset
    url = {"url": "A" * size_bytes}
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]
    answer = client.post(CHAT, json={"messages": messages})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-router-target"] == "openai/gpt-4o"
    (seen,) = plane.seen("openai")
    assert json.loads(seen.body) == {"model": "gpt-4o", "messages": messages}


def test_what_an_answer_says_for_the_router_or_its_own_origin_is_not_passed_on(
    client: httpx.Client, rude: Rude
) -> None:
    rude.reset = False
    rude.script = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n"
        b"x-router-model: a-lie\r\nx-router-attempts: 9\r\nx-router-anything: a-lie\r\n"
        b"x-envoy-upstream-service-time: 9\r\nx-envoy-anything: a-lie\r\nset-cookie: a=a-lie\r\n"
        b"alt-svc: a-lie\r\nopenai-organization: a-lie\r\nvia: 1.1 a-lie\r\n"
        b"x-ratelimit-remaining-requests: 7\r\nx-own: kept\r\n\r\n{}"
    )
    answer = client.post(CHAT, json=HELLO)
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert answer.headers["x-router-model"] == "rude"
    assert answer.headers["x-router-attempts"] == "1"
    assert answer.headers["x-ratelimit-remaining-requests"] == "7"
    assert answer.headers["x-own"] == "kept"
    assert "a-lie" not in repr(list(answer.headers.items()))
    assert not [name for name in answer.headers if name.startswith("x-envoy-")]


@pytest.mark.parametrize(
    "claim",
    [
        b"x-envoy-ratelimited: true",
        b"x-envoy-immediate-health-check-fail: true",
        b"retry-after: 60",
    ],
)
def test_what_an_answer_says_for_envoy_does_not_prevent_the_fallback(
    client: httpx.Client, rude: Rude, claim: bytes
) -> None:
    rude.reset = False
    rude.script = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n" + claim + b"\r\n\r\n"
    answer = client.post(CHAT, json=HELLO)
    assert answer.status_code == 200
    assert answer.headers["x-router-attempts"] == "2"


def test_a_redirect_leads_no_client_past_the_router(
    plane: DataPlane, client: httpx.Client, rude: Rude
) -> None:
    rude.reset = False
    rude.script = b"HTTP/1.1 307 Elsewhere\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n"
    answer = client.post(CHAT, json=HELLO)
    assert answer.status_code == 307
    assert "location" not in answer.headers
    assert not plane.seen()


def test_a_translated_answer_that_is_compressed_though_none_may_be_is_an_error(
    client: httpx.Client, rude: Rude
) -> None:
    rude.reset = False
    body = gzip.compress(b"{}")
    head = b"content-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: %d"
    rude.script = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head % len(body), body)
    answer = client.post("/v1/messages", json=HELLO | {"max_tokens": 9})
    assert answer.status_code == 502
    assert answer.json()["error"]["message"]


SMALL_BODIES = ROUTING + "bodyBytesMax: 100KiB\n"


@pytest.fixture(scope="module")
def small(rude: Rude, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    directory, base_urls = tmp_path_factory.mktemp("small"), {"rude": rude.base_url}
    with DataPlane(SMALL_BODIES, directory, base_urls=base_urls, feedback=False) as plane:
        yield plane


@pytest.mark.parametrize("size_bytes", [200_000, MIB, 3 * MIB])
def test_a_long_answer_is_translated_however_small_bodies_are(
    small: DataPlane, rude: Rude, size_bytes: int
) -> None:
    message = {"role": "assistant", "content": "a" * size_bytes}
    answer = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    body = json.dumps(answer).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    rude.script, rude.reset = head % len(body) + body, False
    with small.client() as client:
        got = client.post("/v1/messages", json=HELLO | {"max_tokens": 9}, timeout=10)
    assert got.status_code == 200
    assert len(got.json()["content"][0]["text"]) == size_bytes
