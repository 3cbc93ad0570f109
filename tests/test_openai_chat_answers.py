"""A provider's chat completion as events, events as a chat completion, and back again."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import openai
import pytest
from cuts import check_every_cut, fed
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from sdk_clients import openai_sent

from extproc.dialects import openai_chat
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
)
from extproc.dialects.sse import EVENT_BYTES_MAX
from extproc.vocabulary import Refusal, ReportedModel

STOP, LENGTH = FinishReason.STOP, FinishReason.LENGTH
TOOL_CALLS, CONTENT_FILTER = FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER
M = Started(ReportedModel("m"))
WHOLE = (Finished(STOP), Ended())
CALLED = (Finished(TOOL_CALLS), Ended())
quickly = settings(deadline=None, max_examples=60, database=None)


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chunk(finish: str | None = None, /, **delta: object) -> bytes:
    return event(model="m", choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def call(
    index: int | None = None, name: str | None = None, args: object = None, **more: object
) -> bytes:
    """One delta of a tool call; `id` among `more`."""
    function = {"name": name, "arguments": args}
    numbered = {} if index is None else {"index": index}
    return chunk(tool_calls=[numbered | {"type": "function", "function": function} | more])


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TOLD = UsageTold(5, 2)
OPENAI_HEAD = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "service_tier": "default",
    "system_fingerprint": None,
    "usage": None,
    "obfuscation": "x7",
}
FAILED_MIDWAY = Failed(Refusal("rate_limited", 429, "rate_limit_exceeded", "Slow down."))

STREAMS: Mapping[str, tuple[bytes, Sequence[Event]]] = {
    "text": (
        event(
            **OPENAI_HEAD,
            choices=[
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": "", "refusal": None},
                    "logprobs": None,
                    "finish_reason": None,
                }
            ],
        )
        + chunk(content="Hel")
        + chunk(content="ló 🐢")
        + chunk("stop")
        + event(model="m", choices=[], usage=USAGE)
        + DONE,
        (M, TextDelta("Hel"), TextDelta("ló 🐢"), TOLD, *WHOLE),
    ),
    "parallel tools": (
        chunk(role="assistant", content=None)
        + call(0, "f", "", id="a")
        + call(0, None, '{"x"')
        + call(0, None, ":1}")
        + call(1, "g", "", id="b")
        + call(1, None, "{}")
        + chunk("tool_calls")
        + DONE,
        (
            M,
            CallStarted(0, "a", "f"),
            CallDelta(0, '{"x"'),
            CallDelta(0, ":1}"),
            CallStarted(1, "b", "g"),
            CallDelta(1, "{}"),
            *CALLED,
        ),
    ),
    "interleaved tools": (
        chunk(content="So:")
        + chunk(
            tool_calls=[
                {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}},
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
            ]
        )
        + call(1, None, "}")
        + call(0, None, "}")
        + chunk("tool_calls")
        + DONE,
        (
            M,
            TextDelta("So:"),
            CallStarted(0, "b", "g"),
            CallDelta(0, "{"),
            CallStarted(1, "a", "f"),
            CallDelta(1, "{"),
            CallDelta(0, "}"),
            CallDelta(1, "}"),
            *CALLED,
        ),
    ),
    "refusal": (
        chunk(role="assistant", refusal="")
        + chunk(refusal="I can")
        + chunk(refusal="not.")
        + chunk("content_filter")
        + DONE,
        (M, RefusalDelta("I can"), RefusalDelta("not."), Finished(CONTENT_FILTER), Ended()),
    ),
    "a refusal that ends plainly": (
        chunk(refusal="I cannot.") + chunk("stop") + DONE,
        (M, RefusalDelta("I cannot."), Finished(CONTENT_FILTER), Ended()),
    ),
    "reasoning": (
        b": OPENROUTER PROCESSING\n\n"
        + chunk(reasoning_content="Hm", content=None)
        + chunk(reasoning="m.", content="")
        + chunk(content="Yes")
        + chunk(reasoning_content="again", reasoning="again")
        + call(0, "f", "{}", id="a")
        + event(model="m", choices=[{"delta": {}, "finish_reason": "stop"}], usage=USAGE)
        + DONE,
        (
            M,
            ThinkingDelta("Hm"),
            ThinkingDelta("m."),
            ThinkingEnded(),
            TextDelta("Yes"),
            ThinkingDelta("again"),
            ThinkingEnded(),
            CallStarted(0, "a", "f"),
            CallDelta(0, "{}"),
            TOLD,
            *CALLED,
        ),
    ),
    "error midway": (
        chunk(content="Hel")
        + event(error={"message": "Slow down.", "type": "x y", "code": "busy"}),
        (M, TextDelta("Hel"), Failed(Refusal("upstream_failed", 502, "busy", "Slow down."))),
    ),
    "error with a status, in the midst of a choice": (
        chunk(content="Hel")
        + event(
            choices=[
                {
                    "delta": {"content": ""},
                    "finish_reason": "error",
                    "error": {"code": 429, "type": "busy", "message": "Slow down."},
                }
            ]
        )
        + chunk(content="more")
        + DONE,
        (M, TextDelta("Hel"), FAILED_MIDWAY),
    ),
    "Azure's empty choices first, CR LF": (
        (
            event(model="", choices=[], prompt_filter_results=[{"x": 1}])
            + chunk(content="a")
            + chunk("length")
            + DONE
        ).replace(b"\n", b"\r\n"),
        (M, TextDelta("a"), Finished(LENGTH), Ended()),
    ),
    "no end but a reason": (
        chunk(content="a") + chunk("stop"),
        (M, TextDelta("a"), *WHOLE),
    ),
    "no empty line behind the end": (
        chunk(content="a") + chunk("stop").rstrip(),
        (M, TextDelta("a"), *WHOLE),
    ),
    "cut off behind its reason": (
        chunk(content="a") + chunk("stop") + b'data: {"usage":{"prom',
        (M, TextDelta("a"), *WHOLE),
    ),
    "broken off": (chunk(content="a"), (M, TextDelta("a"), broken_off())),
    "whole message": (
        event(
            model="m",
            choices=[{"message": {"content": "a"}, "finish_reason": "stop"}],
            usage=USAGE,
        )
        + DONE,
        (M, TextDelta("a"), TOLD, *WHOLE),
    ),
    "function call": (
        chunk(function_call={"name": "f", "arguments": ""})
        + chunk(function_call={"arguments": "{}"})
        + chunk("function_call")
        + DONE,
        (M, CallStarted(0, "call_7_0", "f"), CallDelta(0, "{}"), *CALLED),
    ),
}


def read(*chunks: bytes) -> list[Event]:
    return fed(openai_chat.StreamReader("7"), *chunks)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_alike_wherever_its_chunks_are_cut(name: str) -> None:
    check_every_cut(read, *STREAMS[name])


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_ends_anywhere_is_whole_or_has_failed_and_then_is_over(name: str) -> None:
    stream, expected = STREAMS[name]
    for cut in range(0, len(stream), 3):
        reader = openai_chat.StreamReader("7")
        events = [*reader.feed(stream[:cut]), *reader.end()]
        assert [isinstance(e, Ended | Failed) for e in events] == [False] * (len(events) - 1) + [
            True
        ]
        given = [e for e in events if not isinstance(e, Finished | Ended | Failed | ThinkingEnded)]
        assert [e for e in expected if e in given][: len(given)] == given
        assert reader.feed(stream) + reader.end() == []


A, B = CallStarted(0, "a", "f"), CallStarted(1, "b", "g")


@pytest.mark.parametrize(
    ("pieces", "events"),
    [
        # Without a number.
        ([call(None, "f", "{}", id="a"), call(None, "g", "[]", id="b")], [A, "0{}", B, "1[]"]),
        ([call(None, "f", "{", id="a"), call(None, None, "}")], [A, "0{}"]),
        ([call(None, "f", "{", id="a"), call(None, "f", "}", id="a")], [A, "0{}"]),
        # With neither number nor id.
        (
            [call(None, "f", "{}"), call(None, "f", "{}")],
            [CallStarted(0, "call_7_0", "f"), "0{}", CallStarted(1, "call_7_1", "f"), "1{}"],
        ),
        ([call(None, "f"), call(None, "f", "{}")], [CallStarted(0, "call_7_0", "f"), "0{}"]),
        # Without an id, or with an empty one.
        ([call(0, "f", "{"), call(0, "", "}", id="")], [CallStarted(0, "call_7_0", "f"), "0{}"]),
        # Id and name repeated, or another id in every piece.
        ([call(0, "f", "{", id="a"), call(0, "f", "}", id="a")], [A, "0{}"]),
        ([call(0, "f", "{", id="a"), call(0, None, "}", id="other")], [A, "0{}"]),
        # One number for all.
        ([call(0, "f", "{}", id="a"), call(0, "g", "[]", id="b")], [A, "0{}", B, "1[]"]),
        # One id for all.
        (
            [call(0, "f", "{}", id="a"), call(1, "g", "[", id="a"), call(1, None, "]", id="a")],
            [A, "0{}", CallStarted(1, "call_7_1", "g"), "1[]"],
        ),
        # The name late, numbers with gaps.
        ([call(3, None, "{", id="a"), call(3, "f", "}")], [A, "0{}"]),
        # Arguments that are JSON and not its text.
        ([call(0, "f", {"x": [1]}, id="a")], [A, '0{"x": [1]}']),
        ([call(0, "f", None, id="a")], [A]),
        (
            [call(0, "f", id="a", extra_content={"google": {"thought_signature": "s"}})],
            [CallStarted(0, "a", "f", "s")],
        ),
        ([call(0, "f", id="a", extra_content={"google": [1]})], [A]),
    ],
)
def test_the_calls_of_every_kind_of_server_are_told_apart(
    pieces: list[bytes], events: list[CallStarted | str]
) -> None:
    expected: list[Event] = [
        CallDelta(int(e[0]), e[1:]) if isinstance(e, str) else e for e in events
    ]
    assert merged(read(*pieces, chunk("tool_calls"), DONE)) == [M, *expected, *CALLED]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b'data: {"choices":5}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: " + b"x" * EVENT_BYTES_MAX,
        call(None, None, "{}"),
        call(0, None, "{}", id="a") + chunk("tool_calls") + DONE,
        call(0, None, "x" * 600_000) + call(0, None, "x" * 600_000),
        b"".join(call(i, "f") for i in range(1_001)),
        call(0, "f", id="x" * 600_000) + call(1, "g" * 600_000),
    ],
)
def test_what_is_no_stream_of_the_api_is_malformed(stream: bytes) -> None:
    assert read(stream)[-1] == malformed()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", [broken_off()]),
        (DONE, [broken_off()]),
        (chunk(role="assistant", content="") + DONE, [M, broken_off()]),
        (chunk(content="a") + DONE, [M, TextDelta("a"), *WHOLE]),
        (chunk("eos_token") + DONE, [M, *WHOLE]),
        (chunk("") + chunk("model_length") + DONE, [M, Finished(LENGTH), Ended()]),
        (chunk("stop") + chunk(content="late") + DONE, [M, TextDelta("late"), *WHOLE]),
        (
            b'event: error\ndata: {"message":"Slow down.","code":429,"type":"busy"}\n\n',
            [FAILED_MIDWAY],
        ),
        (event(object="error", message="Slow down.", code=429, type="busy"), [FAILED_MIDWAY]),
        (
            event(error={"message": "Odd.", "code": 200}),
            [Failed(Refusal("upstream_failed", 502, "upstream_error", "Odd."))],
        ),
        (
            event(error="Slow down."),
            [Failed(Refusal("upstream_failed", 502, "upstream_error", "Slow down."))],
        ),
        (
            event(choices=[{"index": 1, "delta": {"content": "b"}}]) + chunk("stop", content="a"),
            [M, TextDelta("a"), *WHOLE],
        ),
        (
            chunk(content="a")
            + event(choices=[{"message": {"content": "a"}, "finish_reason": "stop"}]),
            [M, TextDelta("a"), *WHOLE],
        ),
        (
            chunk(
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                    {"type": "text", "text": "a"},
                ]
            )
            + chunk("stop"),
            [M, ThinkingDelta("Hm"), ThinkingEnded(), TextDelta("a"), *WHOLE],
        ),
        (
            event(model="m", choices=[], usage=USAGE) * 2 + chunk("stop"),
            [M, TOLD, *WHOLE],
        ),
    ],
)
def test_the_oddities_of_servers_are_read_for_what_they_mean(
    stream: bytes, events: list[Event]
) -> None:
    assert read(stream) == events


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (None, None),
        ({}, None),
        ("x", None),
        ({"prompt_tokens": "x"}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1e300}, None),
        (USAGE, TOLD),
        ({"prompt_tokens": 5.0}, UsageTold(5)),
        (
            USAGE
            | {
                "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            UsageTold(5, 2, 3, 1, 2),
        ),
        (USAGE | {"prompt_tokens_details": None, "completion_tokens_details": None}, TOLD),
        (USAGE | {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 1}, UsageTold(5, 2, 4)),
        (USAGE | {"cache_creation_input_tokens": 2}, UsageTold(5, 2, None, 2)),
    ],
)
def test_usage_is_told_as_far_as_it_can_be_read(usage: object, told: UsageTold | None) -> None:
    choices = [{"message": {"content": "a"}, "finish_reason": "stop"}]
    body = json.dumps({"model": "m", "choices": choices, "usage": usage}).encode()
    usage_told = [told] if told else []
    assert openai_chat.read_answer(body, "7") == [M, TextDelta("a"), *usage_told, *WHOLE]


def answer(finish: str | None = "stop", **message: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"model": "m", "choices": [choice]}).encode()


CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (answer(content="a"), [M, TextDelta("a"), *WHOLE]),
        (answer(None, content="a"), [M, TextDelta("a"), *WHOLE]),
        (answer("stop", content=None), [M, *WHOLE]),
        (
            answer("stop", content=None, tool_calls=CALLS, reasoning_content="Hm"),
            [
                *(M, ThinkingDelta("Hm"), ThinkingEnded()),
                *(A, CallDelta(0, '{"x":1}'), B, CallDelta(1, "{}"), *CALLED),
            ],
        ),
        (
            answer(content=None, refusal="No."),
            [M, RefusalDelta("No."), Finished(CONTENT_FILTER), Ended()],
        ),
        (
            answer("function_call", function_call={"name": "f", "arguments": "{}"}),
            [M, CallStarted(0, "call_7_0", "f"), CallDelta(0, "{}"), *CALLED],
        ),
        (answer(tool_calls=[{"id": "a"}]), [M, malformed()]),
        (b'{"choices":[]}', [broken_off()]),
        (b'{"error":{"message":"Slow down.","code":429,"type":"busy"}}', [FAILED_MIDWAY]),
        (b"", [malformed()]),
        (b"nonsense", [malformed()]),
        (b"\xff", [malformed()]),
        (b'{"choices":' + b"[" * 100_000, [malformed()]),
    ],
)
def test_a_whole_answer_is_read_as_its_events(body: bytes, events: list[Event]) -> None:
    assert openai_chat.read_answer(body, "7") == events


# Errors.


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (
            400,
            b'{"error":{"message":"Bad.","type":"invalid_request_error","code":null}}',
            Refusal("invalid_request", 400, "invalid_request", "Bad."),
        ),
        (
            429,
            b'{"error":{"message":"Slow.","type":"t","code":"rate_limit_exceeded"}}',
            Refusal("rate_limited", 429, "rate_limit_exceeded", "Slow."),
        ),
        (
            429,
            b'[{"error":{"code":429,"message":"Slow.","status":"RESOURCE_EXHAUSTED"}}]',
            Refusal("rate_limited", 429, "rate_limit_exceeded", "Slow."),
        ),
        (
            404,
            b'{"object":"error","message":"None.","type":"NotFoundError","code":404}',
            Refusal("not_found", 404, "not_found", "None."),
        ),
        (401, b'{"error":"Who?"}', Refusal("authentication", 401, "invalid_api_key", "Who?")),
        (403, b'{"detail":"No."}', Refusal("permission", 403, "permission_denied", "No.")),
        (402, b'{"error":{"code":"a b"}}', ("permission", "insufficient_quota")),
        (413, b"<html>too large</html>", ("too_large", "request_too_large")),
        (422, b"[]", ("invalid_request", "invalid_request")),
        (500, b"", ("upstream_failed", "upstream_error")),
        (502, b"\xff\xfe", ("upstream_failed", "upstream_error")),
        (503, b'{"error":{"type":"overloaded"}}', ("overloaded", "server_is_overloaded")),
        (529, b"{" * 100_000, ("overloaded", "server_is_overloaded")),
        (408, b"null", ("upstream_failed", "upstream_error")),
        (418, b'{"error":{"code":"' + b"x" * 65 + b'"}}', ("invalid_request", "invalid_request")),
    ],
)
def test_an_error_is_read_from_whatever_bytes_and_keeps_its_status(
    status: int, body: bytes, refusal: Refusal | tuple[str, str]
) -> None:
    found = openai_chat.read_error(status, body)
    if isinstance(refusal, tuple):
        refusal = Refusal(
            refusal[0], status, refusal[1], f"The provider answered with status {status}."
        )
    assert found == refusal


FAULTS = b'[{"type":"extra_forbidden","loc":["body","user"],"msg":"No."},{"msg":"Nor this."}]'


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"error","message":{"detail":%b},"code":null}' % FAULTS,
        b'{"object":"Error","detail":%b,"message":%b,"code":3001}' % (FAULTS, FAULTS),
        b'{"detail":%b}' % FAULTS,
    ],
)
def test_what_mistral_and_fastapi_find_wrong_is_said(body: bytes) -> None:
    assert openai_chat.read_error(422, body).message == "body.user: No.; Nor this."


def test_an_errors_message_is_cut_at_its_bound() -> None:
    body = json.dumps({"error": {"message": "x" * 3000}}).encode()
    assert len(openai_chat.read_error(400, body).message) == 2000


@given(st.integers(100, 599), st.binary(max_size=60))
@quickly
def test_any_bytes_are_an_error(status: int, body: bytes) -> None:
    refusal = openai_chat.read_error(status, body)
    assert (refusal.status, bool(refusal.message)) == (status, True)


# What a client gets.

ENVELOPE = Envelope("7", 1_700_000_000, wants_usage=True)


def streamed(body: bytes) -> list[ChatCompletionChunk]:
    with openai_sent(body) as client:
        return list(
            client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
        )


def datas(stream: bytes) -> list[Any]:
    assert stream.endswith(b"\n\n")
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n\n")[:-1]]
    return [line if line == b"[DONE]" else json.loads(line) for line in lines]


ANSWERED: Sequence[Event] = (
    M,
    ThinkingDelta("Hm"),
    ThinkingEnded("signed"),
    RedactedThinking("secret"),
    TextDelta("Hel"),
    TextDelta("lo"),
    CallStarted(0, "a", "f", "sig"),
    CallDelta(0, '{"x":'),
    CallStarted(1, "b", "g"),
    CallDelta(0, "1}"),
    UsageTold(5, None, 3),
    Finished(TOOL_CALLS),
    UsageTold(None, 2, None, 1, 1),
    Ended(),
)


def test_a_whole_answer_is_written_as_openai_writes_it() -> None:
    body = openai_chat.write_answer(ANSWERED, ENVELOPE)
    ChatCompletion.model_validate_json(body, strict=True)
    signed = {"extra_content": {"google": {"thought_signature": "sig"}}}
    assert json.loads(body) == {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "refusal": None,
                    "reasoning_content": "Hm",
                    "tool_calls": [CALLS[0] | signed, CALLS[1]],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((M, *WHOLE), {"content": "", "refusal": None}),
        ((M, RefusalDelta("No"), RefusalDelta("."), *WHOLE), {"content": None, "refusal": "No."}),
        (
            (M, CallStarted(0, "b", "g"), *CALLED),
            {"content": None, "refusal": None, "tool_calls": [CALLS[1]]},
        ),
    ],
)
def test_what_was_not_said_is_null_in_an_answer(
    events: Sequence[Event], message: dict[str, object]
) -> None:
    body = openai_chat.write_answer(events, ENVELOPE)
    ChatCompletion.model_validate_json(body, strict=True)
    read_back = json.loads(body)
    assert read_back["choices"][0]["message"] == {"role": "assistant"} | message
    assert "usage" not in read_back


def test_a_stream_is_written_as_openai_writes_it() -> None:
    *chunks, usage, done = datas(openai_chat.StreamWriter(ENVELOPE).write(ANSWERED))
    assert done == b"[DONE]"
    for written in (*chunks, usage):
        ChatCompletionChunk.model_validate(written, strict=True)
        assert (written["id"], written["created"]) == ("chatcmpl-7", 1_700_000_000)
        assert (written["object"], written["model"]) == ("chat.completion.chunk", "m")
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 7)
    assert {written["usage"] for written in chunks} == {None}
    choices = [written["choices"][0] for written in chunks]
    assert [choice["finish_reason"] for choice in choices] == [None] * 9 + ["tool_calls"]
    first = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
    signed = {"extra_content": {"google": {"thought_signature": "sig"}}}
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"content": "Hel"},
        {"content": "lo"},
        {"tool_calls": [{"index": 0} | first | signed]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]},
        {"tool_calls": [{"index": 1} | second]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]


@pytest.mark.parametrize("pieces", [[], [""], ["", ""], ["{", "}"], ["", "{}"]])
def test_the_arguments_of_every_call_are_json(pieces: list[str]) -> None:
    deltas = [CallDelta(0, piece) for piece in pieces]
    events: list[Event] = [M, CallStarted(0, "a", "f"), *deltas, *CALLED]
    chunks = datas(openai_chat.StreamWriter(ENVELOPE).write(events))[:-1]
    calls = [c for written in chunks for c in written["choices"][0]["delta"].get("tool_calls", ())]
    assert "".join(c["function"]["arguments"] for c in calls) == "{}"
    body = json.loads(openai_chat.write_answer(events, ENVELOPE))
    assert body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_the_sdk_puts_the_pieces_together() -> None:
    chunks = streamed(openai_chat.StreamWriter(ENVELOPE).write(ANSWERED))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Hello"
    assert chunks[-1].usage
    assert chunks[-1].usage.prompt_tokens_details
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 3


def test_usage_is_written_only_for_those_who_asked() -> None:
    stream = openai_chat.StreamWriter(Envelope("7", 1)).write(ANSWERED)
    assert b"usage" not in stream
    assert stream.endswith(b'"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n')


def test_a_failure_is_an_error_that_the_sdk_raises_and_nothing_comes_after_it() -> None:
    writer = openai_chat.StreamWriter(ENVELOPE)
    stream = writer.write([M, TextDelta("a"), FAILED_MIDWAY, TextDelta("b"), Ended()])
    stream += writer.write([Ended()])
    *_, error = datas(stream)
    assert error == json.loads(openai_chat.render_refusal(FAILED_MIDWAY.error))
    assert b"[DONE]" not in stream
    with pytest.raises(openai.APIError, match=r"Slow down\."):
        streamed(stream)


def test_who_asked_with_functions_is_answered_with_a_function_call() -> None:
    envelope = openai_chat.envelope(b'{"functions":[{"name":"f"}]}', "7", 1)
    message = json.loads(openai_chat.write_answer(ANSWERED, envelope))["choices"][0]
    assert message["finish_reason"] == "function_call"
    assert message["message"]["function_call"] == {"name": "f", "arguments": '{"x":1}'}
    assert "tool_calls" not in message["message"]
    stream = openai_chat.StreamWriter(envelope).write(ANSWERED)
    choices = [written["choices"][0] for written in datas(stream)[:-1]]
    assert [c["delta"]["function_call"] for c in choices if "function_call" in c["delta"]] == [
        {"name": "f", "arguments": ""},
        {"arguments": '{"x":'},
        {"arguments": "1}"},
    ]
    assert choices[-1]["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("body", "wants_usage", "echoes"),
    [
        (b"{}", False, False),
        (b'{"stream_options":null}', False, False),
        (b'{"stream_options":{"include_usage":false}}', False, False),
        (b'{"stream_options":{"include_usage":true}}', True, False),
        (b'{"functions":[{}],"tools":[]}', False, True),
        (b'{"functions":[{}],"tools":[{}]}', False, False),
        (b'{"stream_options":5}', False, False),
        (b"\xff", False, False),
        (b"[" * 100_000, False, False),
    ],
)
def test_the_envelope_keeps_what_shapes_the_answer(
    body: bytes, *, wants_usage: bool, echoes: bool
) -> None:
    made = openai_chat.envelope(body, "7", 1)
    assert (made.wants_usage, bool(made.echo)) == (wants_usage, echoes)


# There and back.

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
tokens = st.none() | st.integers(0, 10**9)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any whole answer, with what this dialect can't say too."""
    events: list[Event] = [Started(ReportedModel(draw(texts)))]
    calls = 0
    for kind in draw(st.lists(st.sampled_from("trkxcd"), max_size=10)):
        match kind:
            case "t":
                events.append(TextDelta(draw(texts)))
            case "r":
                events.append(RefusalDelta(draw(texts)))
            case "k":
                events += [ThinkingDelta(draw(texts)), ThinkingEnded(draw(st.none() | texts))]
            case "x":
                events.append(RedactedThinking(draw(texts)))
            case "c":
                events.append(
                    CallStarted(calls, f"id{calls}", draw(texts), draw(st.none() | texts))
                )
                calls += 1
            case "d" if calls:
                events.append(CallDelta(draw(st.integers(0, calls - 1)), draw(texts)))
    refuses = any(isinstance(event, RefusalDelta) for event in events)
    stopped = [LENGTH, CONTENT_FILTER] if refuses else [STOP, LENGTH, CONTENT_FILTER]
    reasons = [TOOL_CALLS] if calls else stopped
    events.append(Finished(draw(st.sampled_from(reasons)), draw(st.none() | texts)))
    events.append(UsageTold(1, 2, draw(tokens), draw(tokens), draw(tokens)))
    return [*events, Ended()]


def merged(events: Iterable[Event]) -> list[Event]:
    """The same with the pieces of a text in one, and usage, which may come anywhere, last."""
    found: list[Event] = []
    for item in events:
        last = found[-1] if found else None
        match last, item:
            case (TextDelta(a), TextDelta(b)):
                found[-1] = TextDelta(a + b)
            case (RefusalDelta(a), RefusalDelta(b)):
                found[-1] = RefusalDelta(a + b)
            case (ThinkingDelta(a), ThinkingDelta(b)):
                found[-1] = ThinkingDelta(a + b)
            case (CallDelta(i, a), CallDelta(j, b)) if i == j:
                found[-1] = CallDelta(i, a + b)
            case _:
                found.append(item)
    return sorted(found, key=lambda item: isinstance(item, UsageTold))


def said_in_chat(events: Iterable[Event]) -> list[Event]:
    """Less what this dialect has no words for: signatures of thinking, and where it parts.

    A call without arguments gets some.
    """
    found: list[Event] = []
    bare: dict[int, None] = {}
    for item in events:
        match item:
            case RedactedThinking():
                continue
            case ThinkingDelta() if found and isinstance(found[-1], ThinkingEnded):
                found[-1] = item
            case ThinkingEnded():
                found.append(ThinkingEnded())
            case Finished(reason):
                found += [*[CallDelta(index, "{}") for index in bare], Finished(reason)]
            case CallStarted(index) | CallDelta(index):
                bare |= {index: None}
                if isinstance(item, CallDelta):
                    del bare[index]
                found.append(item)
            case _:
                found.append(item)
    return found


@given(answers())
@quickly
def test_a_written_stream_reads_as_it_was_but_for_the_documented_losses(
    events: list[Event],
) -> None:
    stream = openai_chat.StreamWriter(ENVELOPE).write(events)
    joined = merged(events)
    kept: list[Event] = []
    for item in said_in_chat(joined):
        if isinstance(item, ThinkingDelta) and kept and isinstance(kept[-1], ThinkingDelta):
            kept[-1] = ThinkingDelta(kept[-1].text + item.text)
        else:
            kept.append(item)
    assert merged(read(stream)) == merged(kept)
    for written in datas(stream)[:-1]:
        ChatCompletionChunk.model_validate(written, strict=True)


def sums(events: Iterable[Event]) -> dict[str, object]:
    """What an answer came to, whatever its order."""
    found: dict[str, Any] = {"usage": UsageTold()}
    for item in events:
        match item:
            case TextDelta(text) | RefusalDelta(text) | ThinkingDelta(text):
                found[type(item).__name__] = found.get(type(item).__name__, "") + text
            case CallStarted(index, call_id, name, signature):
                found[f"call {index}"] = [call_id, name, signature, ""]
            case CallDelta(index, arguments):
                found[f"call {index}"][3] += arguments
            case Finished(reason):
                found["reason"] = reason
            case UsageTold():
                found["usage"] = found["usage"].merged(item)
            case Started(model):
                found["model"] = model
    return found


@given(answers())
@quickly
def test_a_written_answer_comes_to_the_same_as_its_stream(events: list[Event]) -> None:
    body = openai_chat.write_answer(events, ENVELOPE)
    ChatCompletion.model_validate_json(body, strict=True)
    expected = sums(events)
    for name, value in expected.items():
        if name.startswith("call ") and isinstance(value, list):
            value[3] = value[3] or "{}"
    assert sums(openai_chat.read_answer(body, "7")) == expected


def test_no_mutation_of_a_stream_raises_or_goes_on_after_its_end() -> None:
    chance = random.Random(7)
    streams = [stream for stream, _ in STREAMS.values()]
    alphabet = b'{}[]":,\n\r\\0e\xff x' + b"nulltrue"
    for _ in range(2_000):
        stream = bytearray(chance.choice(streams))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(stream))
            match chance.randrange(4):
                case 0:
                    stream[at] = chance.choice(alphabet)
                case 1:
                    del stream[at : at + chance.randint(1, 40)]
                case 2:
                    stream[at:at] = stream[at : at + chance.randint(1, 40)]
                case _:
                    stream[at:at] = bytes([chance.choice(alphabet)])
            stream = stream or bytearray(b" ")
        events = read(bytes(stream))
        endings = [isinstance(item, Ended | Failed) for item in events]
        assert endings == [False] * (len(events) - 1) + [True]
        whole = openai_chat.read_answer(bytes(stream).removeprefix(b"data: ").strip(), "7")
        assert isinstance(whole[-1], Ended | Failed)
