"""Streams reach the client as the provider sends them, and none of it passes the router."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from data_plane import CHAT, HELLO, MESSAGES, DataPlane, eventually

STREAM = HELLO | {"stream": True}
CHUNK_DELAY_S = 0.05
ROUTER_STATS = ("streams_started", "stream_msgs_sent", "stream_msgs_received")
ROUTER_STREAMS = "cluster.extproc.upstream_rq_active"


def router_stats(plane: DataPlane) -> list[int]:
    return [plane.stat(f"http.llm.ext_proc.{name}") for name in ROUTER_STATS]


def events(answer: httpx.Response) -> Iterator[str]:
    return (line for line in answer.iter_lines() if line.startswith("data: "))


def words_of_length(count: int) -> list[object]:
    """Messages that the stand-in answers in about so many chunks: it repeats what a tool said."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    told = {"role": "tool", "tool_call_id": "c", "content": "a " * count}
    return [*MESSAGES, {"role": "assistant", "tool_calls": [call]}, told]


def test_a_stream_is_the_providers_bytes_and_ends_with_its_usage(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=STREAM | {"stream_options": {"include_usage": True}})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-router-model"] == "claude-sonnet-4"
    *chunks, usage, done = (line for line in answer.text.split("\n\n") if line)
    said = [json.loads(chunk.removeprefix("data: "))["choices"][0]["delta"] for chunk in chunks]
    text = "".join(delta.get("content", "") for delta in said)
    assert text == "This is claude-sonnet-4-20250514 at anthropic, standing in."
    assert json.loads(usage.removeprefix("data: "))["usage"]["total_tokens"] > 0
    assert done == "data: [DONE]"


@pytest.mark.parametrize("chunks", [1, 4])
def test_a_chunk_arrives_though_the_next_one_never_comes(
    plane: DataPlane, client: httpx.Client, chunks: int
) -> None:
    plane.fault("anthropic", stall_after_chunks=chunks)
    arrived: list[str] = []
    quiet = httpx.Timeout(10, read=1)

    def read() -> None:
        with client.stream("POST", CHAT, json=STREAM, timeout=quiet) as answer:
            arrived.extend(events(answer))

    with pytest.raises(httpx.ReadTimeout):
        read()
    assert len(arrived) == chunks
    # The client left, so nothing is kept open for it.
    pattern = r"^cluster\.anthropic/claude-sonnet-4\.upstream_rq_active$"
    eventually(lambda: set(plane.stats(pattern).values()) == {0}, "the request upstream to end")


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_chunks_arrive_at_the_pace_of_the_provider(plane: DataPlane, *, http2: bool) -> None:
    plane.fault("anthropic", chunk_delay_s=CHUNK_DELAY_S)
    with plane.client(http2=http2) as client, client.stream("POST", CHAT, json=STREAM) as answer:
        arrivals_s = [time.monotonic() for _ in events(answer)]
    sent_over_s = CHUNK_DELAY_S * (len(arrivals_s) - 1)
    assert len(arrivals_s) > 5
    assert arrivals_s[-1] - arrivals_s[0] > sent_over_s / 2


@pytest.mark.parametrize("words", [1, 200])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_the_router_gets_two_messages_however_long_the_answer(
    plane: DataPlane, client: httpx.Client, words: int, *, stream: bool
) -> None:
    before = router_stats(plane)
    body = {"messages": words_of_length(words), "stream": stream}
    with client.stream("POST", CHAT, json=body) as answer:
        chunks = sum(1 for _ in events(answer))
    assert answer.status_code == 200
    assert chunks > words if stream else chunks == 0
    grown = [after - was for after, was in zip(router_stats(plane), before, strict=True)]
    assert dict(zip(ROUTER_STATS, grown, strict=True)) == {
        "streams_started": 1,
        "stream_msgs_sent": 2,
        "stream_msgs_received": 2,
    }


def test_an_answer_goes_on_when_the_router_is_gone(plane: DataPlane, client: httpx.Client) -> None:
    plane.fault("anthropic", chunk_delay_s=4 * CHUNK_DELAY_S)
    with client.stream("POST", CHAT, json=STREAM) as answer:
        arriving = events(answer)
        next(arriving)
        # Its reply and the end of its stream are two writes: a chunk can come between them.
        eventually(lambda: plane.stat(ROUTER_STREAMS) == 0, "the router's stream to end")
        plane.kill_router()
        arrived = list(arriving)
    plane.start_router()
    eventually(plane.router_is_ready, "the router")
    assert arrived[-1] == "data: [DONE]"
