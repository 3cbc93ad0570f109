"""How answers are written for clients of the responses API, whole and as streams."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import APIError
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter
from sdk_clients import openai_sent

from extproc.dialects import openai_responses
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
)
from extproc.dialects.openai_responses import StreamWriter, write_answer
from extproc.dialects.openai_responses import output as output_module
from extproc.dialects.sse import SseParser
from extproc.vocabulary import Refusal, ReportedModel

STARTED = Started(ReportedModel("model-1"))
STOPPED = Finished(FinishReason.STOP)
LIMITED = Failed(Refusal("rate_limited", 429, "too_fast", "Slow down."))
ENVELOPE = openai_responses.envelope(b'{"input":"Hi"}', "abc123", 1_700_000_000)
Json = Mapping[str, Any]

_event = TypeAdapter[BaseModel](ResponseStreamEvent)


def valid(event: Json) -> Json:
    """`event`, once the SDK's types take it and know all of it, but for what an error adds."""
    read = _event.validate_python(event)
    assert type(read).model_fields["type"].annotation.__args__ == (event["type"],)  # type: ignore[union-attr]
    assert set(read.model_extra or ()) <= ({"error"} if event["type"] == "error" else set())
    return event


def stream_of(events: Iterable[Event], envelope: Envelope = ENVELOPE) -> bytes:
    writer = StreamWriter(envelope)
    return b"".join([writer.write([event]) for event in events])


def told(written: bytes) -> list[Json]:
    events = []
    for sent in SseParser().feed(written):
        event = json.loads(sent.data)
        assert sent.name == event["type"]
        events.append(valid(event))
    return events


def answer_of(*events: Event, envelope: Envelope = ENVELOPE) -> Json:
    answer: Json = json.loads(write_answer(events, envelope))
    Response.model_validate(answer)
    return answer


def test_text_is_told_in_the_order_of_the_api_reference() -> None:
    usage = UsageTold(7, 2)
    events = told(stream_of([STARTED, TextDelta("Hel"), TextDelta("lo"), STOPPED, usage, Ended()]))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == [*range(10)]
    assert [event.get("delta") for event in events[4:6]] == ["Hel", "lo"]
    assert events[6]["text"] == "Hello"
    assert events[0]["response"]["status"] == "in_progress"
    assert events[-1]["response"]["output"] == [events[8]["item"]]


def test_thinking_and_calls_are_told_in_the_order_of_the_api_reference() -> None:
    events = told(
        stream_of(
            [
                *(STARTED, ThinkingDelta("Hm."), ThinkingEnded("signed")),
                *(CallStarted(0, "c1", "clock"), CallDelta(0, "{}"), RefusalDelta("No.")),
                *(Finished(FinishReason.TOOL_CALLS), Ended()),
            ]
        )
    )
    assert [event["type"].removeprefix("response.") for event in events[2:]] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_a_whole_answer_is_a_response_object() -> None:
    answer = answer_of(
        *(STARTED, ThinkingDelta("H"), ThinkingDelta("m."), ThinkingEnded()),
        *(TextDelta("Hel"), TextDelta("lo"), RefusalDelta("No.")),
        *(CallStarted(0, "c1", "clock"), CallDelta(0, '{"a":'), CallDelta(0, "1}")),
        *(UsageTold(7, 2, 3, 1, 1), Finished(FinishReason.TOOL_CALLS), Ended()),
    )
    assert answer["id"] == "resp_abc123"
    assert answer["created_at"] == 1_700_000_000
    assert (answer["model"], answer["status"]) == ("model-1", "completed")
    assert answer["output"] == [
        {
            "id": "rs_abc123_0",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "status": "completed",
        },
        {
            "id": "msg_abc123_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {
            "id": "fc_abc123_2",
            "type": "function_call",
            "status": "completed",
            "call_id": "c1",
            "name": "clock",
            "arguments": '{"a":1}',
        },
    ]
    assert answer["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 9,
    }


def test_usage_is_null_where_no_provider_told_it() -> None:
    assert answer_of(STARTED, STOPPED, Ended())["usage"] is None


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        (FinishReason.STOP, "completed", None),
        (FinishReason.TOOL_CALLS, "completed", None),
        (FinishReason.LENGTH, "incomplete", {"reason": "max_output_tokens"}),
        (FinishReason.CONTENT_FILTER, "incomplete", {"reason": "content_filter"}),
    ],
)
def test_an_answer_that_was_cut_is_incomplete_and_says_why(
    reason: FinishReason, status: str, why: Json | None
) -> None:
    events: list[Event] = [STARTED, TextDelta("Hel"), Finished(reason), Ended()]
    answer = answer_of(*events)
    assert (answer["status"], answer["incomplete_details"]) == (status, why)
    assert answer["output"][0]["status"] == status
    last = told(stream_of(events))[-1]
    assert (last["type"], last["response"]) == (f"response.{status}", answer)


def test_a_call_without_arguments_has_an_empty_object() -> None:
    events: list[Event] = [STARTED, CallStarted(0, "c", "clock"), STOPPED, Ended()]
    assert answer_of(*events)["output"][0]["arguments"] == "{}"
    assert [e["delta"] for e in told(stream_of(events)) if "delta" in e] == ["{}"]


def test_redacted_thinking_and_empty_deltas_are_not_told() -> None:
    quiet: list[Event] = [RedactedThinking("x"), TextDelta(""), ThinkingDelta(""), ThinkingEnded()]
    assert answer_of(STARTED, *quiet, STOPPED, Ended())["output"] == []


ASKED: dict[str, object] = {
    "instructions": "Be\nbrief.",
    "metadata": {"a": "b"},
    "temperature": 0.5,
    "top_p": 0.9,
    "tools": [
        {"type": "function", "name": "clock", "parameters": {"type": "object"}, "strict": True}
    ],
    "tool_choice": {"type": "function", "name": "clock"},
    "parallel_tool_calls": False,
    "max_output_tokens": 77,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_object"}},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
}


def test_an_answer_repeats_its_request() -> None:
    body = json.dumps({"input": "Hi", "store": True} | ASKED, indent=2).encode()
    answer = answer_of(
        STARTED, STOPPED, Ended(), envelope=openai_responses.envelope(body, "abc", 1)
    )
    assert {name: answer[name] for name in ASKED} == ASKED
    assert answer["store"] is False


@pytest.mark.parametrize("body", [b'{"input":"Hi"}', b"", b'{"tools":' + b"[" * 10_000])
def test_what_the_request_does_not_say_is_answered_with_the_defaults(body: bytes) -> None:
    answer = answer_of(
        STARTED, STOPPED, Ended(), envelope=openai_responses.envelope(body, "abc", 1)
    )
    assert {name: answer[name] for name in ASKED} == {
        "instructions": None,
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": None,
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}},
        "user": None,
        "safety_identifier": None,
        "prompt_cache_key": None,
    }
    nothing = json.dumps(dict.fromkeys(ASKED)).encode()
    assert openai_responses.envelope(nothing, "abc", 1) == openai_responses.envelope(body, "abc", 1)


def test_a_request_of_several_lines_does_not_break_the_events_that_repeat_it() -> None:
    body = json.dumps({"input": "Hi"} | ASKED, indent=2).encode()
    written = stream_of([STARTED, STOPPED, Ended()], openai_responses.envelope(body, "abc", 1))
    assert [event["type"] for event in told(written)] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]


# Failures


def sdk_stream(written: bytes) -> list[Any]:
    """What OpenAI's SDK makes of `written`."""
    with openai_sent(written) as client:
        return [*client.responses.create(model="m", input="Hi", stream=True)]


def test_openais_sdk_reads_a_stream_to_its_end() -> None:
    events = sdk_stream(stream_of([STARTED, TextDelta("Hello"), STOPPED, Ended()]))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "Hello"


def test_openais_sdk_puts_the_pieces_together_itself() -> None:
    written = stream_of(
        [
            *(STARTED, ThinkingDelta("Hm."), TextDelta("Hello"), CallStarted(0, "c", "clock")),
            *(CallStarted(1, "d", "bell"), CallDelta(1, "{}"), CallDelta(0, '{"a":1}')),
            *(TextDelta("Bye"), Finished(FinishReason.TOOL_CALLS), Ended()),
        ]
    )
    with (
        openai_sent(written) as client,
        client.responses.stream(model="m", input="Hi") as stream,
    ):
        assert stream.get_final_response().output_text == "HelloBye"


@pytest.mark.parametrize("before", [[], [STARTED], [STARTED, TextDelta("Hel")]])
@pytest.mark.parametrize("failed", [broken_off(), LIMITED])
def test_openais_sdk_raises_on_a_failure(before: list[Event], failed: Failed) -> None:
    with pytest.raises(APIError) as caught:
        sdk_stream(stream_of([*before, failed]))
    assert caught.value.message == failed.error.message
    assert caught.value.code == failed.error.code


def test_a_response_that_began_is_said_to_have_failed_first() -> None:
    *_, failed, error = told(stream_of([STARTED, TextDelta("Hel"), LIMITED]))
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}
    assert error["type"] == "error"
    assert (error["code"], error["message"]) == ("too_fast", "Slow down.")
    assert error["error"]["code"] == "too_fast"


def test_a_failure_before_anything_was_written_is_an_error_alone() -> None:
    assert [event["type"] for event in told(stream_of([LIMITED]))] == ["error"]


def test_nothing_follows_the_end() -> None:
    for end in (Ended(), LIMITED):
        writer = StreamWriter(ENVELOPE)
        assert writer.write([STARTED, end])
        assert writer.write([STARTED, TextDelta("more"), STOPPED, Ended(), LIMITED]) == b""


def test_a_whole_answer_that_failed_is_the_bodys_error() -> None:
    answers: list[list[Event]] = [[STARTED, broken_off()], [STARTED, TextDelta("Hel")], []]
    for events in answers:
        error = json.loads(write_answer(events, ENVELOPE))["error"]
        assert error["code"] == "answer_truncated"


def test_an_answer_too_long_to_be_repeated_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "ANSWER_CHARS_MAX", 10 + 2 * 32)
    pieces: list[list[Event]] = [
        [TextDelta("1")] * 3,
        [ThinkingDelta("12345"), RefusalDelta("123456")],
        [CallStarted(0, "c", "1234567"), CallDelta(0, "12")],
        [CallStarted(0, "c" * 10, "n")],
    ]
    for events in pieces:
        whole: list[Event] = [STARTED, *events, STOPPED, Ended()]
        assert [event["type"] for event in told(stream_of(whole))][-2:] == [
            "response.failed",
            "error",
        ]
        assert json.loads(write_answer(whole, ENVELOPE))["error"]["code"] == "answer_too_long"


# The choreography, over any answer

texts = st.sampled_from(["a", "żółw", "\n", '"', "\u2028", "🐢", ""])
deltas = st.one_of(
    texts.map(TextDelta),
    texts.map(RefusalDelta),
    texts.map(ThinkingDelta),
    st.just(ThinkingEnded("s")),
    st.just(RedactedThinking("r")),
    st.integers(0, 3).map(lambda i: CallStarted(i, f"c{i}", "clock")),
    st.builds(CallDelta, st.integers(0, 3), texts),
    st.builds(UsageTold, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
)
finishes = st.sampled_from([Finished(reason) for reason in FinishReason])

PIECES = {
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.refusal.delta": ("response.refusal.done", "refusal"),
    "response.reasoning_summary_text.delta": ("response.reasoning_summary_text.done", "text"),
    "response.function_call_arguments.delta": (
        "response.function_call_arguments.done",
        "arguments",
    ),
}


def place_of(event: Json) -> tuple[object, ...]:
    names = ("item_id", "output_index", "content_index", "summary_index")
    return tuple(event.get(name) for name in names)


def sums(events: Sequence[Json]) -> dict[tuple[object, ...], str]:
    """What the deltas come to, by place and by the event that has to repeat it."""
    found: dict[tuple[object, ...], str] = {}
    for event in events:
        if event["type"] in PIECES:
            key = (*PIECES[event["type"]], place_of(event))
            found[key] = found.get(key, "") + event["delta"]
    return found


def wholes(events: Sequence[Json]) -> dict[tuple[object, ...], str]:
    return {
        (done, name, place_of(event)): event[name]
        for event in events
        for done, name in PIECES.values()
        if event["type"] == done
    }


@given(st.lists(deltas, max_size=12), finishes, st.integers(1, 5))
@settings(deadline=None, max_examples=100, database=None)
def test_whatever_is_answered_the_choreography_is_kept(
    pieces: list[Event], finish: Event, cut: int
) -> None:
    answer = [STARTED, *pieces, finish, Ended()]
    writer = StreamWriter(ENVELOPE)
    written = [writer.write(answer[i : i + cut]) for i in range(0, len(answer), cut)]
    events = told(b"".join(written))
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] in {"response.completed", "response.incomplete"}

    added = [e for e in events if e["type"] == "response.output_item.added"]
    done = {e["output_index"]: e for e in events if e["type"] == "response.output_item.done"}
    assert [event["output_index"] for event in added] == [*range(len(added))]
    assert [done[i]["item"]["id"] for i in range(len(done))] == [e["item"]["id"] for e in added]
    assert len({event["item"]["id"] for event in added}) == len(added)

    for item in added:
        index = item["output_index"]
        within = [e for e in events if e.get("output_index") == index]
        assert (within[0], within[-1]) == (item, done[index])
        parts = [e for e in within if e["type"].endswith("part.added")]
        numbers = [e.get("content_index", e.get("summary_index")) for e in parts]
        assert numbers == [*range(len(parts))]
        assert len([e for e in within if e["type"].endswith("part.done")]) == len(parts)

    assert sums(events) == wholes(events)
    response = events[-1]["response"]
    assert response["output"] == [done[i]["item"] for i in range(len(done))]
    assert json.loads(write_answer(answer, ENVELOPE)) == response
    Response.model_validate(response)


@given(st.lists(st.one_of(deltas, finishes, st.just(STARTED), st.just(LIMITED)), max_size=10))
@settings(deadline=None, max_examples=100, database=None)
def test_events_in_no_order_at_all_are_written_as_valid_ones(events: list[Event]) -> None:
    written = told(stream_of([*events, Ended()]))
    types = Counter(event["type"] for event in written)
    ends = {"response.completed", "response.incomplete", "error"}
    assert sum(types[end] for end in ends) == 1
    assert written[-1]["type"] in ends
