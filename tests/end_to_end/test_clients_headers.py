"""What a client says for the router, for Envoy or for its own accounts reaches no provider."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane

ROUTING = """
healthCheck: { enabled: false }
routes:
  - match: { default: true }
    model: claude-sonnet-4
    fallback: [gpt-4o, gemini-flash-2.0]
"""

SECRET = "said-by-the-client"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("headers")) as plane:
        yield plane


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-security-token",
        "openai-organization",
        "openai-project",
        "anthropic-version",
        "anthropic-dangerous-direct-browser-access",
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "x-account",
        "x-router-task",
        "x-router-app",
        "x-router-anything",
        "x-llm-target",
        "x-llm-provider",
        "x-llm-host",
        "x-llm-path",
        "x-llm-anything",
        "x-envoy-attempt-count",
        "x-envoy-original-path",
        "x-envoy-decorator-operation",
        "x-envoy-anything",
        "x-request-id",
    ],
)
def test_a_header_for_somebody_else_reaches_no_provider(
    plane: DataPlane, client: httpx.Client, name: str
) -> None:
    for provider in ("anthropic", "openai"):
        plane.fault(provider, status=503)
    answer = client.post(CHAT, json=HELLO, headers={name: SECRET})
    assert answer.status_code == 200
    assert answer.headers["x-router-attempts"] == "3"
    assert [seen.provider for seen in plane.seen()] == ["anthropic", "openai", "google"]
    for seen in plane.seen():
        assert SECRET not in repr(list(seen.headers.items()))
        assert seen.headers.getall("authorization") == [f"Bearer key-of-{seen.provider}"]
    assert SECRET not in repr(list(answer.headers.items()))


def test_a_provider_is_sent_json_and_asked_for_an_answer_that_can_be_read(
    plane: DataPlane, client: httpx.Client
) -> None:
    form = {"content-type": "application/x-www-form-urlencoded", "accept-encoding": "gzip, br"}
    client.post(CHAT, json=HELLO, headers=form)
    (seen,) = plane.seen()
    assert seen.headers.getall("content-type") == ["application/json"]
    assert seen.headers.getall("accept-encoding") == ["identity"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-envoy-max-retries", "0"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-retry-on", "gateway-error"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-expected-rq-timeout-ms", "1"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
        ("x-llm-provider", "google"),
        ("x-llm-target", "google/gemini-flash-2.0"),
        ("x-router-model", "gpt-4o"),
        ("x-router-no-fallback", "true"),
        ("x-router-avoid", "openai"),
    ],
)
def test_a_client_does_not_steer_the_retries(
    plane: DataPlane, client: httpx.Client, name: str, value: str
) -> None:
    plane.fault("anthropic", status=503, delay_s=0.05)
    plane.fault("openai", status=503, delay_s=0.05)
    plane.fault("google", status=503, delay_s=0.05)
    answer = client.post(CHAT, json=HELLO, headers={name: value})
    assert answer.status_code == 503
    assert answer.headers["x-router-attempts"] == "3"
    assert [seen.provider for seen in plane.seen()] == ["anthropic", "openai", "google"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-envoy-retry-on", "retriable-4xx,retriable-status-codes"),
        ("x-envoy-retriable-status-codes", "409"),
        ("x-envoy-retriable-header-names", "content-type"),
    ],
)
def test_a_client_does_not_choose_what_is_retried(
    plane: DataPlane, client: httpx.Client, name: str, value: str
) -> None:
    plane.fault("anthropic", status=409)
    answer = client.post(CHAT, json=HELLO, headers={name: value})
    assert answer.status_code == 409
    assert len(plane.seen()) == 1
