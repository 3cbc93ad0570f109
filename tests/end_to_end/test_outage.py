"""Many requests at once while a provider is down: every one reaches the fallback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from data_plane import CHAT, HELLO, DataPlane

pytestmark = pytest.mark.alone

ROUTING = """
healthCheck: { enabled: false }
models:
  unreachable: { targets: [{ provider: refusing }], contextWindow: 100000 }
routes:
  - match: { taskType: unreachable }
    model: unreachable
    fallback: gpt-4o
  - match: { default: true }
    model: claude-sonnet-4
    fallback: gpt-4o
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("outage"), feedback=False) as plane:
        yield plane


@pytest.mark.parametrize("count", [12, 200])
@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ("anything", {"status": 503}),
        ("anything", {"status": 429}),
        ("anything", {"reset": "before_headers"}),
        ("unreachable", {}),
    ],
    ids=str,
)
def test_requests_during_an_outage_all_reach_the_fallback(
    plane: DataPlane, task: str, fault: dict[str, str | float], count: int
) -> None:
    plane.fault("anthropic", **fault)
    started = plane.stat("http.llm.ext_proc.streams_started")
    served = asyncio.run(ask_at_once(plane, count, task))
    assert served == Counter({(200, "openai/gpt-4o", "2"): count})
    assert len(plane.seen("openai")) == count
    assert plane.stat("http.llm.ext_proc.streams_started") - started == count


async def ask_at_once(
    plane: DataPlane, count: int, task: str
) -> Counter[tuple[int, str | None, str | None]]:
    """Status, target and attempts of so many requests, each on a connection of its own."""
    async with plane.async_client() as client, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(client.post(CHAT, json=HELLO, headers={"x-router-task": task}))
            for _ in range(count)
        ]
        answers = [await task for task in tasks]
    return Counter(
        (
            answer.status_code,
            answer.headers.get("x-router-target"),
            answer.headers.get("x-router-attempts"),
        )
        for answer in answers
    )
