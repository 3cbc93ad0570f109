"""A target that keeps failing is left out on the first attempt, until it is well again."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

pytestmark = pytest.mark.alone

# Ejection is by target, so tests with different models do not disturb each other.
ROUTING = """
firstByteTimeout: 0.5s
models:
  unreachable: { targets: [{ provider: refusing }], contextWindow: 100000 }
  slow: { targets: [{ provider: openai }], contextWindow: 100000 }
  only: { targets: [{ provider: azure }], contextWindow: 100000 }
routes:
  - { match: { taskType: haiku }, model: claude-haiku-3, fallback: gemini-flash-2.0 }
  - { match: { taskType: gpt-4o-mini }, model: gpt-4o-mini, fallback: gemini-flash-2.0 }
  - { match: { taskType: unreachable }, model: unreachable, fallback: gemini-flash-2.0 }
  - { match: { taskType: gpt-4o }, model: gpt-4o, fallback: gemini-flash-2.0 }
  - { match: { taskType: only }, model: only }
  - { match: { taskType: three }, model: claude-opus-4, fallback: [slow, gemini-flash-2.0] }
  - { match: { default: true }, model: claude-sonnet-4, fallback: gemini-flash-2.0 }
"""

FAILURES = 5
FALLBACK = ("google/gemini-flash-2.0", "1")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("ejection"), feedback=False) as plane:
        yield plane


def ask(client: httpx.Client, task: str = "anything") -> tuple[str, str]:
    """Who served, at which attempt."""
    answer = client.post(CHAT, json=HELLO, headers={"x-router-task": task})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-router-target"], answer.headers["x-router-attempts"]


def assert_left_out(client: httpx.Client, task: str, attempts: str = "2") -> None:
    """Five requests need a retry; then, when all of Envoy's threads know, none does."""
    assert [ask(client, task)[1] for _ in range(FAILURES)] == [attempts] * FAILURES
    eventually(lambda: ask(client, task) == FALLBACK, "the ejection", wait_s=5)
    assert [ask(client, task) for _ in range(FAILURES)] == [FALLBACK] * FAILURES


def test_after_five_failures_in_a_row_the_fallback_is_first_until_the_target_is_well(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", model="claude-sonnet-4-20250514", status=503)
    assert_left_out(client, "anything")
    plane.reset()
    eventually(lambda: ask(client) == ("anthropic/claude-sonnet-4", "1"), "the return", wait_s=30)


@pytest.mark.parametrize(
    ("task", "provider", "fault"),
    [
        ("haiku", "anthropic", {"status": 429}),
        ("gpt-4o-mini", "openai", {"reset": "before_headers"}),
        ("unreachable", None, {}),
    ],
)
def test_whatever_kind_of_failure_counts(
    plane: DataPlane,
    client: httpx.Client,
    task: str,
    provider: str | None,
    fault: dict[str, str | float],
) -> None:
    if provider:
        plane.fault(provider, **fault)
    assert_left_out(client, task)


def test_a_third_target_is_first_when_the_first_two_are_left_out(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", model="claude-opus-4-20250514", status=500)
    plane.fault("openai", model="slow", hang=True)
    assert_left_out(client, "three", attempts="3")


def test_a_route_without_a_target_left_answers_so_at_once(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("azure", status=503)

    def refusal() -> str | None:
        answer = client.post(CHAT, json=HELLO, headers={"x-router-task": "only"})
        assert answer.status_code == 503
        code: str | None = answer.json()["error"]["code"]
        return code

    assert [refusal() for _ in range(FAILURES)] == [None] * FAILURES  # the provider's own words
    eventually(lambda: refusal() == "upstream_unavailable", "the ejection", wait_s=5)
    assert len(plane.seen("azure")) < 2 * FAILURES


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_clients_own_mistakes_do_not_count(
    plane: DataPlane, client: httpx.Client, status: int
) -> None:
    plane.fault("openai", status=status, times=2 * FAILURES)
    body, headers = HELLO, {"x-router-task": "gpt-4o"}
    for _ in range(2 * FAILURES):
        assert client.post(CHAT, json=body, headers=headers).status_code == status
    assert ask(client, "gpt-4o") == ("openai/gpt-4o", "1")


def test_a_success_in_between_starts_the_count_again(
    plane: DataPlane, client: httpx.Client
) -> None:
    for _ in range(2):
        plane.fault("openai", status=503, times=FAILURES - 1)
        assert {ask(client, "gpt-4o") for _ in range(FAILURES - 1)} == {(FALLBACK[0], "2")}
        assert ask(client, "gpt-4o") == ("openai/gpt-4o", "1")
