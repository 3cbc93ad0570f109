"""What Bedrock answers, as events: streams, whole answers and errors."""

import json
import random

import pytest
from aws_frames import event, exception, framed, header, typed
from cuts import check_every_cut, fed

from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    RedactedThinking,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnded,
    UsageTold,
    broken_off,
    malformed,
)
from extproc.dialects.bedrock import StreamReader, read_answer, read_error
from extproc.dialects.upstream_error import upstream_error
from extproc.vocabulary import Refusal, ReportedModel

STARTED = Started(ReportedModel(""))
BEGIN = event("messageStart", role="assistant")
STOP = event("messageStop", stopReason="end_turn")
USAGE = event("metadata", usage={"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}, metrics={})
TOLD = UsageTold(3, 5)
DONE = Finished(FinishReason.STOP)


def delta(index: int, **what: object) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=what)


def reasoned(index: int, **what: str) -> bytes:
    return delta(index, reasoningContent=what)


def block_stop(index: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def call_start(index: int, call_id: str, name: str, **more: str) -> bytes:
    tool = {"toolUseId": call_id, "name": name} | more
    return event("contentBlockStart", contentBlockIndex=index, start={"toolUse": tool})


def argued(index: int, text: str) -> bytes:
    return delta(index, toolUse={"input": text})


EVERYTHING = b"".join(
    [
        BEGIN,
        reasoned(0, text="Hm"),
        reasoned(0, text="…"),
        reasoned(0, signature="c2ln"),
        block_stop(0),
        reasoned(1, redactedContent="AAAA"),
        block_stop(1),
        delta(2, text="Let me"),
        delta(2, text=" look."),
        block_stop(2),
        call_start(3, "tooluse_1", "clock"),
        argued(3, '{"zone":'),
        argued(3, '"UTC"}'),
        block_stop(3),
        call_start(4, "tooluse_2", "date"),
        argued(4, ""),
        block_stop(4),
        event("messageStop", stopReason="tool_use"),
        event(
            "metadata",
            usage={
                "inputTokens": 10,
                "outputTokens": 20,
                "totalTokens": 60,
                "cacheReadInputTokens": 25,
                "cacheWriteInputTokens": 5,
            },
            metrics={"latencyMs": 1},
        ),
    ]
)
EVENTS: list[Event] = [
    STARTED,
    ThinkingDelta("Hm"),
    ThinkingDelta("…"),
    ThinkingEnded("c2ln"),
    RedactedThinking("AAAA"),
    TextDelta("Let me"),
    TextDelta(" look."),
    CallStarted(0, "tooluse_1", "clock"),
    CallDelta(0, '{"zone":'),
    CallDelta(0, '"UTC"}'),
    CallStarted(1, "tooluse_2", "date"),
    CallDelta(1, "{}"),
    Finished(FinishReason.TOOL_CALLS),
    UsageTold(40, 20, 25, 5),
    Ended(),
]


def read(*chunks: bytes) -> list[Event]:
    return fed(StreamReader("0123"), *chunks)


def test_a_stream_is_read_as_the_events_it_consists_of_wherever_it_is_cut() -> None:
    check_every_cut(read, EVERYTHING, EVENTS)


def test_the_end_is_told_as_soon_as_the_usage_is() -> None:
    reader = StreamReader("0123")
    assert reader.feed(EVERYTHING)[-1] == Ended()
    assert reader.feed(BEGIN) == []
    assert reader.end() == []


def test_a_stream_that_ends_before_its_message_stops_broke_off() -> None:
    stop = EVERYTHING.index(event("messageStop", stopReason="tool_use"))
    for cut in range(0, stop, 7):
        assert read(EVERYTHING[:cut])[-1] == broken_off()


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\x00\x00",
        b"no event stream at all",
        USAGE[:-1],
        USAGE[:-1] + b"\x00",
        typed("metadata", b"{"),
        typed("metadata", b'{"usage":{"inputTokens":-1}}'),
        exception("throttlingException", b"{}"),
        BEGIN + delta(0, text="more"),
    ],
)
def test_an_answer_is_whole_once_its_message_has_stopped(rest: bytes) -> None:
    events = read(BEGIN + delta(0, text="Hi") + STOP + rest)
    assert events == [STARTED, TextDelta("Hi"), DONE, Ended()]


def test_usage_may_be_told_early_or_leave_things_out() -> None:
    assert read(BEGIN + USAGE + STOP) == [STARTED, TOLD, DONE, Ended()]
    bare = event("metadata", usage={"outputTokens": 2})
    assert read(BEGIN + STOP + bare) == [STARTED, DONE, UsageTold(None, 2), Ended()]
    assert read(BEGIN + STOP + event("metadata")) == [STARTED, DONE, Ended()]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("guardrail_intervened", FinishReason.CONTENT_FILTER),
        ("content_filtered", FinishReason.CONTENT_FILTER),
        ("not_known_yet", FinishReason.STOP),
    ],
)
def test_why_it_stopped_is_told_in_our_words(told: str, reason: FinishReason) -> None:
    assert read(BEGIN + event("messageStop", stopReason=told))[1:] == [Finished(reason), Ended()]
    assert whole(stopReason=told, usage=None)[1:] == [Finished(reason), Ended()]


@pytest.mark.parametrize("told", ["malformed_model_output", "malformed_tool_use"])
def test_what_the_model_botched_is_a_failure(told: str) -> None:
    failed = Failed(
        Refusal("upstream_failed", 502, told, "The model's answer was malformed."),
    )
    assert read(BEGIN + event("messageStop", stopReason=told) + USAGE) == [STARTED, failed]
    assert whole(stopReason=told)[-1] == failed


def test_the_stop_sequence_that_was_met_is_told() -> None:
    fields = {"stop_sequence": "END"}
    stop = event("messageStop", stopReason="stop_sequence", additionalModelResponseFields=fields)
    assert read(BEGIN + stop)[1] == Finished(FinishReason.STOP, "END")
    other = event("messageStop", stopReason="end_turn", additionalModelResponseFields=fields)
    assert read(BEGIN + other)[1] == DONE


def test_calls_may_interleave_and_need_no_end_of_their_own() -> None:
    stream = [
        *(BEGIN, call_start(5, "a", "x"), call_start(7, "b", "y"), argued(7, "{}")),
        *(argued(5, '{"n":1}'), call_start(9, "c", "z"), STOP),
    ]
    assert read(*stream)[1:-2] == [
        CallStarted(0, "a", "x"),
        CallStarted(1, "b", "y"),
        CallDelta(1, "{}"),
        CallDelta(0, '{"n":1}'),
        CallStarted(2, "c", "z"),
        CallDelta(2, "{}"),
    ]


def test_a_call_without_an_id_gets_one() -> None:
    assert read(BEGIN + call_start(0, "", "x"))[1] == CallStarted(0, "call_0123_0", "x")


def test_tools_that_the_provider_runs_are_not_the_clients_to_call() -> None:
    hosted = call_start(0, "a", "nova_grounding", type="server_tool_use") + argued(0, '{"q":1}')
    result = event("contentBlockStart", contentBlockIndex=1, start={"toolResult": {}})
    answered = delta(1, toolResult=[{"text": "found"}]) + block_stop(1)
    stream = BEGIN + hosted + block_stop(0) + result + answered + delta(2, text="Hi") + STOP
    assert read(stream) == [STARTED, TextDelta("Hi"), DONE, Ended()]


def test_thinking_ends_where_something_else_begins() -> None:
    stream = BEGIN + reasoned(0, text="a") + reasoned(1, text="b") + delta(2, text="c")
    assert read(stream + reasoned(3, signature="s") + STOP)[1:-2] == [
        ThinkingDelta("a"),
        ThinkingEnded(),
        ThinkingDelta("b"),
        ThinkingEnded(),
        TextDelta("c"),
        ThinkingEnded("s"),
    ]


def test_what_is_not_known_yet_is_passed_over() -> None:
    odd = [
        event("somethingNew", a=1),
        typed("somethingNew", b"\xff"),
        delta(0, citation={"title": "t"}),
        event("contentBlockStart", contentBlockIndex=0, start={"image": {"format": "png"}}),
        framed(header(":message-type", "event"), b""),
        framed(b"", b""),
    ]
    assert read(BEGIN, *odd, delta(0, text="Hi"), STOP) == [
        STARTED,
        TextDelta("Hi"),
        DONE,
        Ended(),
    ]


@pytest.mark.parametrize(
    ("kind", "refused", "status"),
    [
        ("throttlingException", "rate_limited", 429),
        ("validationException", "invalid_request", 400),
        ("internalServerException", "upstream_failed", 500),
        ("serviceUnavailableException", "overloaded", 503),
        ("modelStreamErrorException", "upstream_failed", 424),
        ("somethingNewException", "upstream_failed", 502),
    ],
)
def test_an_exception_ends_the_answer(kind: str, refused: str, status: int) -> None:
    thrown = exception(kind, b'{"message":"Too bad."}')
    failed = Failed(upstream_error(status, "Too bad.", kinds={status: refused}))
    assert read(BEGIN + delta(0, text="Hi") + thrown + STOP) == [STARTED, TextDelta("Hi"), failed]


def test_an_error_of_the_transport_ends_the_answer() -> None:
    headers = header(":message-type", "error") + header(":error-code", "InternalFailure")
    error = framed(headers + header(":error-message", "Broken."), b"")
    refusal = Refusal("upstream_failed", 502, "upstream_error", "Broken.")
    assert read(BEGIN + error) == [STARTED, Failed(refusal)]


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {}\n\n" * 2,
        BEGIN[:-1] + b"\x00",
        typed("contentBlockDelta", b""),
        typed("contentBlockDelta", b"[]"),
        typed("contentBlockDelta", b'{"contentBlockIndex":0}'),
        typed("contentBlockDelta", b'{"contentBlockIndex":"0","delta":{}}'),
        typed("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":1}}'),
        typed("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"\xff"}}'),
        typed("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"\\ud800"}}'),
        typed("contentBlockDelta", b'{"contentBlockIndex":0,"delta":' + b"[" * 50_000),
        typed("contentBlockStart", b'{"contentBlockIndex":0,"start":{"toolUse":{"name":"x"}}}'),
        typed("messageStop", b"{}"),
        typed("messageStop", b'{"stopReason":NaN}'),
        argued(0, "{}"),
        call_start(0, "a", "x") + call_start(0, "b", "x"),
        call_start(0, "a", "x") + block_stop(0) + argued(0, "{}"),
        b"".join(call_start(0, "a", "x") + block_stop(0) for _ in range(1001)),
        b"".join(call_start(n, "a", "x", type="server_tool_use") for n in range(1001)),
    ],
)
def test_a_stream_that_cannot_be_read_is_a_failure_and_nothing_more(broken: bytes) -> None:
    assert read(BEGIN + broken + STOP + USAGE)[-1] == malformed()
    assert Ended() not in read(BEGIN + broken + STOP + USAGE)


def test_no_mutation_of_a_stream_raises_or_ends_twice() -> None:
    drawn = random.Random(7)
    for _ in range(2000):
        stream = bytearray(EVERYTHING)
        for _ in range(drawn.randint(1, 3)):
            at = drawn.randrange(len(stream))
            if drawn.random() < 0.5:
                stream[at] = drawn.randrange(256)
            else:
                del stream[at : at + drawn.randint(1, 40)]
        events = read(bytes(stream))
        assert [type(e) in (Ended, Failed) for e in events].count(True) == 1
        assert isinstance(events[-1], Ended | Failed)


def test_no_mutation_of_an_event_raises_or_ends_twice() -> None:
    drawn = random.Random(8)
    payload = json.dumps(
        {
            "contentBlockIndex": 0,
            "delta": {"text": "a", "reasoningContent": {"text": "b"}, "toolUse": {"input": "{}"}},
            "start": {"toolUse": {"toolUseId": "a", "name": "b"}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 1},
        }
    ).encode()
    kinds = ("contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
    for _ in range(2000):
        mutated = bytearray(payload)
        mutated[drawn.randrange(len(mutated))] = drawn.randrange(256)
        events = read(BEGIN + typed(drawn.choice([*kinds, "metadata"]), bytes(mutated)))
        assert isinstance(events[-1], Ended | Failed)


def answered(*content: object, **fields: object) -> bytes:
    message = {"role": "assistant", "content": content}
    usage = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}
    answer = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
    return json.dumps(answer | {"metrics": {"latencyMs": 1}} | fields).encode()


def whole(*content: object, **fields: object) -> list[Event]:
    return read_answer(answered(*content, **fields), "0123")


def test_a_whole_answer_is_the_same_events() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
        {"text": "Let me look."},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "clock", "input": {"zone": "UTC"}}},
        {"toolUse": {"toolUseId": "", "name": "date", "input": {}}},
        {"toolUse": {"toolUseId": "a", "name": "b", "input": {}, "type": "server_tool_use"}},
        {"somethingNew": {}},
    ]
    assert whole(*content, stopReason="tool_use") == [
        STARTED,
        ThinkingDelta("Hm"),
        ThinkingEnded("c2ln"),
        RedactedThinking("AAAA"),
        TextDelta("Let me look."),
        CallStarted(0, "tooluse_1", "clock"),
        CallDelta(0, '{"zone": "UTC"}'),
        CallStarted(1, "call_0123_1", "date"),
        CallDelta(1, "{}"),
        Finished(FinishReason.TOOL_CALLS),
        TOLD,
        Ended(),
    ]


def test_text_with_citations_is_text() -> None:
    citation = {"title": "t", "sourceContent": [{"text": "s"}]}
    cited = {"content": [{"text": "So it "}, {"text": "says."}], "citations": [citation]}
    assert whole({"text": "Look: "}, {"citationsContent": cited}, {"citationsContent": {}}) == [
        STARTED,
        TextDelta("Look: "),
        TextDelta("So it "),
        TextDelta("says."),
        DONE,
        TOLD,
        Ended(),
    ]


def test_a_whole_answer_may_be_empty() -> None:
    assert whole(usage=None) == [STARTED, DONE, Ended()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"output":',
        b"[" * 100_000,
        answered()[:-1],
        answered({"text": 1}),
        answered({"toolUse": {"name": "x"}}),
        answered(usage={"inputTokens": -1}),
        answered(usage={"inputTokens": 1.5}),
        answered().replace(b'"end_turn"', b"1e999"),
        answered({"text": "x"}).replace(b'"x"', b'"\xff"'),
        answered({"toolUse": {"toolUseId": "a", "name": "x", "input": "@"}}).replace(b"@", b"\xff"),
    ],
)
def test_a_whole_answer_that_cannot_be_read_is_a_failure(body: bytes) -> None:
    assert read_answer(body, "0123") == [malformed()]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (403, "permission"),
        (404, "not_found"),
        (408, "upstream_failed"),
        (413, "too_large"),
        (418, "invalid_request"),
        (424, "upstream_failed"),
        (429, "rate_limited"),
        (500, "upstream_failed"),
        (502, "upstream_failed"),
        (503, "overloaded"),
        (529, "overloaded"),
    ],
)
def test_an_error_is_known_by_its_status(status: int, kind: str) -> None:
    refusal = upstream_error(status, "Too bad.", kinds={status: kind})
    assert read_error(status, b'{"message":"Too bad."}') == refusal
    assert read_error(status, b'{"Message":"Too bad."}') == refusal


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"<html>", b"\xff", b'{"message":1}', b'{"message":"\xff"}', b"[" * 99_999],
)
def test_an_error_without_words_says_so(body: bytes) -> None:
    said = "The provider gave no reason."
    assert read_error(500, body) == Refusal("upstream_failed", 500, "upstream_error", said)


def test_an_errors_words_are_cut() -> None:
    assert len(read_error(400, json.dumps({"message": "x" * 9999}).encode()).message) == 2000
