"""How Gemini's answers and errors are read, however they are cut, broken or made up."""

import json
import random
from collections.abc import Mapping, Sequence

import pytest
from cuts import check_every_cut, fed
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
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
from extproc.dialects.gemini import StreamReader, read_answer, read_error
from extproc.vocabulary import Refusal, ReportedModel

MODEL = "gemini-2.5-flash"
STARTED = Started(ReportedModel(MODEL))
ID = "01J"


def piece(*parts: object, finish: str | None = None, **fields: object) -> dict[str, object]:
    """A GenerateContentResponse with these parts."""
    candidate: dict[str, object] = {"content": {"parts": [*parts], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1"} | fields


def stream_of(*pieces: object) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(each).encode() for each in pieces)


def text(text: str, **fields: object) -> dict[str, object]:
    return {"text": text} | fields


def call(name: str, args: object, *, signature: str | None = None, **fields: object) -> object:
    part: dict[str, object] = {"functionCall": {"name": name, "args": args} | fields}
    return part | ({"thoughtSignature": signature} if signature else {})


USAGE = {
    "promptTokenCount": 10,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 22,
}
TOLD = UsageTold(10, 12, 4, None, 7)
QUOTA = {"code": 429, "message": "Quota is used up.", "status": "RESOURCE_EXHAUSTED"}

# Streams by the documented format, and what they mean.
STREAMS: Mapping[str, tuple[bytes, Sequence[Event]]] = {
    "text": (
        stream_of(
            piece(text("Hel"), usageMetadata={"promptTokenCount": 10}),
            piece(text("lo, żółw 🐢")),
            piece(text(""), finish="STOP", usageMetadata=USAGE),
        ),
        [
            STARTED,
            TextDelta("Hel"),
            UsageTold(10, 0),
            TextDelta("lo, żółw 🐢"),
            TOLD,
            Finished(FinishReason.STOP),
            Ended(),
        ],
    ),
    "thoughts": (
        stream_of(
            piece(text("Let me ", thought=True)),
            piece(text("see.", thought=True, thoughtSignature="c2ln")),
            piece(text("4"), finish="STOP"),
            piece(text("2", thoughtSignature="c2ln"), finish="STOP"),
        ),
        [
            STARTED,
            ThinkingDelta("Let me "),
            ThinkingDelta("see."),
            ThinkingEnded(),
            TextDelta("4"),
            TextDelta("2"),
            Finished(FinishReason.STOP),
            Ended(),
        ],
    ),
    "parallel calls": (
        stream_of(
            piece(text("Hm.", thought=True)),
            piece(
                call("clock", {"zone": "UTC", "at": [1, {}]}, signature="c2ln", id="fc1"),
                call("date", {}),
            ),
            piece({"functionCall": {"name": "stop"}}, finish="STOP"),
        ),
        [
            STARTED,
            ThinkingDelta("Hm."),
            ThinkingEnded(),
            CallStarted(0, "fc1", "clock", "c2ln"),
            CallDelta(0, '{"zone":"UTC","at":[1,{}]}'),
            CallStarted(1, "call_01J_1", "date"),
            CallDelta(1, "{}"),
            CallStarted(2, "call_01J_2", "stop"),
            CallDelta(2, "{}"),
            Finished(FinishReason.TOOL_CALLS),
            Ended(),
        ],
    ),
    "a blocked prompt": (
        stream_of(
            {
                "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []},
                "usageMetadata": {"promptTokenCount": 3},
                "modelVersion": MODEL,
            }
        ),
        [
            STARTED,
            UsageTold(3, 0),
            RefusalDelta("The provider blocked the prompt (PROHIBITED_CONTENT)."),
            Finished(FinishReason.CONTENT_FILTER),
            Ended(),
        ],
    ),
    "too many tokens": (
        stream_of(piece(text("Once", thought=True), finish="MAX_TOKENS")),
        [
            STARTED,
            ThinkingDelta("Once"),
            ThinkingEnded(),
            Finished(FinishReason.LENGTH),
            Ended(),
        ],
    ),
    "an error midway": (
        stream_of(piece(text("Once")), {"error": QUOTA}, piece(text("more"), finish="STOP")),
        [
            STARTED,
            TextDelta("Once"),
            Failed(Refusal("rate_limited", 429, "rate_limit_exceeded", "Quota is used up.")),
        ],
    ),
    "stopped for safety": (
        stream_of(
            piece(text("Once"), usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 1}),
            {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 3}},
        ),
        [
            STARTED,
            TextDelta("Once"),
            UsageTold(3, 1),
            Finished(FinishReason.CONTENT_FILTER),
            Ended(),
        ],
    ),
    "broken off": (
        stream_of(piece(text("Once"), usageMetadata={"promptTokenCount": 3})),
        [STARTED, TextDelta("Once"), UsageTold(3, 0), broken_off()],
    ),
    "not JSON": (
        stream_of(piece(text("Once"))) + b"data: {oops\n\ndata: {}\n\n",
        [STARTED, TextDelta("Once"), malformed()],
    ),
    "what nobody asked for": (
        stream_of(
            piece({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
            piece({"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}),
            piece(text("Done."), {"unheardOf": 1}, finish="STOP", groundingMetadata={}),
        ),
        [STARTED, TextDelta("Done."), Finished(FinishReason.STOP), Ended()],
    ),
    "nothing": (b"", [broken_off()]),
}


def read(*chunks: bytes) -> list[Event]:
    reader = StreamReader(ID)
    events = fed(reader, *chunks)
    assert reader.feed(stream_of(piece(text("late")))) == reader.end() == []
    return events


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_the_same_wherever_it_is_cut(name: str) -> None:
    check_every_cut(read, *STREAMS[name])


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_ends_early_is_never_taken_for_whole(name: str) -> None:
    stream, events = STREAMS[name]
    whole = len(stream) - len(b"\r\n")
    for cut in range(whole):
        found = read(stream[:cut])
        assert isinstance(found[-1], Failed) or b'"finishReason"' in stream[:cut]
        assert found[:-1] == [*events[: len(found) - 1]] or isinstance(found[-1], Ended)


def is_well_formed(events: Sequence[Event]) -> bool:
    """By the grammar of answers."""
    *most, last = events
    if isinstance(last, Ended):
        if not most or not isinstance(most.pop(), Finished):
            return False
    elif not isinstance(last, Failed):
        return False
    if not most:
        return isinstance(last, Failed)
    calls = [event for event in most if isinstance(event, CallStarted)]
    thinking = [isinstance(e, ThinkingDelta) for e in most if not isinstance(e, UsageTold)]
    ended = [isinstance(e, ThinkingEnded) for e in most if not isinstance(e, UsageTold)]
    runs_end = all(thinking[n + 1] or ended[n + 1] for n in range(len(thinking) - 1) if thinking[n])
    return (
        isinstance(most[0], Started)
        and not any(isinstance(e, Started | Finished | Ended | Failed) for e in most[1:])
        and [event.index for event in calls] == [*range(len(calls))]
        and runs_end
    )


def test_mutated_streams_never_raise_and_stay_well_formed() -> None:
    chance = random.Random(7)
    streams = [stream for stream, _ in STREAMS.values() if stream]
    pieces = [
        b"null",
        b"{",
        b"}",
        b"[",
        b'"',
        b"\xff",
        b"\\ud800",
        b"-1",
        b"1e999",
        b"\n\n",
        b"[" * 2000,
    ]
    for _ in range(2000):
        stream = bytearray(chance.choice(streams))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(stream))
            match chance.randrange(4):
                case 0:
                    stream[at] = chance.randrange(256)
                case 1:
                    del stream[at : at + chance.randint(1, 20)]
                case 2:
                    stream[at:at] = chance.choice(pieces)
                case _:
                    stream[at:at] = stream[: chance.randrange(len(stream))]
            stream = stream or bytearray(b"x")
        cut = chance.randrange(len(stream) + 1)
        assert is_well_formed(read(bytes(stream[:cut]), bytes(stream[cut:])))


def test_an_event_without_end_is_malformed() -> None:
    reader = StreamReader(ID)
    found: list[Event] = []
    for _ in range(70):
        found += reader.feed(b"data: " + b"x" * 65_536)
    assert found == [malformed()]
    assert reader.end() == []


@pytest.mark.parametrize(
    ("reason", "finished"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("LANGUAGE", FinishReason.CONTENT_FILTER),
        ("BLOCKLIST", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("SPII", FinishReason.CONTENT_FILTER),
        ("MODEL_ARMOR", FinishReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
        ("IMAGE_PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("IMAGE_RECITATION", FinishReason.CONTENT_FILTER),
    ],
)
def test_an_answer_finishes_for_a_reason(reason: str, finished: FinishReason) -> None:
    events = read_answer(json.dumps(piece(text("Hi"), finish=reason)).encode(), ID)
    assert events == [STARTED, TextDelta("Hi"), Finished(finished), Ended()]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
        ("UNEXPECTED_TOOL_CALL", "UNEXPECTED_TOOL_CALL"),
        ("OTHER", "OTHER"),
        ("BRAND_NEW", "BRAND_NEW"),
        ("<b>", "answer_unusable"),
    ],
)
def test_an_answer_that_ends_without_one_is_a_failure(reason: str, code: str) -> None:
    body = json.dumps(piece(finish=reason, usageMetadata=USAGE)).encode()
    *most, last = read_answer(body, ID)
    assert most == [STARTED, TOLD]
    assert isinstance(last, Failed)
    assert (last.error.kind, last.error.status, last.error.code) == ("upstream_failed", 502, code)


def test_calls_that_were_cut_off_are_no_reason_to_run_them() -> None:
    events = read_answer(json.dumps(piece(call("f", {}), finish="MAX_TOKENS")).encode(), ID)
    assert events[-2:] == [Finished(FinishReason.LENGTH), Ended()]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (USAGE, TOLD),
        ({"promptTokenCount": 3}, UsageTold(3, 0)),
        ({"promptTokenCount": 3, "toolUsePromptTokenCount": 4}, UsageTold(7, 0)),
        ({"candidatesTokenCount": 3}, UsageTold(output_tokens=3)),
        ({"thoughtsTokenCount": 3}, UsageTold(output_tokens=3, reasoning_tokens=3)),
        ({"promptTokenCount": None, "totalTokenCount": 9}, UsageTold(output_tokens=0)),
        (None, None),
        ({"promptTokenCount": -1}, None),
        ({"promptTokenCount": 2**60}, None),
        ({"promptTokenCount": "3"}, None),
        ({"promptTokenCount": 1.5}, None),
        ([], None),
        ("many", None),
    ],
)
def test_usage_is_told_by_our_convention_and_nonsense_is_not(
    usage: object, told: UsageTold | None
) -> None:
    events = read_answer(json.dumps(piece(finish="STOP", usageMetadata=usage)).encode(), ID)
    assert usage_of(events) == told
    assert isinstance(events[-1], Ended)


def test_the_usage_that_each_piece_repeats_is_told_once() -> None:
    stream = stream_of(*[piece(text("a"), finish="STOP", usageMetadata=USAGE)] * 3)
    assert read(stream).count(TOLD) == 1


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (piece(text("Hi"), finish="STOP"), [TextDelta("Hi"), Finished(FinishReason.STOP), Ended()]),
        (piece(text("Hi")), [TextDelta("Hi"), broken_off()]),
        (piece(finish="STOP"), [Finished(FinishReason.STOP), Ended()]),
        ({"candidates": [], "modelVersion": MODEL}, [broken_off()]),
        ({"candidates": None, "modelVersion": MODEL}, [broken_off()]),
        (piece({"functionCall": {"name": "f", "args": [1]}}, finish="STOP"), [malformed()]),
        (
            {"candidates": [{"finishReason": "SAFETY"}], "modelVersion": MODEL},
            [Finished(FinishReason.CONTENT_FILTER), Ended()],
        ),
        (
            {"promptFeedback": {"blockReason": "<b>"}, "modelVersion": MODEL},
            [
                RefusalDelta("The provider blocked the prompt."),
                Finished(FinishReason.CONTENT_FILTER),
                Ended(),
            ],
        ),
    ],
)
def test_a_whole_answer_is_read_as_a_stream_of_one_piece(
    body: object, events: Sequence[Event]
) -> None:
    written = json.dumps(body, indent=2).encode()
    assert read_answer(written, ID) == [STARTED, *events]
    assert read(stream_of(body)) == [STARTED, *events]


def test_arguments_keep_their_numbers_and_lose_only_blanks() -> None:
    args = b'{ "n": 1.50e2,\n "big": 123456789012345678901234567890, "s": " \\u00f3 " }'
    body = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":%b}}]}}]}'
    deltas = [e for e in read_answer(body % args, ID) if isinstance(e, CallDelta)]
    written = '{"n":1.50e2,"big":123456789012345678901234567890,"s":" \\u00f3 "}'
    assert deltas == [CallDelta(0, written)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"candidates":5}',
        b'{"candidates":[{"content":{"parts":[{"text":5}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"\\ud800"}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{}}}]}}]}',
        b'{"candidates":' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_none_is_malformed(body: bytes) -> None:
    assert read_answer(body, ID) == [malformed()]


@pytest.mark.parametrize(
    ("error", "status"),
    [({"code": 503}, 503), ({"code": 200}, 502), ({"code": None}, 502), ({}, 502)],
)
def test_an_error_in_place_of_an_answer_is_a_failure(
    error: Mapping[str, object], status: int
) -> None:
    [failed] = read_answer(json.dumps({"error": error}).encode(), ID)
    assert isinstance(failed, Failed)
    assert failed.error.status == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"),
        (401, "authentication"),
        (403, "permission"),
        (404, "not_found"),
        (409, "invalid_request"),
        (413, "too_large"),
        (429, "rate_limited"),
        (499, "invalid_request"),
        (500, "upstream_failed"),
        (503, "overloaded"),
        (504, "upstream_failed"),
    ],
)
def test_an_error_keeps_its_status_which_says_its_kind(status: int, kind: str) -> None:
    error = {"code": status, "message": "No.", "status": "SOME_CODE"}
    for body in ({"error": error}, [{"error": error}]):
        found = read_error(status, json.dumps(body).encode())
        assert (found.kind, found.status, found.message) == (kind, status, "No.")


def test_a_wrong_key_is_a_matter_of_authentication_though_its_status_is_400() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.Help"}, {"reason": "API_KEY_INVALID"}]
    body = {"error": {"status": "INVALID_ARGUMENT", "message": "Bad key.", "details": details}}
    found = read_error(400, json.dumps(body).encode())
    assert found == Refusal("authentication", 400, "invalid_api_key", "Bad key.")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"\xff",
        b'{"error":"text"}',
        b'{"error":{"message":5}}',
        b'{"error":{"message":"","status":""}}',
        b'{"error":{"details":' + b"[" * 100_000,
    ],
)
def test_an_error_that_cannot_be_read_is_one_all_the_same(body: bytes) -> None:
    expected = Refusal("invalid_request", 400, "invalid_request", "The provider gave no reason.")
    assert read_error(400, body) == expected


@pytest.mark.parametrize("details", [None, 5, [5], [{"reason": 5}], {"reason": "API_KEY_INVALID"}])
def test_details_of_any_shape_do_no_harm(details: object) -> None:
    body = json.dumps({"error": {"status": "X", "message": "No.", "details": details}}).encode()
    assert read_error(400, body) == Refusal("invalid_request", 400, "invalid_request", "No.")


def test_messages_have_a_bound() -> None:
    body = json.dumps({"error": {"status": "not a code", "message": "x" * 5000}}).encode()
    found = read_error(500, body)
    assert (found.code, found.message) == ("upstream_error", "x" * 2000)


@given(st.integers(100, 599), st.binary(max_size=60))
@settings(deadline=None, max_examples=100, database=None)
def test_whatever_bytes_come_an_error_keeps_its_status(status: int, body: bytes) -> None:
    assert read_error(status, body).status == status
    assert is_well_formed(read_answer(body, ID))
