"""What can't be routed is answered in OpenAI's error shape, and no provider hears of it."""

from __future__ import annotations

import gzip
import json
import socket
from http.client import HTTPResponse

import httpx
import pytest
from data_plane import CHAT, HELLO, LOOPBACK, MESSAGES, DataPlane

Refused = tuple[int, str, str | None]
"""Status, code and the field that is wrong."""

NOT_USABLE: Refused = (400, "invalid_body", None)


def assert_refused(plane: DataPlane, answer: httpx.Response, expected: Refused) -> None:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == expected, error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert "x-router-target" not in answer.headers
    assert not plane.seen()


def field(name: str) -> Refused:
    return (400, "invalid_value", name)


def chat(**fields: object) -> bytes:
    return json.dumps(HELLO | fields).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", NOT_USABLE),
        (b" \r\n ", NOT_USABLE),
        (b"hello", NOT_USABLE),
        (b"[]", NOT_USABLE),
        (b"null", NOT_USABLE),
        (b'{"messages":', NOT_USABLE),
        (chat() + chat(), NOT_USABLE),
        (chat()[:-1] + b",}", NOT_USABLE),
        (b'{"user":"\xff",' + chat()[1:], NOT_USABLE),
        (b"[" * 100_000, NOT_USABLE),
        (b'{"x":' + b"[" * 100_000, NOT_USABLE),
        (b'{"model":"gpt-4o","model":"claude-opus-4",' + chat()[1:], NOT_USABLE),
        (b'{"model":"gpt-4o","mod\\u0065l":"claude-opus-4",' + chat()[1:], NOT_USABLE),
        (chat()[:-1] + b"," + chat()[1:], NOT_USABLE),
        (b"{}", field("messages")),
        (chat(messages=[]), field("messages")),
        (chat(messages="Hi"), field("messages")),
        (chat(messages=["Hi"]), field("messages")),
        (chat(messages=[{"content": "Hi"}]), field("messages")),
        (chat(model=7), field("model")),
        (chat(model=["gpt-4o"]), field("model")),
        (chat(model="gpt\n4o"), field("model")),
        (chat(model="g" * 300), field("model")),
        (chat(stream="yes"), field("stream")),
        (chat(max_tokens="many"), field("max_tokens")),
        (chat(tools={}), field("tools")),
        (chat(metadata=[]), field("metadata")),
        (chat(model="gpt-9"), (404, "model_not_found", "model")),
        (chat(model=""), (404, "model_not_found", "model")),
        (chat(modalities=["text", "audio"]), (422, "no_eligible_target", None)),
        (
            chat(messages=[{"role": "user", "content": "x" * 900_000}]),
            (422, "no_eligible_target", None),
        ),
        (chat(metadata={"task_type": "no such\ttask"}), (400, "invalid_task", None)),
    ],
    ids=lambda value: value[:60].decode("utf-8", "replace") if isinstance(value, bytes) else None,
)
def test_a_body_that_cant_be_routed_is_refused(
    plane: DataPlane, client: httpx.Client, body: bytes, expected: Refused
) -> None:
    assert_refused(plane, client.post(CHAT, content=body), expected)


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("POST", "/v1/moderations", {}, (404, "unknown_url", None)),
        ("GET", "/", {}, (404, "unknown_url", None)),
        ("POST", "/v1/chat/completions/", {}, (404, "unknown_url", None)),
        ("POST", "/v1/chat/completions/extra", {}, (404, "unknown_url", None)),
        ("POST", "/v1/chat/Completions", {}, (404, "unknown_url", None)),
        ("GET", "/v1/chat/completions", {}, (405, "method_not_supported", None)),
        ("PUT", "/v1/chat/completions", {}, (405, "method_not_supported", None)),
        ("DELETE", "/v1/models/gpt-4o", {}, (405, "method_not_supported", None)),
        ("POST", "/v1/models", {}, (405, "method_not_supported", None)),
        ("GET", "/v1/models/gpt-9", {}, (404, "model_not_found", "model")),
        ("POST", CHAT, {"content-encoding": "br"}, (415, "unsupported_encoding", None)),
        ("POST", CHAT, {"x-router-task": "no such task"}, (400, "invalid_task", None)),
    ],
)
def test_a_request_that_is_for_nobody_is_refused(
    plane: DataPlane,
    client: httpx.Client,
    *,
    method: str,
    path: str,
    headers: dict[str, str],
    expected: Refused,
) -> None:
    content = chat() if method in {"POST", "PUT"} else None
    answer = client.request(method, path, headers=headers, content=content)
    assert_refused(plane, answer, expected)


def test_a_compressed_body_is_refused(plane: DataPlane, client: httpx.Client) -> None:
    headers = {"content-encoding": "gzip"}
    answer = client.post(CHAT, content=gzip.compress(chat()), headers=headers)
    assert_refused(plane, answer, (415, "unsupported_encoding", None))


def test_the_message_names_what_is_there_instead(client: httpx.Client) -> None:
    unknown = client.post(CHAT, json={"model": "gpt-9", "messages": MESSAGES}).json()["error"]
    assert "gpt-9" in unknown["message"]
    assert "claude-sonnet-4" in unknown["message"]
    unable = client.post(CHAT, json=HELLO | {"modalities": ["audio"]}).json()["error"]
    assert "audio" in unable["message"]


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 70_000 + b"\r\n\r\n",
            431,
            "request_not_accepted",
        ),
        (
            b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            % CHAT.encode(),
            403,
            "request_not_accepted",
        ),
        (b"POST /v1/chat/completions HTTP/1.0\r\nhost: x\r\n\r\n", 426, "request_not_accepted"),
        (b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", 404, "unknown_url"),
    ],
    ids=["no host", "no colon", "too much header", "an upgrade", "HTTP/1.0", "CONNECT"],
)
def test_what_envoy_itself_does_not_take_is_refused_in_json_too(
    plane: DataPlane, head: bytes, status: int, code: str
) -> None:
    with socket.create_connection((LOOPBACK, plane.port), timeout=10) as connection:
        connection.sendall(head)
        answer = HTTPResponse(connection)
        answer.begin()
        error = json.loads(answer.read())["error"]
        answer.close()
    assert (answer.status, error["code"]) == (status, code)
    assert error["type"] == "invalid_request_error"
    assert not plane.seen()
