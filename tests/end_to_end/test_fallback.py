"""A provider that fails is survived: the next one answers, with nothing of the first one's."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, MESSAGES, DataPlane

STREAMS_STARTED = "http.llm.ext_proc.streams_started"

ROUTING = """
healthCheck: { enabled: false }
firstByteTimeout: 0.5s
models:
  unreachable: { targets: [{ provider: refusing }], contextWindow: 100000 }
  own-header: { targets: [{ provider: azure }], contextWindow: 100000 }
  sonnet-elsewhere:
    targets: [{ provider: google, upstreamModel: claude-sonnet-4-20250514 }]
    contextWindow: 100000
routes:
  - match: { taskType: there-and-back }
    model: claude-sonnet-4
    fallback: [gpt-4o, sonnet-elsewhere]
  - match: { taskType: own-header-first }
    model: own-header
    fallback: gpt-4o-mini
  - match: { taskType: own-header-second }
    model: claude-sonnet-4
    fallback: own-header
  - match: { taskType: unreachable-first }
    model: unreachable
    fallback: gpt-4o-mini
  - match: { taskType: unreachable-only }
    model: unreachable
  - match: { taskType: three }
    model: claude-sonnet-4
    fallback: [gpt-4o, gemini-flash-2.0]
  - match: { default: true }
    model: claude-sonnet-4
    fallback: gpt-4o-mini
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("fallback"), feedback=False) as plane:
        yield plane


def assert_fallback_served(plane: DataPlane, answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-router-attempts"] == "2"
    assert answer.headers["x-router-target"] == "openai/gpt-4o-mini"
    assert answer.headers["x-router-model"] == "gpt-4o-mini"
    (seen,) = plane.seen("openai")
    assert seen.host == plane.host_of("openai")
    assert seen.path == "/openai" + CHAT
    assert seen.headers.getall("authorization") == ["Bearer key-of-openai"]
    assert seen.headers.getall("x-account") == ["account-of-openai"]
    assert seen.headers.getall("content-length") == [str(len(seen.body))]
    assert json.loads(seen.body) == HELLO | {"model": "gpt-4o-mini"}
    everything = repr((seen.path, list(seen.headers.items()), seen.body))
    assert "anthropic" not in everything
    assert "claude" not in everything


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 429, "retry_after_s": 60},
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 504},
        {"status": 529},
        {"reset": "before_headers"},
        {"hang": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_provider_that_fails_is_followed_by_the_fallback_in_one_stream_to_the_router(
    plane: DataPlane, client: httpx.Client, fault: dict[str, str | float | bool], *, stream: bool
) -> None:
    plane.fault("anthropic", **fault)
    started = plane.stat(STREAMS_STARTED)
    if stream:
        answer = client.post(CHAT, json=HELLO | {"stream": True})
        assert answer.text.endswith("data: [DONE]\n\n")
        (seen,) = plane.seen("openai")
        assert json.loads(seen.body)["stream"] is True
    else:
        answer = client.post(CHAT, json=HELLO)
        assert_fallback_served(plane, answer)
    assert answer.headers["x-router-attempts"] == "2"
    assert len(plane.seen("anthropic")) == 1
    assert plane.stat(STREAMS_STARTED) - started == 1


def test_a_provider_that_refuses_connections_is_followed_by_the_fallback(
    plane: DataPlane, client: httpx.Client
) -> None:
    started = plane.stat(STREAMS_STARTED)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "unreachable-first"})
    assert_fallback_served(plane, answer)
    assert plane.stat(STREAMS_STARTED) - started == 1


def test_each_target_of_a_chain_gets_its_own_request(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", reset="before_headers")
    plane.fault("openai", status=500)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "three"})
    assert answer.status_code == 200
    assert answer.headers["x-router-target"] == "google/gemini-flash-2.0"
    assert answer.headers["x-router-attempts"] == "3"
    models = {
        "anthropic": "claude-sonnet-4-20250514",
        "openai": "gpt-4o",
        "google": "gemini-2.0-flash",
    }
    for provider, model in models.items():
        (seen,) = plane.seen(provider)
        assert seen.host == plane.host_of(provider)
        assert seen.path == f"/{provider}{CHAT}"
        assert seen.headers["authorization"] == f"Bearer key-of-{provider}"
        assert seen.headers["x-account"] == f"account-of-{provider}"
        assert json.loads(seen.body) == HELLO | {"model": model}


def test_a_chain_may_come_back_to_the_first_models_name(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", status=500)
    plane.fault("openai", status=500)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "there-and-back"})
    assert answer.headers["x-router-target"] == "google/sonnet-elsewhere"
    first, second, third = plane.seen()
    assert third.body == first.body != second.body
    assert third.headers["content-length"] == first.headers["content-length"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422])
def test_a_mistake_of_the_clients_own_is_told_as_it_is_and_not_tried_elsewhere(
    plane: DataPlane, client: httpx.Client, status: int
) -> None:
    plane.fault("anthropic", status=status)
    answer = client.post(CHAT, json=HELLO)
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == f"The stand-in was told to answer {status}."
    assert answer.headers["x-router-attempts"] == "1"
    assert answer.headers["x-router-target"] == "anthropic/claude-sonnet-4"
    assert not plane.seen("openai")


def test_when_all_fail_the_client_gets_the_last_ones_answer(
    plane: DataPlane, client: httpx.Client
) -> None:
    for provider, status in {"anthropic": 500, "openai": 429, "google": 529}.items():
        plane.fault(provider, status=status, retry_after_s=3)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "three"})
    assert answer.status_code == 529
    assert answer.json()["error"]["message"] == "The stand-in was told to answer 529."
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["x-router-attempts"] == "3"
    assert [seen.provider for seen in plane.seen()] == ["anthropic", "openai", "google"]


@pytest.mark.parametrize(
    ("task", "fault", "status", "code"),
    [
        ("unreachable-only", {}, 503, "upstream_unavailable"),
        ("three", {"reset": "before_headers"}, 503, "upstream_unavailable"),
        ("three", {"hang": True}, 504, "upstream_timeout"),
    ],
)
def test_when_none_answers_at_all_the_client_gets_json_that_says_so(
    plane: DataPlane,
    client: httpx.Client,
    *,
    task: str,
    fault: dict[str, str | bool],
    status: int,
    code: str,
) -> None:
    for provider in plane.providers:
        plane.fault(provider, **fault)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": task})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", code)
    assert error["message"]


def test_an_answer_that_breaks_off_midway_is_not_tried_again(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", reset="mid_stream")
    lines: list[str] = []

    def read() -> None:
        with client.stream("POST", CHAT, json=HELLO | {"stream": True}) as answer:
            assert answer.status_code == 200
            lines.extend(line for line in answer.iter_lines() if line)

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert "data: [DONE]" not in lines
    assert [seen.provider for seen in plane.seen()] == ["anthropic"]


def test_a_slow_provider_is_waited_for_while_its_time_lasts(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", delay_s=0.1)
    answer = client.post(CHAT, json=HELLO)
    assert answer.headers["x-router-target"] == "anthropic/claude-sonnet-4"
    assert answer.headers["x-router-attempts"] == "1"


def test_a_requested_model_falls_back_as_its_route_says(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", status=503)
    body = {"model": "claude-sonnet-4", "messages": MESSAGES}
    assert_fallback_served(plane, client.post(CHAT, json=body))


def test_a_key_in_a_header_of_its_own_does_not_stay_for_the_next_provider(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("azure", status=503)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "own-header-first"})
    assert_fallback_served(plane, answer)
    (azure,) = plane.seen("azure")
    assert azure.headers.getall("api-key") == ["key-of-azure"]
    assert "authorization" not in azure.headers
    (openai,) = plane.seen("openai")
    assert "api-key" not in openai.headers


def test_a_bearer_key_does_not_stay_for_a_provider_with_a_header_of_its_own(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", status=503)
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "own-header-second"})
    assert answer.headers["x-router-target"] == "azure/own-header"
    (azure,) = plane.seen("azure")
    assert azure.headers.getall("api-key") == ["key-of-azure"]
    assert "authorization" not in azure.headers
