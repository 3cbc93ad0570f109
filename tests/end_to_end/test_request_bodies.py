"""Bodies of every size and pace, over HTTP/1.1 and HTTP/2: whole at the provider, or refused."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from data_plane import CHAT, LOOPBACK, DataPlane

KIB = 1024
MIB = 1024 * 1024
LIMIT = 9 * MIB
ENVOYS_OWN_LIMIT = LIMIT + 64 * KIB

ROUTING = """
bodyBytesMax: 9MiB
healthCheck: { enabled: false }
routes:
  - match: { default: true }
    model: claude-sonnet-4
    fallback: gpt-4o
"""
REQUEST_TIMEOUT_S = 3.0

HEAD = b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"'
TAIL = b'"}}]}]}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    directory = tmp_path_factory.mktemp("bodies")
    with DataPlane(ROUTING, directory, request_timeout_s=REQUEST_TIMEOUT_S) as plane:
        yield plane


@pytest.fixture(params=[False, True], ids=["http1", "http2"])
def any_client(plane: DataPlane, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with plane.client(http2=request.param) as client:
        yield client


def body_of(size_bytes: int) -> bytes:
    """A picture, since text of this size has more tokens than any model reads."""
    return HEAD + b"A" * (size_bytes - len(HEAD) - len(TAIL)) + TAIL


def as_sent_to(model: str, body: bytes) -> bytes:
    return b'{"model":"%b",' % model.encode() + body.removeprefix(b"{")


def assert_refused(status: int, error: dict[str, str], *expected: tuple[int, str]) -> None:
    assert (status, error["code"]) in expected
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize("size_bytes", [64 * KIB, MIB + 1, 8 * MIB, LIMIT])
def test_a_body_arrives_whole(plane: DataPlane, any_client: httpx.Client, size_bytes: int) -> None:
    body = body_of(size_bytes)
    answer = any_client.post(CHAT, content=body)
    assert answer.status_code == 200, answer.text
    (seen,) = plane.seen()
    assert seen.body == as_sent_to("claude-sonnet-4-20250514", body)
    assert seen.headers["content-length"] == str(len(seen.body))


@pytest.mark.parametrize("size_bytes", [64 * KIB, MIB + 1, 8 * MIB, LIMIT])
@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": "before_headers"}], ids=str)
def test_the_fallback_gets_a_body_whole_too(
    plane: DataPlane, any_client: httpx.Client, fault: dict[str, str | float], size_bytes: int
) -> None:
    plane.fault("anthropic", **fault)
    body = body_of(size_bytes)
    answer = any_client.post(CHAT, content=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-router-attempts"] == "2"
    (seen,) = plane.seen("openai")
    assert seen.body == as_sent_to("gpt-4o", body)
    assert seen.headers["content-length"] == str(len(seen.body))


def test_a_body_of_one_byte_is_a_400(plane: DataPlane, any_client: httpx.Client) -> None:
    answer = any_client.post(CHAT, content=b"{")
    assert_refused(answer.status_code, answer.json()["error"], (400, "invalid_body"))
    assert not plane.seen()


@pytest.mark.parametrize("size_bytes", [LIMIT + 1, ENVOYS_OWN_LIMIT, ENVOYS_OWN_LIMIT + 1])
def test_a_body_over_the_limit_is_a_413(
    plane: DataPlane, any_client: httpx.Client, size_bytes: int
) -> None:
    answer = any_client.post(CHAT, content=body_of(size_bytes))
    assert answer.headers["content-type"] == "application/json"
    assert_refused(answer.status_code, answer.json()["error"], (413, "request_too_large"))
    assert not plane.seen()


def test_an_upload_in_chunks_with_pauses_arrives_whole(
    plane: DataPlane, any_client: httpx.Client
) -> None:
    body = body_of(MIB)

    def upload() -> Iterator[bytes]:
        for start in range(0, len(body), 256 * KIB):
            yield body[start : start + 256 * KIB]
            time.sleep(0.05)

    answer = any_client.post(CHAT, content=upload())
    assert answer.status_code == 200, answer.text
    (seen,) = plane.seen()
    assert seen.body == as_sent_to("claude-sonnet-4-20250514", body)
    assert seen.headers["content-length"] == str(len(seen.body))
    assert "transfer-encoding" not in seen.headers


def test_a_client_that_asks_first_whether_to_send_is_told_to(plane: DataPlane) -> None:
    body = body_of(MIB)
    head = b"POST %b HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    with socket.create_connection((LOOPBACK, plane.port), timeout=10) as connection:
        connection.sendall(head % (CHAT.encode(), len(body)))
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200, answer.read()
        answer.close()
    (seen,) = plane.seen()
    assert seen.body == as_sent_to("claude-sonnet-4-20250514", body)
    assert "expect" not in seen.headers


@pytest.mark.parametrize("fault", [{}, {"status": 503}], ids=str)
def test_trailers_of_an_http2_request_change_nothing(
    plane: DataPlane, fault: dict[str, float]
) -> None:
    plane.fault("anthropic", **fault)
    body = body_of(64 * KIB)
    assert post_with_trailers(plane, body) == b"200"
    assert [seen.body for seen in plane.seen()] == [
        as_sent_to("claude-sonnet-4-20250514", body),
        *([as_sent_to("gpt-4o", body)] if fault else []),
    ]


def post_with_trailers(plane: DataPlane, body: bytes) -> bytes | None:
    """The status of a request whose body is followed by trailers, which httpx can't send."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    pieces = [body[start : start + 16 * KIB] for start in range(0, len(body), 16 * KIB)]
    head = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": CHAT}
    with socket.create_connection((LOOPBACK, plane.port), timeout=10) as connection:
        http.initiate_connection()
        http.send_headers(1, list(head.items()))
        connection.sendall(http.data_to_send())
        while True:
            while pieces and http.local_flow_control_window(1) >= len(pieces[0]):
                http.send_data(1, pieces.pop(0))
                if not pieces:
                    http.send_headers(1, [("x-checksum", "1")], end_stream=True)
            connection.sendall(http.data_to_send())
            for event in http.receive_data(connection.recv(64 * KIB)):
                if isinstance(event, h2.events.ResponseReceived):
                    return dict(event.headers or ())[b":status"]
                assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated)


@pytest.mark.parametrize(
    ("framing", "chunk", "expected"),
    [
        (b"transfer-encoding: chunked", b"1\r\nx\r\n", (408, "request_timeout")),
        (b"content-length: 100000", b"x", (408, "request_timeout")),
        (
            b"transfer-encoding: chunked",
            b"10000\r\n" + bytes(64 * KIB) + b"\r\n",
            (413, "request_too_large"),
        ),
    ],
    ids=["a trickle of chunks", "a promised length", "a flood"],
)
def test_an_upload_that_never_ends_is_ended(
    plane: DataPlane, framing: bytes, chunk: bytes, expected: tuple[int, str]
) -> None:
    with socket.create_connection((LOOPBACK, plane.port), timeout=10) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % (CHAT.encode(), framing))
        deadline_s = time.monotonic() + 5 * REQUEST_TIMEOUT_S
        while not select.select([connection], [], [], 0.01)[0]:
            assert time.monotonic() < deadline_s
            connection.sendall(chunk)
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.headers["content-type"] == "application/json"
        assert_refused(answer.status, json.loads(answer.read())["error"], expected)
        answer.close()
    assert not plane.seen()
