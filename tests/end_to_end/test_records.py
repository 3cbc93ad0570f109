"""The decision log as users read it: what each request came to, its cost, and no secrets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from data_plane import CHAT, LOOPBACK, DataPlane, eventually

CANARY = "canary-5b1e"
ROUTING = """
decisionLog: { path: DIRECTORY/decisions.jsonl }
models:
  priced:
    targets: [{ provider: openai }]
    contextWindow: 100000
    price: { inputPerMTok: 3, outputPerMTok: 15, cachedInputPerMTok: 0.3, reasoningPerMTok: 20 }
  spare:
    targets: [{ provider: google }]
    contextWindow: 100000
    price: { inputPerMTok: 1, outputPerMTok: 2 }
routes: [{ match: { default: true }, model: priced, fallback: spare }]
"""
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello, who are you?"}]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    directory = tmp_path_factory.mktemp("records")
    with DataPlane(ROUTING.replace("DIRECTORY", str(directory)), directory) as plane:
        yield plane


def log_of(plane: DataPlane) -> str:
    log: Path = plane.directory / "decisions.jsonl"
    return log.read_text("utf-8")


def record_of(plane: DataPlane, answer: httpx.Response) -> dict[str, Any]:
    """The line that was written for a request, once it is."""
    wanted = answer.headers["x-router-decision"]
    eventually(lambda: wanted in log_of(plane), "the record")
    lines = (json.loads(line) for line in log_of(plane).splitlines())
    return next(record for record in lines if record["id"] == wanted)


@pytest.mark.parametrize("more", [{}, STREAM], ids=["json", "sse"])
def test_the_cost_is_that_of_the_tokens_that_the_provider_reports(
    plane: DataPlane, client: httpx.Client, more: dict[str, Any]
) -> None:
    plane.fault("openai", cached_tokens=5, reasoning_tokens=40)
    outcome = record_of(plane, client.post(CHAT, json=ASK | more))["outcome"]
    assert outcome["usage"] == {
        "input_tokens": 12,  # for 48 bytes of messages, 5 of them cached
        "output_tokens": 50,  # 10 for 38 bytes of content, 40 that were thought
        "cache_read_tokens": 5,
        "reasoning_tokens": 40,
    }
    millionths = 21 + 1.5 + 150 + 800  # 7 at 3, 5 at 0.3, 10 at 15, 40 at 20
    assert outcome["cost_usd"] == millionths / 1_000_000
    assert outcome["target"] == "openai/priced"
    assert outcome["reported_model"] == "priced"
    assert "estimated" not in outcome


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 405),
        ("POST", {"content-encoding": "gzip"}, 415),
        ("POST", {}, 400),
    ],
)
def test_what_is_refused_by_its_head_alone_has_a_record_too(
    plane: DataPlane, client: httpx.Client, method: str, headers: dict[str, str], status: int
) -> None:
    content = json.dumps(ASK) if headers else None
    record = record_of(plane, client.request(method, CHAT, headers=headers, content=content))
    assert record["refusal"]["status"] == record["outcome"]["status"] == status
    assert (record["chain"], record["outcome"]["target"]) == ([], None)


def test_a_stream_that_reports_no_usage_costs_what_was_expected_and_says_so(
    plane: DataPlane, client: httpx.Client
) -> None:
    record = record_of(plane, client.post(CHAT, json=ASK | {"stream": True}))
    outcome, estimate = record["outcome"], record["estimate"]
    assert outcome["estimated"] is True
    assert outcome["usage"] == estimate
    by_hand = (estimate["input_tokens"] * 3 + estimate["output_tokens"] * 15) / 1_000_000
    assert outcome["cost_usd"] == pytest.approx(by_hand, abs=1e-9)


def test_a_fallback_is_priced_as_who_served(plane: DataPlane, client: httpx.Client) -> None:
    plane.fault("openai", status=503)
    outcome = record_of(plane, client.post(CHAT, json=ASK))["outcome"]
    usage = outcome["usage"]
    assert (outcome["target"], outcome["attempts"], outcome["status"]) == ("google/spare", 2, 200)
    by_hand = (usage["input_tokens"] * 1 + usage["output_tokens"] * 2) / 1_000_000
    assert outcome["cost_usd"] == pytest.approx(by_hand, abs=1e-9)


def test_an_answer_that_breaks_off_is_truncated_and_a_client_that_leaves_has_aborted(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", reset="mid_stream")
    with (
        contextlib.suppress(httpx.RemoteProtocolError),
        client.stream("POST", CHAT, json=ASK | STREAM) as broken,
    ):
        broken.read()
    assert record_of(plane, broken)["outcome"]["ending"] == "truncated"
    plane.fault("openai", chunk_delay_s=0.5)
    with client.stream("POST", CHAT, json=ASK | STREAM) as left:
        next(left.iter_bytes())
    assert record_of(plane, left)["outcome"]["ending"] == "aborted"


def test_a_refusal_is_a_record_too(plane: DataPlane, client: httpx.Client) -> None:
    record = record_of(plane, client.post(CHAT, json={"messages": 3}))
    assert record["refusal"]["status"] == 400
    outcome = record["outcome"]
    assert (outcome["target"], outcome["attempts"], outcome["status"]) == (None, 0, 400)


def test_what_no_target_can_serve_is_a_record_that_says_why(
    plane: DataPlane, client: httpx.Client
) -> None:
    tools = [{"type": "function", "function": {"name": "clock"}}]
    record = record_of(plane, client.post(CHAT, json=ASK | {"tools": tools}))
    assert (record["refusal"]["kind"], record["refusal"]["status"]) == ("no_eligible_target", 422)
    assert record["chain"] == []
    assert {one["target"]: one["reason"] for one in record["rejected"]} == {
        "openai/priced": "capability",
        "google/spare": "capability",
    }
    outcome = record["outcome"]
    assert (outcome["target"], outcome["attempts"], outcome["status"]) == (None, 0, 422)
    assert (outcome["usage"], outcome["cost_usd"]) == (None, 0)


def test_where_all_fail_the_record_names_the_last_and_costs_nothing(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", status=500)
    plane.fault("google", status=502)
    answer = client.post(CHAT, json=ASK)
    assert answer.json()["error"]["message"] == "The stand-in was told to answer 502."
    outcome = record_of(plane, answer)["outcome"]
    assert (outcome["target"], outcome["attempts"], outcome["status"]) == ("google/spare", 2, 502)
    assert (outcome["usage"], outcome["cost_usd"]) == (None, 0)


def test_two_requests_with_one_id_of_the_clients_are_two_records(
    plane: DataPlane, client: httpx.Client
) -> None:
    headers = {"x-request-id": "0b6a1c1e-1d2c-4c8e-9b1e-5f3e9d1a2b3c"}
    answers = [client.post(CHAT, json=ASK, headers=headers) for _ in range(2)]
    assert len({record_of(plane, answer)["id"] for answer in answers}) == 2


def test_no_secret_and_no_prompt_is_in_anything_that_is_told(
    plane: DataPlane, client: httpx.Client
) -> None:
    headers = dict.fromkeys(
        ("authorization", "x-api-key", "cookie", "x-router-avoid", "user-agent"), CANARY
    )
    body = {
        "messages": [
            {"role": "system", "content": f"You know {CANARY}."},
            {"role": "user", "content": f"Summarize this: {CANARY}"},
        ],
        "user": CANARY,
        "metadata": {"ticket": CANARY},
        "stop": [CANARY],
        "tools": [{"type": "function", "function": {"name": CANARY, "description": CANARY}}],
    }
    path = f"{CHAT}?key={CANARY}"
    answers = [client.post(path, json=body, headers=headers)]  # refused: tools are not known
    del body["tools"]
    answers.append(client.post(path, json=body, headers=headers))
    answers.append(client.post(path, json=body | {"messages": CANARY}, headers=headers))
    plane.fault("openai", status=500)
    answers.append(client.post(path, json=body, headers=headers))
    plane.fault("openai", reset="mid_stream")
    with (
        contextlib.suppress(httpx.RemoteProtocolError),
        client.stream("POST", path, json=body | STREAM, headers=headers) as broken,
    ):
        broken.read()
    for answer in (*answers, broken):
        record_of(plane, answer)
        told = {name: text for name, text in answer.headers.items() if name.startswith("x-router")}
        assert CANARY not in str(told)
    pages = {page: plane.page(page) for page in ("/decisions", "/state", "/config", "/metrics")}
    pages["/explain"] = plane.page(
        "/explain", json.dumps({"path": path, "headers": headers, "body": body})
    )
    everything = {**pages, **dict(plane.logs()), "decision log": log_of(plane)}
    found = {
        where
        for where, text in everything.items()
        for secret in (CANARY, "key-of-", "account-of-")
        if secret in text
    }
    assert found == set()
    assert LOOPBACK not in pages["/metrics"]
