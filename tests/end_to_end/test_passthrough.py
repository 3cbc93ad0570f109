"""With an upstream for other paths than an LLM's, those go there and past the router."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane
from stand_ins import StandIns

# The upstream shows what it is sent at /own/v1/chat/completions: the rest of the client's path.
ROUTING = """
server: {{ passthrough: {} }}
routes: [{{ match: {{ default: true }}, model: claude-sonnet-4 }}]
"""


@pytest.fixture(scope="module")
def own() -> Iterator[StandIns]:
    with StandIns("127.0.0.7") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def running(own: StandIns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    routing = ROUTING.format(own.base_url("own") + "/chat")
    with DataPlane(routing, tmp_path_factory.mktemp("passthrough")) as plane:
        yield plane


def test_other_paths_go_to_the_upstream_as_they_are(
    plane: DataPlane, own: StandIns, client: httpx.Client
) -> None:
    own.clear()
    body = json.dumps({"model": "their-own"} | HELLO, indent=1).encode()
    headers = {
        "authorization": "Bearer key-of-the-client",
        "cookie": "a=b",
        "x-router-task": "summarization",
        "x-llm-target": "t",
        "x-envoy-max-retries": "7",
    }
    started = plane.stat("http.llm.ext_proc.streams_started")
    answer = client.post("/completions?a=b%20c", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == "their-own"
    assert not any(name.startswith("x-router-") for name in answer.headers)
    (seen,) = own.seen()
    assert (seen.host, seen.path) == (f"{own.host}:{own.port}", "/own/v1/chat/completions?a=b%20c")
    assert seen.body == body
    assert seen.headers["authorization"] == "Bearer key-of-the-client"
    assert seen.headers["cookie"] == "a=b"
    internal = ("x-router-", "x-llm-", "x-envoy-")
    assert not [name for name in seen.headers if name.lower().startswith(internal)]
    assert plane.stat("http.llm.ext_proc.streams_started") == started


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/v1/moderations"), ("DELETE", "/v1/files/f-1")]
)
def test_the_upstreams_own_errors_are_passed_on(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Invalid URL ({method} /own/v1/chat{path})"


def test_an_llms_path_is_still_routed(
    plane: DataPlane, own: StandIns, client: httpx.Client
) -> None:
    own.clear()
    answer = client.post(CHAT, json=HELLO)
    assert answer.headers["x-router-model"] == "claude-sonnet-4"
    assert len(plane.seen("anthropic")) == 1
    assert not own.seen()


def test_without_the_router_other_paths_still_work(plane: DataPlane, client: httpx.Client) -> None:
    plane.kill_router()
    assert client.post("/completions", json={"model": "m"} | HELLO).status_code == 200
    assert client.post(CHAT, json=HELLO).status_code == 503
