"""An answer on its way to a client of another dialect, for every client and every provider."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pytest
from aws_frames import event, exception

from extproc.access_log import Told
from extproc.dialects.answer import Envelope
from extproc.dialects.registry import CLIENTS, PROVIDERS
from extproc.dialects.sse import SseParser
from extproc.translation import AnswerHead, Piece, Translation
from extproc.vocabulary import Api, ReportedModel, Surface

JSON, SSE, AWS = "application/json", "text/event-stream", "application/vnd.amazon.eventstream"
ID = "01KDVDNA000000000000000007"
ASKED = ReportedModel("asked-for")


def events(*sent: tuple[str, object]) -> bytes:
    return b"".join(
        (b"event: %b\n" % name.encode() if name else b"")
        + b"data: %b\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode())
        for name, data in sent
    )


def anthropic_event(**fields: object) -> tuple[str, object]:
    return str(fields["type"]), fields


@dataclass(frozen=True)
class Said:
    """One answer of a provider, "Hello there.", as a stream and whole, and what it tells."""

    stream: bytes
    whole: bytes
    model: str
    content_type: str
    error: bytes
    telling: str = "Slow down."


SAID: Final[Mapping[Api, Said]] = {
    Api.OPENAI: Said(
        events(
            ("", {"id": "1", "model": "gpt-x", "choices": [{"delta": {"role": "assistant"}}]}),
            ("", {"id": "1", "model": "gpt-x", "choices": [{"delta": {"content": "Hello "}}]}),
            ("", {"id": "1", "model": "gpt-x", "choices": [{"delta": {"content": "there."}}]}),
            (*("", {"choices": [{"delta": {}, "finish_reason": "stop"}]}),),
            (
                "",
                {
                    "choices": [],
                    "usage": {
                        "prompt_tokens": 9,
                        "completion_tokens": 5,
                        "prompt_tokens_details": {"cached_tokens": 4},
                    },
                },
            ),
            ("", b"[DONE]"),
        ),
        json.dumps(
            {
                "id": "1",
                "model": "gpt-x",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "Hello there."},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 5,
                    "prompt_tokens_details": {"cached_tokens": 4},
                },
            }
        ).encode(),
        "gpt-x",
        SSE,
        b'{"error":{"message":"Slow down.","type":"requests","code":"rate_limit_exceeded"}}',
    ),
    Api.ANTHROPIC: Said(
        events(
            anthropic_event(
                type="message_start",
                message={
                    "model": "claude-x",
                    "usage": {
                        "input_tokens": 5,
                        "cache_read_input_tokens": 4,
                        "output_tokens": 1,
                    },
                },
            ),
            anthropic_event(
                type="content_block_start", index=0, content_block={"type": "text", "text": ""}
            ),
            anthropic_event(
                type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello "}
            ),
            anthropic_event(type="ping"),
            anthropic_event(
                type="content_block_delta", index=0, delta={"type": "text_delta", "text": "there."}
            ),
            anthropic_event(type="content_block_stop", index=0),
            anthropic_event(
                type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}
            ),
            anthropic_event(type="message_stop"),
        ),
        json.dumps(
            {
                "type": "message",
                "model": "claude-x",
                "content": [{"type": "text", "text": "Hello there."}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 5},
            }
        ).encode(),
        "claude-x",
        SSE,
        b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}',
    ),
    Api.GEMINI: Said(
        events(
            (
                "",
                {
                    "candidates": [{"content": {"parts": [{"text": "Hello "}]}}],
                    "modelVersion": "gemini-x",
                },
            ),
            (
                "",
                {
                    "candidates": [
                        {"content": {"parts": [{"text": "there."}]}, "finishReason": "STOP"}
                    ],
                    "modelVersion": "gemini-x",
                    "usageMetadata": {
                        "promptTokenCount": 9,
                        "cachedContentTokenCount": 4,
                        "candidatesTokenCount": 5,
                    },
                },
            ),
        ),
        json.dumps(
            {
                "candidates": [
                    {"content": {"parts": [{"text": "Hello there."}]}, "finishReason": "STOP"}
                ],
                "modelVersion": "gemini-x",
                "usageMetadata": {
                    "promptTokenCount": 9,
                    "cachedContentTokenCount": 4,
                    "candidatesTokenCount": 5,
                },
            }
        ).encode(),
        "gemini-x",
        SSE,
        b'{"error":{"code":429,"message":"Slow down.","status":"RESOURCE_EXHAUSTED"}}',
    ),
    Api.BEDROCK: Said(
        b"".join(
            [
                event("messageStart", role="assistant"),
                event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hello "}),
                event("contentBlockDelta", contentBlockIndex=0, delta={"text": "there."}),
                event("contentBlockStop", contentBlockIndex=0),
                event("messageStop", stopReason="end_turn"),
                event(
                    "metadata",
                    usage={"inputTokens": 5, "cacheReadInputTokens": 4, "outputTokens": 5},
                ),
            ]
        ),
        json.dumps(
            {
                "output": {"message": {"role": "assistant", "content": [{"text": "Hello there."}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 5, "cacheReadInputTokens": 4, "outputTokens": 5},
            }
        ).encode(),
        ASKED,  # Bedrock says of no answer which model it is
        AWS,
        b'{"message":"Slow down."}',
    ),
}

CLIENT_SURFACES: Final = (Surface.CHAT, Surface.RESPONSES, Surface.MESSAGES)

each_client = pytest.mark.parametrize("surface", CLIENT_SURFACES)
each_api = pytest.mark.parametrize("api", SAID)


def translation(
    surface: Surface,
    api: Api,
    *,
    status: int = 200,
    content_type: str | None = None,
    wants_stream: bool = False,
) -> Translation:
    if content_type is None:
        content_type = SAID[api].content_type if wants_stream and status == 200 else JSON
    return Translation(
        CLIENTS[surface],
        PROVIDERS[api],
        Envelope(ID, 1_767_225_600),
        ASKED,
        AnswerHead(status, content_type, wants_stream),
    )


def told_of(*pieces: Piece) -> Told:
    """What the one of `pieces` that tells says."""
    (told,) = (piece.told for piece in pieces if piece.told is not None)
    return msgspec.json.decode(told, type=Told)


def text_of(surface: Surface, body: bytes) -> str:
    """What a whole answer says, in words."""
    answer: Any = json.loads(body)
    match surface:
        case Surface.CHAT:
            found = answer["choices"][0]["message"]["content"]
        case Surface.RESPONSES:
            (message,) = [item for item in answer["output"] if item["type"] == "message"]
            found = "".join(part["text"] for part in message["content"])
        case _:
            found = "".join(block["text"] for block in answer["content"])
    assert isinstance(found, str)
    return found


def streamed_text(surface: Surface, body: bytes) -> str:
    """What a streamed answer says, if it is whole by the words of its dialect."""
    found = [(event.name, event.data) for event in SseParser().feed(body)]
    if surface is Surface.CHAT:
        assert found[-1][1] == b"[DONE]"
        chunks = [json.loads(data) for _, data in found[:-1]]
        return "".join(
            choice["delta"].get("content") or "" for c in chunks for choice in c["choices"]
        )
    told = [(name, json.loads(data)) for name, data in found]
    assert all(name == data["type"] for name, data in told)
    if surface is Surface.RESPONSES:
        assert told[-1][0] == "response.completed"
        return "".join(d["delta"] for n, d in told if n == "response.output_text.delta")
    assert told[-1][0] == "message_stop"
    deltas = [data["delta"] for name, data in told if name == "content_block_delta"]
    return "".join(delta["text"] for delta in deltas)


def model_of(surface: Surface, body: bytes) -> str:
    """The model that the first event of a stream, or a whole answer, names."""
    answer: Any = json.loads(body)
    if surface is Surface.RESPONSES:
        answer = answer.get("response", answer)
    if surface is Surface.MESSAGES:
        answer = answer.get("message", answer)
    assert isinstance(answer["model"], str)
    return answer["model"]


def error_of(surface: Surface, body: bytes) -> tuple[str, str]:
    """Type and words of an error in the client's dialect."""
    answer = json.loads(body)
    if surface is Surface.MESSAGES:
        assert answer["type"] == "error"
    else:
        assert answer.keys() == {"error"}
        assert answer["error"].keys() == {"message", "type", "param", "code"}
    return answer["error"]["type"], answer["error"]["message"]


def cut(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[at : at + size] for at in range(0, len(stream), size))


# Whole answers


@each_client
@each_api
def test_a_whole_answer_is_one_in_the_clients_dialect(surface: Surface, api: Api) -> None:
    said = SAID[api]
    one = translation(surface, api)
    assert (one.buffered, one.content_type) == (True, JSON)
    piece = one.whole(said.whole)
    assert text_of(surface, piece.body) == "Hello there."
    assert model_of(surface, piece.body) == said.model
    assert ID in json.loads(piece.body)["id"]
    assert piece.status is None
    assert told_of(piece) == Told(said.model, 9, 5, 4, whole=True)


@each_client
@each_api
def test_who_asked_for_a_stream_gets_one_though_the_provider_answered_whole(
    surface: Surface, api: Api
) -> None:
    one = translation(surface, api, wants_stream=True, content_type=JSON)
    assert (one.buffered, one.content_type) == (True, SSE)
    piece = one.whole(SAID[api].whole)
    assert streamed_text(surface, piece.body) == "Hello there."
    assert piece.status is None
    assert told_of(piece) == Told(SAID[api].model, 9, 5, 4, whole=True)


@each_client
@each_api
def test_who_asked_for_no_stream_gets_none_though_the_provider_streamed(
    surface: Surface, api: Api
) -> None:
    one = translation(surface, api, content_type=SAID[api].content_type)
    assert (one.buffered, one.content_type) == (True, JSON)
    piece = one.whole(SAID[api].stream)
    assert text_of(surface, piece.body) == "Hello there."
    assert told_of(piece) == Told(SAID[api].model, 9, 5, 4, whole=True)


@each_client
@each_api
def test_a_stream_that_nobody_asked_for_and_that_breaks_off_is_a_502(
    surface: Surface, api: Api
) -> None:
    one = translation(surface, api, content_type=SAID[api].content_type)
    piece = one.whole(SAID[api].stream[: begin_of_last_words(api)])
    assert piece.status == 502
    assert "broke off" in error_of(surface, piece.body)[1]
    assert not told_of(piece).whole


# Streams


@each_client
@each_api
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_stream_is_one_in_the_clients_dialect_wherever_it_is_cut(
    surface: Surface, api: Api, size: int
) -> None:
    said = SAID[api]
    one = translation(surface, api, wants_stream=True)
    assert (one.buffered, one.content_type) == (False, SSE)
    pieces = [one.piece(chunk, last=False) for chunk in cut(said.stream, size)]
    pieces.append(one.piece(b"", last=True))
    body = b"".join(piece.body for piece in pieces)
    assert streamed_text(surface, body) == "Hello there."
    assert model_of(surface, SseParser().feed(body)[0].data) == said.model
    assert told_of(*pieces) == Told(said.model, 9, 5, 4, whole=True)
    assert {piece.status for piece in pieces} == {None}


@each_client
@each_api
def test_what_came_is_passed_on_before_more_comes(surface: Surface, api: Api) -> None:
    one = translation(surface, api, wants_stream=True)
    stream = SAID[api].stream
    first = one.piece(stream[: begin_of_last_words(api)], last=False)
    assert b"Hello " in first.body
    assert first.told is None


@each_client
@each_api
def test_after_the_end_nothing_comes_and_nothing_is_told_again(surface: Surface, api: Api) -> None:
    one = translation(surface, api, wants_stream=True)
    # Nothing but the end of the bytes says that a stream of Gemini's is over.
    pieces = [one.piece(SAID[api].stream, last=api is Api.GEMINI)]
    assert told_of(*pieces).whole
    assert streamed_text(surface, pieces[0].body) == "Hello there."
    for chunk in (SAID[api].stream, b"\xff\x00", b""):
        assert one.piece(chunk, last=False) == Piece(b"")
        assert one.piece(chunk, last=True) == Piece(b"")


@each_client
@each_api
def test_a_stream_that_breaks_off_ends_in_an_error_and_is_told_of_as_not_whole(
    surface: Surface, api: Api
) -> None:
    begun = SAID[api].stream[: begin_of_last_words(api)]
    one = translation(surface, api, wants_stream=True)
    first, end = one.piece(begun, last=False), one.piece(b"", last=True)
    assert b"Hello " in first.body
    assert b"broke off" in end.body
    with pytest.raises((AssertionError, KeyError)):
        streamed_text(surface, first.body + end.body)
    told = told_of(first, end)
    assert (told.whole, told.model) == (False, SAID[api].model)
    assert one.piece(SAID[api].stream, last=True) == Piece(b"")


def begin_of_last_words(api: Api) -> int:
    """Where the event begins that ends what is said."""
    stream = SAID[api].stream
    words = stream.index(b"there.")
    if api is Api.BEDROCK:
        return stream.rindex(b":event-type", 0, words) - 13
    return stream.rindex(b"\n\n", 0, words) + 2


@each_client
@each_api
def test_a_stream_of_garbage_ends_in_an_error_at_once(surface: Surface, api: Api) -> None:
    garbage = b"\0" * 64 if api is Api.BEDROCK else b"data: {canary\n\n"
    one = translation(surface, api, wants_stream=True)
    pieces = [one.piece(garbage, last=False), one.piece(SAID[api].stream, last=True)]
    body = b"".join(piece.body for piece in pieces)
    assert b"could not be read" in body
    assert b"canary" not in body
    assert told_of(*pieces) == Told(ASKED, whole=False)


# Errors


@each_client
@each_api
@pytest.mark.parametrize("wants_stream", [False, True])
@pytest.mark.parametrize("content_type", [JSON, SSE, AWS, ""])
def test_a_providers_error_is_one_in_the_clients_dialect_under_its_status(
    surface: Surface, api: Api, content_type: str, *, wants_stream: bool
) -> None:
    one = translation(
        surface, api, status=429, content_type=content_type, wants_stream=wants_stream
    )
    assert (one.buffered, one.content_type) == (True, JSON)
    piece = one.whole(SAID[api].error)
    kind, words = error_of(surface, piece.body)
    assert words == "Slow down."
    assert kind == ("rate_limit_error" if surface is Surface.MESSAGES else "requests")
    assert piece.status is None
    assert told_of(piece) == Told(ASKED, whole=True)


@each_client
@each_api
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 429, 500, 503, 529])
def test_an_error_that_says_nothing_keeps_its_status_and_gets_words(
    surface: Surface, api: Api, status: int
) -> None:
    for body in (b"", b"<html>canary</html>", b"{}", b"\xff", b"null"):
        piece = translation(surface, api, status=status).whole(body)
        assert piece.status is None
        assert error_of(surface, piece.body)[1]
        assert b"canary" not in piece.body


@each_client
@each_api
@pytest.mark.parametrize("wants_stream", [False, True])
def test_an_answer_that_cannot_be_read_is_a_502(
    surface: Surface, api: Api, *, wants_stream: bool
) -> None:
    for body in (b"", b"{", b"[]", b"<html>canary</html>", b"\xff", b"[" * 5000):
        one = translation(surface, api, wants_stream=wants_stream, content_type=JSON)
        piece = one.whole(body)
        assert piece.status == 502
        assert "could not be read" in error_of(surface, piece.body)[1]
        assert b"canary" not in piece.body
        assert told_of(piece) == Told(ASKED, whole=False)


@each_client
def test_an_error_in_the_midst_of_a_stream_is_the_clients_and_the_end(surface: Surface) -> None:
    said = {
        Api.OPENAI: events(("", {"error": {"message": "Slow down.", "code": "x"}})),
        Api.ANTHROPIC: events(
            anthropic_event(
                type="error", error={"type": "overloaded_error", "message": "Slow down."}
            )
        ),
        Api.GEMINI: events(("", {"error": {"code": 503, "message": "Slow down."}})),
        Api.BEDROCK: exception("throttlingException", b'{"message":"Slow down."}'),
    }
    for api, error in said.items():
        one = translation(surface, api, wants_stream=True)
        stream = SAID[api].stream
        begun = stream[: stream.index(b"data: ", 10)] if api is not Api.BEDROCK else b""
        pieces = [one.piece(begun + error, last=False), one.piece(stream, last=False)]
        assert b"Slow down." in pieces[0].body
        assert pieces[1] == Piece(b"")
        assert told_of(*pieces).whole is False


@pytest.mark.parametrize("streams", [False, True])
def test_a_refusal_of_openais_is_one_for_a_client_of_anthropics(*, streams: bool) -> None:
    said = {"index": 0, "finish_reason": "stop"}
    name = "delta" if streams else "message"
    answer = {"model": "m", "choices": [said | {name: {"refusal": "I cannot."}}]}
    one = translation(
        Surface.MESSAGES,
        Api.OPENAI,
        wants_stream=streams,
        content_type=SSE if streams else JSON,
    )
    if streams:
        body = one.piece(events(("", answer), ("", b"[DONE]")), last=True).body
    else:
        body = one.whole(json.dumps(answer).encode()).body
    assert b'"stop_reason":"refusal"' in body
    assert b"I cannot." in body


# How it travels


@each_client
@each_api
@pytest.mark.parametrize("suffix", ["", "; charset=utf-8", ";x=y"])
def test_the_type_of_a_stream_may_have_parameters_and_any_case(
    surface: Surface, api: Api, suffix: str
) -> None:
    content_type = SAID[api].content_type + suffix
    for written in (content_type, content_type.title()):
        one = translation(surface, api, wants_stream=True, content_type=written)
        assert not one.buffered


@pytest.mark.parametrize("content_type", ["", JSON, "text/html", SSE])
def test_what_is_no_stream_of_the_providers_is_taken_whole(content_type: str) -> None:
    one = translation(Surface.CHAT, Api.BEDROCK, wants_stream=True, content_type=content_type)
    assert one.buffered


def test_usage_that_is_told_in_pieces_is_told_of_once_and_whole() -> None:
    one = translation(Surface.CHAT, Api.ANTHROPIC, wants_stream=True)
    told = told_of(one.piece(SAID[Api.ANTHROPIC].stream, last=True))
    assert (told.input_tokens, told.output_tokens, told.cache_read_tokens) == (9, 5, 4)
    silent = translation(Surface.CHAT, Api.OPENAI)
    answer = json.loads(SAID[Api.OPENAI].whole)
    del answer["usage"], answer["model"]
    assert told_of(silent.whole(json.dumps(answer).encode())) == Told(ASKED)
