"""Anthropic's answers: read as they come from a provider, written as its SDK wants them."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from anthropic import Anthropic, APIStatusError
from anthropic._streaming import SSEDecoder
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from cuts import check_every_cut, fed
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from extproc.dialects import anthropic
from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Ended,
    Envelope,
    Event,
    Failed,
    Finished,
    FinishReason,
    RedactedThinking,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    UsageTold,
    broken_off,
    malformed,
    usage_of,
)
from extproc.dialects.anthropic.answer_writing import HELD_CHARS_MAX
from extproc.vocabulary import Refusal, ReportedModel

ENVELOPE = Envelope("01ABC", 5)
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
STARTED = Started(ReportedModel("claude-x"))
STOPPED = Finished(FinishReason.STOP)


def sse(*events: dict[str, Any]) -> bytes:
    return "".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events
    ).encode()


def start(**usage: object) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    return {"type": "message_start", "message": message | {"content": [], "usage": usage}}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def stop(reason: str, sequence: str | None = None, **usage: object) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def text(*pieces: str) -> list[dict[str, Any]]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(0, {"type": "text", "text": ""}, *deltas)


def called(index: int, name: str, *pieces: str) -> list[dict[str, Any]]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    content = {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": {}}
    return block(index, content, *deltas)


PING = {"type": "ping"}

STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "text": (
        sse(
            start(input_tokens=10, output_tokens=1),
            PING,
            *text("Hel", "ło 🐢"),
            *stop("end_turn", output_tokens=5),
        ),
        [
            STARTED,
            UsageTold(10, 1),
            TextDelta("Hel"),
            TextDelta("ło 🐢"),
            UsageTold(10, 5),
            STOPPED,
            Ended(),
        ],
    ),
    "calls": (
        sse(
            start(input_tokens=3, cache_read_input_tokens=4, cache_creation_input_tokens=5),
            *text("a"),
            *called(1, "a", "", '{"x":', "1}"),
            *called(2, "b"),
            *stop("tool_use", output_tokens=9),
        ),
        [
            STARTED,
            UsageTold(12, None, 4, 5),
            TextDelta("a"),
            CallStarted(0, "toolu_a", "a"),
            CallDelta(0, '{"x":'),
            CallDelta(0, "1}"),
            CallStarted(1, "toolu_b", "b"),
            CallDelta(1, "{}"),
            UsageTold(12, 9, 4, 5),
            Finished(FinishReason.TOOL_CALLS),
            Ended(),
        ],
    ),
    "thinking": (
        sse(
            start(),
            *block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "signature_delta", "signature": "si"},
                {"type": "signature_delta", "signature": "gn"},
            ),
            *block(1, {"type": "redacted_thinking", "data": "x"}),
            *block(
                2,
                {"type": "thinking", "thinking": ""},
                {"type": "signature_delta", "signature": "s"},
            ),
            *stop(
                "stop_sequence",
                "END",
                input_tokens=7,
                output_tokens=9,
                output_tokens_details={"thinking_tokens": 6},
            ),
        ),
        [
            STARTED,
            UsageTold(),
            ThinkingDelta("hm"),
            ThinkingEnded("sign"),
            RedactedThinking("x"),
            ThinkingEnded("s"),
            UsageTold(7, 9, None, None, 6),
            Finished(FinishReason.STOP, "END"),
            Ended(),
        ],
    ),
    "what is not known": (
        sse(
            start(),
            {"type": "not_known_yet", "index": {"a": 1}},
            *block(
                0,
                {"type": "server_tool_use", "id": 5, "name": ["x"]},
                {"type": "input_json_delta", "partial_json": "{"},
            ),
            *block(
                1,
                {"type": "text", "text": "a"},
                {"type": "citations_delta", "citation": {}},
                {"type": "text_delta", "text": "b"},
            ),
            *stop("not_known_yet"),
        ),
        [STARTED, UsageTold(), TextDelta("a"), TextDelta("b"), UsageTold(), STOPPED, Ended()],
    ),
    "an error midway": (
        sse(
            start(),
            *text("a")[:-1],
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        ),
        [
            STARTED,
            UsageTold(),
            TextDelta("a"),
            Failed(Refusal("overloaded", 529, "server_is_overloaded", "Overloaded")),
        ],
    ),
}


def read_stream(*chunks: bytes) -> list[Event]:
    return fed(anthropic.StreamReader("01ABC"), *chunks)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_the_same_wherever_it_is_cut(name: str) -> None:
    check_every_cut(read_stream, *STREAMS[name])


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_ends_early_has_broken_off(name: str) -> None:
    stream, events = STREAMS[name]
    for cut in range(0, len(stream) - 1, 7):
        found = read_stream(stream[:cut])
        assert found[-1] == broken_off()
        assert found[:-1] == events[: len(found) - 1]


def test_after_its_end_a_reader_tells_no_more() -> None:
    reader = anthropic.StreamReader("01ABC")
    stream, events = STREAMS["text"]
    assert reader.feed(stream + stream) == events
    assert reader.feed(stream) == []
    assert reader.end() == []


@pytest.mark.parametrize(
    "events",
    [
        [*text("a")],
        [start(), start()],
        [start(), *text("a")[1:]],
        [start(), {"type": "content_block_stop", "index": 0}],
        [start(), *text("a")[:1], *called(1, "a", "{}")[1:]],
        [start(), *block(0, {"type": "text"}, {"type": "thinking_delta", "thinking": "a"})],
        [start(), *block(0, {"type": "tool_use", "id": "1"})],
        [start(), *block(0, {"type": "text", "text": 5})],
        [start(), {"type": "content_block_start", "index": 0}],
        [start(input_tokens="5")],
        [start(), {"type": "message_delta", "delta": {"stop_reason": 5}}],
    ],
)
def test_a_stream_out_of_order_or_of_wrong_types_is_malformed(events: list[dict[str, Any]]) -> None:
    assert read_stream(sse(*events))[-1] == malformed()


@pytest.mark.parametrize(
    "stream",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: " + b"[" * 9000 + b"\n\n",
        b'data: {"type":"message_start","message":{"model":"\xff"}}\n\n',
        b"data: " + b"a" * (4 * 1024 * 1024 + 1),
    ],
)
def test_a_stream_that_is_no_json_is_malformed(stream: bytes) -> None:
    assert read_stream(stream) == [malformed()]


def test_calls_that_come_whole_and_without_id_are_read() -> None:
    content = {"type": "tool_use", "name": "n", "input": {"a": 1}}
    assert read_stream(sse(start(), *block(0, content), *stop("tool_use")))[2:4] == [
        CallStarted(0, "toolu_01ABC_0", "n"),
        CallDelta(0, '{"a": 1}'),
    ]


@pytest.mark.parametrize(
    ("stop_reason", "finished"),
    [
        ("end_turn", Finished(FinishReason.STOP)),
        ("pause_turn", Finished(FinishReason.STOP)),
        ("stop_sequence", Finished(FinishReason.STOP, "END")),
        ("max_tokens", Finished(FinishReason.LENGTH)),
        ("model_context_window_exceeded", Finished(FinishReason.LENGTH)),
        ("tool_use", Finished(FinishReason.TOOL_CALLS)),
        ("refusal", Finished(FinishReason.CONTENT_FILTER)),
        ("not_known_yet", Finished(FinishReason.STOP)),
    ],
)
def test_a_stop_reason_is_read_alike_in_both_forms(stop_reason: str, finished: Finished) -> None:
    assert finished in read_stream(sse(start(), *stop(stop_reason, "END")))
    whole = whole_answer(stop_reason=stop_reason, stop_sequence="END")
    assert finished in anthropic.read_answer(whole, "01ABC")


def whole_answer(*content: object, **fields: object) -> bytes:
    message = {"id": "1", "type": "message", "role": "assistant", "model": "claude-x"}
    return json.dumps(message | {"content": content} | fields).encode()


def test_a_whole_answer_is_read_as_the_events_of_a_stream() -> None:
    body = whole_answer(
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": 5},
        {"type": "text", "text": "a", "citations": None},
        {"type": "tool_use", "id": "1", "name": "n", "input": {"a": 10**30}},
        {"type": "tool_use", "name": "n"},
        stop_reason="tool_use",
        usage={"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 2},
    )
    assert anthropic.read_answer(body, "01ABC") == [
        STARTED,
        ThinkingDelta("hm"),
        ThinkingEnded("s"),
        RedactedThinking("x"),
        TextDelta("a"),
        CallStarted(0, "1", "n"),
        CallDelta(0, '{"a": 1000000000000000000000000000000}'),
        CallStarted(1, "toolu_01ABC_1", "n"),
        CallDelta(1, "{}"),
        Finished(FinishReason.TOOL_CALLS),
        UsageTold(5, 4, 2),
        Ended(),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b"\xff",
        b"[" * 9000,
        whole_answer(5),
        whole_answer({"type": "text", "text": 5}),
        whole_answer({"type": "tool_use", "id": "1"}),
        whole_answer(usage=[]),
    ],
)
def test_a_whole_answer_that_is_none_is_malformed(body: bytes) -> None:
    assert anthropic.read_answer(body, "01ABC") == [malformed()]


def test_an_error_in_place_of_an_answer_is_told() -> None:
    body = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}})
    refusal = Refusal("rate_limited", 429, "rate_limit_exceeded", "m")
    assert anthropic.read_answer(body.encode(), "01ABC") == [Failed(refusal)]


@pytest.mark.parametrize(
    ("status", "type_", "kind"),
    [
        (400, "invalid_request_error", "invalid_request"),
        (401, "authentication_error", "authentication"),
        (402, "billing_error", "permission"),
        (403, "permission_error", "permission"),
        (404, "not_found_error", "not_found"),
        (413, "request_too_large", "too_large"),
        (422, "invalid_request_error", "invalid_request"),
        (429, "rate_limit_error", "rate_limited"),
        (500, "api_error", "upstream_failed"),
        (504, "timeout_error", "upstream_failed"),
        (529, "overloaded_error", "overloaded"),
    ],
)
def test_an_error_keeps_its_status_and_its_words(status: int, type_: str, kind: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": type_, "message": "Why."}}).encode()
    found = anthropic.read_error(status, body)
    assert (found.kind, found.status, found.message) == (kind, status, "Why.")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff", b"[" * 9000, b"5", b'{"error":"x"}', b'{"error":{"type":"a b"}}'],
)
def test_an_error_of_any_bytes_is_an_upstream_error(body: bytes) -> None:
    refusal = anthropic.read_error(503, body)
    assert (refusal.kind, refusal.status) == ("overloaded", 503)
    assert refusal.message == "The provider answered with status 503."


def test_a_long_error_is_cut() -> None:
    body = json.dumps({"error": {"type": "a" * 65, "message": "m" * 5000}}).encode()
    refusal = anthropic.read_error(500, body)
    assert refusal.message == "m" * 2000


# Writing.


def events_in(written: bytes) -> list[dict[str, Any]]:
    """What the SDK's own decoder finds, each right by the SDK's types."""
    found = list(SSEDecoder().iter_bytes(iter([written])))
    events: list[dict[str, Any]] = [event.json() for event in found]
    assert [event.event for event in found] == [event["type"] for event in events]
    for event in events:
        if event["type"] == "error":
            ErrorResponse.model_validate(event)
        else:
            STREAM_EVENT.validate_python(event)
    return events


def streamed(events: Sequence[Event], *, at_once: bool = True) -> bytes:
    writer = anthropic.StreamWriter(ENVELOPE)
    batches: Iterable[Sequence[Event]] = [events] if at_once else [[event] for event in events]
    return b"".join([writer.write(batch) for batch in batches])


def merged(events: Iterable[Event]) -> list[Event]:
    """The same answer in as few events as it can be told in; of usage the last word at the end."""
    found: list[Event] = []
    arguments: dict[int, str] = {}
    every = list(events)
    for event in every:
        last = found[-1] if found else None
        match event, last:
            case UsageTold(), _:
                pass
            case ((TextDelta(more) | RefusalDelta(more)), TextDelta(so_far)):
                found[-1] = TextDelta(so_far + more)
            case RefusalDelta(more), _:
                found.append(TextDelta(more))
            case ThinkingDelta(more), ThinkingDelta(so_far):
                found[-1] = ThinkingDelta(so_far + more)
            case CallDelta(index, more), _:
                arguments[index] = arguments.get(index, "") + more
            case _:
                found.append(event)
    whole: list[Event] = []
    for event in found:
        whole.append(event)
        if isinstance(event, CallStarted):
            whole.append(CallDelta(event.index, arguments.get(event.index) or "{}"))
    usage = usage_of(every)
    return [*whole, usage or UsageTold(0, 0, 0, 0)]


ANSWER: list[Event] = [
    STARTED,
    ThinkingDelta("hm"),
    ThinkingEnded("s"),
    ThinkingDelta("no"),
    ThinkingEnded(),
    RedactedThinking("x"),
    TextDelta("a"),
    RefusalDelta("b"),
    CallStarted(0, "1", "n"),
    CallDelta(0, '{"a":'),
    CallDelta(0, "1}"),
    CallStarted(1, "2", "m"),
    Finished(FinishReason.TOOL_CALLS),
    UsageTold(12, 9, 4, 5, 6),
    Ended(),
]
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 4,
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 6},
}


def test_a_whole_answer_is_a_message_as_the_sdk_reads_it() -> None:
    written = json.loads(anthropic.write_answer(ANSWER, ENVELOPE))
    Message.model_validate(written)
    assert written == {
        "id": "msg_01ABC",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "thinking", "thinking": "no", "signature": ""},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "ab"},
            {"type": "tool_use", "id": "1", "name": "n", "input": {"a": 1}},
            {"type": "tool_use", "id": "2", "name": "m", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("finished", "stop_reason"),
    [
        (Finished(FinishReason.STOP), "end_turn"),
        (Finished(FinishReason.STOP, "END"), "stop_sequence"),
        (Finished(FinishReason.LENGTH), "max_tokens"),
        (Finished(FinishReason.TOOL_CALLS), "tool_use"),
        (Finished(FinishReason.CONTENT_FILTER), "refusal"),
    ],
)
def test_a_stop_reason_is_written_alike_in_both_forms(finished: Finished, stop_reason: str) -> None:
    told = {"stop_reason": stop_reason, "stop_sequence": finished.stop_sequence}
    events: list[Event] = [STARTED, finished, Ended()]
    assert json.loads(anthropic.write_answer(events, ENVELOPE)).items() >= told.items()
    assert events_in(streamed(events))[-2]["delta"] == told


def test_a_stream_tells_each_block_from_its_start_to_its_stop() -> None:
    told = [(event["type"], event.get("index")) for event in events_in(streamed(ANSWER))]
    assert told == [
        ("message_start", None),
        *[("content_block_start", 0), *[("content_block_delta", 0)] * 2, ("content_block_stop", 0)],
        *[("content_block_start", 1), ("content_block_delta", 1), ("content_block_stop", 1)],
        *[("content_block_start", 2), ("content_block_stop", 2)],
        *[("content_block_start", 3), ("content_block_delta", 3), ("content_block_stop", 3)],
        *[("content_block_start", 4), ("content_block_delta", 4), ("content_block_stop", 4)],
        *[("content_block_start", 5), ("content_block_stop", 5)],
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_usage_is_told_at_the_start_as_far_as_known_and_at_the_end_in_full() -> None:
    events = events_in(
        streamed([STARTED, UsageTold(12), STOPPED, UsageTold(12, 9, 4, 5, 6), Ended()])
    )
    assert events[-2]["usage"] == USAGE
    writer = anthropic.StreamWriter(ENVELOPE)
    begun = events_in(writer.write([STARTED, UsageTold(12)]))
    assert begun[0]["message"]["usage"]["input_tokens"] == 12


def deltas_of(events: Iterable[dict[str, Any]]) -> list[tuple[int, str]]:
    return [
        (event["index"], event["delta"]["partial_json"])
        for event in events
        if event["type"] == "content_block_delta"
    ]


def test_a_call_is_written_as_it_comes_and_the_next_one_when_it_is_whole() -> None:
    writer = anthropic.StreamWriter(ENVELOPE)
    writer.write([STARTED, CallStarted(0, "1", "n")])
    assert deltas_of(events_in(writer.write([CallDelta(0, '{"a":')]))) == [(0, '{"a":')]
    assert deltas_of(events_in(writer.write([CallDelta(0, "1}")]))) == [(0, "1}")]
    begun = writer.write([CallStarted(1, "2", "n"), CallDelta(1, '{"b"')])
    assert deltas_of(events_in(begun)) == [(1, '{"b"')]


def test_calls_that_interleave_are_written_one_after_another() -> None:
    events: list[Event] = [
        STARTED,
        CallStarted(0, "1", "n"),
        CallStarted(1, "2", "m"),
        CallDelta(1, '{"b":'),
        CallDelta(0, '{"a":'),
        CallDelta(1, "2}"),
        CallDelta(0, "1}"),
        TextDelta("done"),
        Finished(FinishReason.TOOL_CALLS),
        Ended(),
    ]
    for at_once in (True, False):
        found = read_stream(streamed(events, at_once=at_once))
        assert merged(found)[:-1] == merged(events)[:-1]


def test_what_is_held_back_is_bounded() -> None:
    half = "a" * (HELD_CHARS_MAX // 2 + 1)
    writer = anthropic.StreamWriter(ENVELOPE)
    writer.write([STARTED, CallStarted(0, "1", "n"), CallStarted(1, "2", "n")])
    assert writer.write([CallDelta(1, half)]) == b""
    assert b"event: error" in writer.write([CallDelta(1, half)])
    assert writer.write([CallDelta(1, half), Ended()]) == b""


def test_one_long_call_is_written_through() -> None:
    half = "a" * (HELD_CHARS_MAX // 2 + 1)
    events: list[Event] = [STARTED, CallStarted(0, "1", "n"), CallDelta(0, '"')]
    events += [CallDelta(0, half), CallDelta(0, half), CallDelta(0, half), STOPPED, Ended()]
    for at_once in (True, False):
        written = streamed(events, at_once=at_once)
        assert b"event: error" not in written
        assert written.count(b"a" * 1000) >= 3 * len(half) // 1000 - 3


FAILED = Failed(Refusal("overloaded", 529, "overloaded", "Busy."))


@pytest.mark.parametrize("before", [[], [STARTED], [STARTED, TextDelta("a")]])
def test_a_failure_ends_the_stream_with_an_error(before: list[Event]) -> None:
    written = streamed([*before, FAILED, TextDelta("b"), Ended()])
    events = events_in(written)
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "Busy."}
    assert (b'"a"' in written) == (TextDelta("a") in before)


class _Provider(BaseHTTPRequestHandler):
    """Answers every request with what the test set."""

    answer = b""
    kind = "text/event-stream"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", self.kind)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def sdk() -> Iterator[Anthropic]:
    server = HTTPServer(("127.0.0.1", 0), _Provider)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    with Anthropic(api_key="k", base_url=url, max_retries=0) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


ASKED: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def test_the_sdk_makes_the_same_message_of_a_stream_and_of_a_whole_answer(sdk: Anthropic) -> None:
    _Provider.kind, _Provider.answer = "text/event-stream", streamed(ANSWER, at_once=False)
    with sdk.messages.stream(**ASKED) as stream:
        message = stream.get_final_message()
    _Provider.kind, _Provider.answer = "application/json", anthropic.write_answer(ANSWER, ENVELOPE)
    whole = sdk.messages.create(**ASKED)
    assert message.model_dump(exclude_none=True) == whole.model_dump(exclude_none=True)


def test_the_sdk_raises_what_fails_midway(sdk: Anthropic) -> None:
    _Provider.kind = "text/event-stream"
    _Provider.answer = streamed([STARTED, TextDelta("a"), FAILED])
    with (
        sdk.messages.stream(**ASKED) as stream,
        pytest.raises(APIStatusError, match="Busy") as error,
    ):
        stream.get_final_message()
    assert error.value.type == "overloaded_error"


def test_a_failed_whole_answer_is_an_error() -> None:
    written = json.loads(anthropic.write_answer([STARTED, FAILED], ENVELOPE))
    assert written["error"] == {"type": "overloaded_error", "message": "Busy."}


def test_an_envelope_repeats_nothing_of_the_request() -> None:
    assert anthropic.envelope(b'{"a":1}', "01ABC", 5) == ENVELOPE


pieces = st.sampled_from(["a", "żółw 🐢", '"\\\n', " "])
endings = st.sampled_from([ThinkingEnded(), ThinkingEnded("s")])
call_pieces = st.sampled_from([(), ("{}",), ('{"a":', "[1]}"), ("", '{"b":{}}', " ")])
usages = st.builds(UsageTold, *[st.integers(20, 99), st.integers(10, 99)], *[st.integers(0, 9)] * 3)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = [STARTED]
    waiting: list[tuple[int, str]] = []
    count = 0
    for kind in draw(
        st.lists(st.sampled_from(["text", "thought", "redacted", "call"]), max_size=5)
    ):
        if kind == "call":
            events.append(CallStarted(count, f"id{count}", "n"))
            waiting += [(count, piece) for piece in draw(call_pieces)]
            count += 1
            if draw(st.booleans()):
                continue
        elif kind == "text":
            events += [TextDelta(piece) for piece in draw(st.lists(pieces, min_size=1, max_size=3))]
        elif kind == "thought":
            events += [ThinkingDelta(draw(pieces)), ThinkingDelta(draw(pieces)), draw(endings)]
        else:
            events.append(RedactedThinking(draw(pieces)))
        events += [CallDelta(index, piece) for index, piece in waiting]
        waiting = []
    events += [CallDelta(index, piece) for index, piece in waiting]
    reason = draw(st.sampled_from([Finished(reason) for reason in FinishReason]))
    return [*events, reason, draw(usages), Ended()]


@given(answer=answers(), at_once=st.booleans())
@settings(deadline=None, max_examples=100, database=None)
def test_what_is_written_is_read_again_as_it_was(answer: list[Event], *, at_once: bool) -> None:
    written = streamed(answer, at_once=at_once)
    events_in(written)
    assert merged(read_stream(written)) == merged(answer)
    whole = anthropic.write_answer(answer, ENVELOPE)
    Message.model_validate_json(whole)
    spaceless = [e for e in merged(answer) if not isinstance(e, CallDelta)]
    found = merged(anthropic.read_answer(whole, "01ABC"))
    assert [e for e in found if not isinstance(e, CallDelta)] == spaceless


def test_streams_with_their_bytes_changed_never_raise() -> None:
    chance = random.Random(5)
    whole = [stream for stream, _ in STREAMS.values()]
    for _ in range(2000):
        stream = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(stream))
            stream[at : at + chance.choice([0, 1, 1, 9])] = chance.choice(
                [b"", b"\xff", b"\n\n", b'"', b"{", b"null", b"9" * 30, bytes(stream[at - 40 : at])]
            )
        events = read_stream(bytes(stream))
        assert isinstance(events[-1], Ended | Failed)
        assert streamed(events)
