"""With more targets than guards can cover in full, a request still gets past those left out.

Sixteen targets in one order make more than five hundred windows of three, so guards hold two
(docs/adr/0002-guards.md): with both of them left out, the attempt fails at once and is retried.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane, eventually

PLACES = ["anthropic", "openai", *["google"] * 14]
MODELS = [f"m{number}" for number in range(len(PLACES))]
ROUTING = "\n".join(
    [
        "models:",
        *(
            f"  {model}: {{ targets: [{{ provider: {place} }}], contextWindow: 100000 }}"
            for model, place in zip(MODELS, PLACES, strict=True)
        ),
        "routes:",
        "  - match: { default: true }",
        f"    model: {MODELS[0]}",
        f"    fallback: [{', '.join(MODELS[1:])}]",
    ]
)
FAILURES = 5


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("many"), feedback=False) as plane:
        yield plane


def test_a_guard_with_nobody_left_gives_way_to_the_next(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("anthropic", status=503)
    plane.fault("openai", status=503)

    def attempts() -> str:
        answer = client.post(CHAT, json=HELLO)
        assert answer.headers["x-router-target"] == "google/m2", answer.text
        return answer.headers["x-router-attempts"]

    assert [attempts() for _ in range(FAILURES)] == ["3"] * FAILURES
    eventually(lambda: attempts() == "2", "the ejection", wait_s=5)
    before = len(plane.seen("anthropic", "openai"))
    assert [attempts() for _ in range(FAILURES)] == ["2"] * FAILURES
    assert len(plane.seen("anthropic", "openai")) == before
