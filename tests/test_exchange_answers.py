"""Exchanges of every API: what of an answer is wanted, and how the router itself answers."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from configs import CATCH_ALL, CHAT, HELLO, body_of, snapshot_of
from playbook import DRAW, NOW, Broke, Playbook, Refused, Sent, body, headers

from extproc.decide import decision_id
from extproc.exchange import (
    UNKNOWN_PATH,
    Answer,
    AnswerBody,
    AnswerHeaders,
    Event,
    Exchange,
    PassOn,
    Proceed,
    Reply,
    RequestBody,
    Rewritten,
    TakeAnswer,
)
from extproc.plan import Forward
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import TargetId

JSON, SSE = "application/json", "text/event-stream"
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
RESPONSES, EMBEDDINGS = "/v1/responses", "/v1/embeddings"

WORLD = """
providers:
  north: { baseUrl: http://north.test/v1 }
  claude: { api: anthropic, baseUrl: http://claude.test }
models:
  gpt: { targets: [{provider: north}], contextWindow: 90000 }
  opus: { targets: [{provider: claude}], contextWindow: 90000, maxOutputTokens: 900 }
  embedder: { targets: [{provider: north}], contextWindow: 90000, capabilities: {embeddings: true} }
routes:
  - { match: {path: /embed/*}, candidates: [gpt, embedder] }
  - { match: {path: /gpt/*}, model: gpt }
  - { match: {default: true}, candidates: [gpt, opus] }
"""


@cache
def world() -> Snapshot:
    return snapshot_of(WORLD)


BOTH = Sent("north/gpt", "claude/opus", translated=["claude/opus"])
ANY: dict[str, Any] = {"messages": HELLO, "max_tokens": 9, "input": "Hello"}
"""A payload of any of the APIs."""

CLAUDE_SAYS = {
    "type": "message",
    "model": "claude-x",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
CLAUDE_STREAMS = b"".join(
    b"event: %b\ndata: %b\n\n" % (str(data["type"]).encode(), json.dumps(data).encode())
    for data in (
        {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    )
)
TOLD = {"model": "claude-x", "input_tokens": 3, "output_tokens": 2}


def head(
    target: str | None = "claude/opus",
    status: int = 200,
    content_type: str = JSON,
    *,
    end_of_stream: bool = False,
    from_provider: bool = True,
) -> AnswerHeaders:
    named = {} if target is None else {"x-router-target": target}
    told = {":status": str(status), "content-type": content_type, **named}
    return AnswerHeaders(told, end_of_stream, from_provider)


def replies(exchange: Exchange, *events: Event) -> list[Reply]:
    return [exchange.receive(event, now=NOW, draw=DRAW) for event in events]


def begun(path: str = CHAT, **fields: object) -> Exchange:
    """An exchange that awaits the answer to what it has sent on."""
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    *_, sent = replies(exchange, headers(path), body(**fields))
    assert isinstance(sent, Forward)
    assert not exchange.finished
    return exchange


# Whose answer it is


@pytest.mark.parametrize("end_of_stream", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        head("north/gpt"),
        head("north/gpt", 500),
        head("north/gpt", content_type=SSE),
        head(None),
        head("of/nobody"),
        head("claude/opus", 504, from_provider=False),
        head("claude/opus", 200, from_provider=False),
        head(None, 503, from_provider=False),
    ],
)
def test_an_answer_that_is_right_as_it_is_is_passed_on_and_the_exchange_over(
    answer: AnswerHeaders, *, end_of_stream: bool
) -> None:
    assert (
        Playbook(world())
        >> headers()
        << Proceed()
        >> body()
        << BOTH
        >> replace(answer, end_of_stream=end_of_stream)
        << PassOn()
        >> AnswerBody(b"x", end_of_stream=True)
        << Broke(AssertionError)
    )


def test_what_envoy_answers_before_anything_was_decided_is_passed_on() -> None:
    own = head(None, 413, from_provider=False)
    assert Playbook(world()) >> headers() << Proceed() >> own << PassOn()
    assert Playbook(world()) >> own << PassOn()
    assert (
        Playbook(world())
        >> headers()
        << Proceed()
        >> own
        << PassOn()
        >> body()
        << Broke(AssertionError)
    )


def test_where_every_target_speaks_the_clients_dialect_nothing_of_the_answer_is_wanted() -> None:
    sent = Sent("north/gpt")
    assert Playbook(world()) >> headers(f"/gpt{CHAT}") << Proceed() >> body() << sent


# What is taken of it


def test_an_answer_in_another_dialect_is_taken_whole_and_written_anew() -> None:
    exchange = begun()
    taken, rewritten = replies(
        exchange, head(), AnswerBody(json.dumps(CLAUDE_SAYS).encode(), end_of_stream=True)
    )
    assert taken == TakeAnswer(buffered=True, content_type=JSON)
    assert isinstance(rewritten, Rewritten)
    assert (rewritten.last, rewritten.headers) == (True, {})
    answer = json.loads(rewritten.body)
    assert answer["choices"][0]["message"]["content"] == "Hi"
    assert answer["id"] == f"chatcmpl-{decision_id(NOW, DRAW)}"
    assert answer["created"] == int(NOW)
    assert json.loads(rewritten.told or b"") == TOLD
    assert exchange.finished


@pytest.mark.parametrize("size", [5, 40, 10_000])
def test_a_stream_is_taken_as_it_comes_until_its_end(size: int) -> None:
    exchange = begun(stream=True)
    (taken,) = replies(exchange, head(content_type=SSE))
    assert taken == TakeAnswer(buffered=False, content_type=SSE)
    chunks = [CLAUDE_STREAMS[at : at + size] for at in range(0, len(CLAUDE_STREAMS), size)]
    found = []
    for chunk in chunks:
        (reply,) = replies(exchange, AnswerBody(chunk, end_of_stream=False))
        assert isinstance(reply, Rewritten)
        assert (reply.last, reply.headers) == (False, {})
        assert not exchange.finished  # its end was told, but more may come
        found.append(reply)
    (end,) = replies(exchange, AnswerBody(b"", end_of_stream=True))
    assert end == Rewritten(b"", last=True)
    assert exchange.finished
    assert b"".join(reply.body for reply in found).endswith(b"data: [DONE]\n\n")
    (told,) = [reply.told for reply in found if reply.told]
    assert json.loads(told) == TOLD


def test_a_stream_may_end_with_its_last_bytes() -> None:
    exchange = begun(stream=True)
    _, end = replies(
        exchange, head(content_type=SSE), AnswerBody(CLAUDE_STREAMS, end_of_stream=True)
    )
    assert isinstance(end, Rewritten)
    assert end.last
    assert end.body.endswith(b"data: [DONE]\n\n")
    assert json.loads(end.told or b"") == TOLD
    assert exchange.finished


def test_who_asked_for_a_stream_gets_one_of_a_whole_answer() -> None:
    exchange = begun(stream=True)
    taken, rewritten = replies(
        exchange, head(), AnswerBody(json.dumps(CLAUDE_SAYS).encode(), end_of_stream=True)
    )
    assert taken == TakeAnswer(buffered=True, content_type=SSE)
    assert isinstance(rewritten, Rewritten)
    assert rewritten.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_is_written_anew_and_keeps_its_status(*, stream: bool) -> None:
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"Too much."}}'
    taken, rewritten = replies(
        begun(stream=stream), head(status=529), AnswerBody(error, end_of_stream=True)
    )
    assert taken == TakeAnswer(buffered=True, content_type=JSON)
    assert isinstance(rewritten, Rewritten)
    assert rewritten.headers == {}
    assert json.loads(rewritten.body)["error"]["message"] == "Too much."


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_cannot_be_read_becomes_another_with_a_head_of_its_own(
    *, stream: bool
) -> None:
    _, rewritten = replies(begun(stream=stream), head(), AnswerBody(b"<html>", end_of_stream=True))
    assert isinstance(rewritten, Rewritten)
    assert rewritten.headers == {":status": "502", "content-type": JSON}
    assert json.loads(rewritten.body)["error"]["code"] == "answer_malformed"
    assert json.loads(rewritten.told or b"") == {"model": "opus", "whole": False}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "answered", "told"),
    [
        (500, 500, {"model": "opus"}),
        (404, 404, {"model": "opus"}),
        (200, 502, {"model": "opus", "whole": False}),
        (204, 502, {"model": "opus", "whole": False}),
    ],
)
def test_an_answer_without_a_body_is_answered_at_once(
    status: int, answered: int, told: Mapping[str, object], *, stream: bool
) -> None:
    exchange = begun(stream=stream)
    (answer,) = replies(exchange, head(status=status, end_of_stream=True))
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers) == (answered, {"content-type": JSON})
    assert json.loads(answer.body)["error"]["message"]
    assert json.loads(answer.told or b"") == told
    assert answer.decision is None  # it was told of when the request was sent on
    assert exchange.finished


@pytest.mark.parametrize(
    "wrong",
    [
        [AnswerBody(b"{}", end_of_stream=True)],
        [head(), head()],
        [body()],
        [head(), body()],
        [head(), AnswerBody(b"{}", end_of_stream=True), AnswerBody(b"", end_of_stream=True)],
    ],
)
def test_an_answer_in_the_wrong_order_is_not_taken(wrong: list[Event]) -> None:
    exchange = begun()
    replies(exchange, *wrong[:-1])
    with pytest.raises(AssertionError):
        replies(exchange, wrong[-1])


# Paths


@pytest.mark.parametrize("prefix", ["", "/team-a", "/a/b.c/v1"])
@pytest.mark.parametrize("query", ["", "?beta=true", "?"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES, EMBEDDINGS, MESSAGES, COUNT])
def test_every_api_is_taken_below_any_prefix_and_with_any_query(
    path: str, query: str, prefix: str
) -> None:
    assert Playbook(world()) >> headers(prefix + path + query) << Proceed()


def test_embeddings_go_to_who_is_known_to_embed_and_answers_to_who_is_not() -> None:
    path = f"/embed{EMBEDDINGS}"
    asked = body(**ANY)
    assert Playbook(world()) >> headers(path) << Proceed() >> asked << Sent("north/embedder")
    chat = headers(f"/embed{CHAT}")
    assert Playbook(world()) >> chat << Proceed() >> body() << Sent("north/gpt")


def test_embeddings_are_never_translated() -> None:
    assert (
        Playbook(world())
        >> headers(EMBEDDINGS)
        << Proceed()
        >> body(**ANY, model="opus")
        << Refused(422, "no_eligible_target", "needs embeddings")
    )


# Counts of tokens


def test_tokens_are_counted_by_a_target_that_can() -> None:
    count = body(**ANY)
    assert Playbook(world()) >> headers(COUNT) << Proceed() >> count << Sent("claude/opus")


def test_tokens_are_counted_here_where_no_target_can() -> None:
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    _, answer = replies(exchange, headers(f"/gpt{COUNT}"), body(**ANY))
    assert isinstance(answer, Answer)
    assert exchange.finished
    assert answer.decision
    assert (answer.decision.refusal, answer.decision.chain) == (None, ())
    (candidate,) = answer.decision.candidates
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"input_tokens": candidate.input_tokens},
    )
    assert answer.headers == {"content-type": JSON, "x-router-decision": answer.decision.id}


# The router's own answers

OPENAI_PATHS = (CHAT, RESPONSES, EMBEDDINGS)
ANTHROPIC_PATHS = (MESSAGES, COUNT)


def error_in(path: str, reply: Reply) -> tuple[int, str]:
    """Status and type of an error that is in the dialect of `path`."""
    assert isinstance(reply, Answer)
    told = json.loads(reply.body)
    if path in ANTHROPIC_PATHS:
        assert told.keys() == {"type", "error", "request_id"}
        assert told["type"] == "error"
        assert told["error"].keys() == {"type", "message"}
    else:
        assert told.keys() == {"error"}
        assert told["error"].keys() == {"message", "type", "param", "code"}
    assert told["error"]["message"]
    assert reply.headers["content-type"] == JSON
    return reply.status, told["error"]["type"]


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *ANTHROPIC_PATHS])
@pytest.mark.parametrize(
    ("more", "payload", "status", "kind"),
    [
        ({"method": "GET"}, None, 405, "invalid_request_error"),
        ({"content_encoding": "gzip"}, None, 415, "invalid_request_error"),
        ({"end_of_stream": True}, None, 400, "invalid_request_error"),
        ({}, b"", 400, "invalid_request_error"),
        ({}, b"{", 400, "invalid_request_error"),
        ({}, b"{}", 400, "invalid_request_error"),
        ({}, b"x" * 2000, 413, "request_too_large"),
        ({"x_router_task": "a b"}, body_of(**ANY), 400, "invalid_request_error"),
        ({}, body_of(**ANY, model="nobody"), 404, "not_found_error"),
    ],
)
def test_a_refusal_is_in_the_dialect_of_the_path(
    path: str, more: dict[str, Any], payload: bytes | None, status: int, kind: str
) -> None:
    exchange = Exchange(snapshot_of(f"{WORLD}bodyBytesMax: 1KiB\n"), lambda _: EMPTY_VIEW)
    events: list[Event] = [headers(path, **more)]
    if payload is not None:
        events.append(RequestBody(payload))
    *_, reply = replies(exchange, *events)
    expected = kind if path in ANTHROPIC_PATHS else "invalid_request_error"
    assert error_in(path, reply) == (status, expected)
    assert exchange.finished


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_a_request_that_no_target_can_serve_is_refused_in_the_dialect_of_the_path(
    path: str,
) -> None:
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    asked = {**ANY, "max_tokens": 10**6, "max_output_tokens": 10**6}
    *_, reply = replies(exchange, headers(path), body(**asked))
    assert error_in(path, reply) == (422, "invalid_request_error")


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        (
            *(CHAT, {"messages": [*HELLO, {"role": "tool", "content": "x"}]}),
            "messages[1].tool_call_id",
        ),
    ],
)
def test_what_only_translation_finds_unreadable_is_a_400_that_names_the_field(
    path: str, fields: dict[str, object], param: str
) -> None:
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    _, answer = replies(exchange, headers(path), body(**fields))
    assert error_in(path, answer) == (400, "invalid_request_error")
    assert isinstance(answer, Answer)
    error = json.loads(answer.body)["error"]
    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert f"`{param}`" in error["message"]
    assert answer.decision
    assert answer.decision.refusal
    assert (answer.decision.chain, answer.decision.refusal.param) == ((), param)
    assert answer.decision.candidates  # who was considered stays in the record
    assert answer.headers["x-router-decision"] == answer.decision.id
    assert exchange.finished
    native = headers(f"/gpt{path}")
    assert Playbook(world()) >> native << Proceed() >> body(**fields) << Sent("north/gpt")


# Models


def listed(path: str, **more: Any) -> tuple[int, Any]:  # noqa: ANN401  as `headers` takes them
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    (answer,) = replies(exchange, headers(path, "GET", **more))
    assert isinstance(answer, Answer)
    assert exchange.finished
    return answer.status, json.loads(answer.body)


VERSION: dict[str, Any] = {"anthropic_version": "2023-06-01"}


def test_models_are_listed_in_anthropics_way_to_who_says_which_version() -> None:
    status, told = listed("/v1/models", **VERSION)
    names = ["auto", "gpt", "opus", "embedder"]
    assert status == 200
    assert sorted(model["id"] for model in told["data"]) == sorted(names)
    assert {model["type"] for model in told["data"]} == {"model"}
    assert (told["first_id"], told["has_more"]) == ("auto", False)
    assert told["last_id"] == told["data"][-1]["id"]
    assert listed("/v1/models")[1]["object"] == "list"


def test_one_model_is_told_of_in_anthropics_way_to_who_says_which_version() -> None:
    status, told = listed("/v1/models/opus", **VERSION)
    assert (status, told["type"], told["id"]) == (200, "model", "opus")
    assert listed("/v1/models/opus")[1]["object"] == "model"


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [
        ("/v1/models/nobody", "GET", 404, "not_found_error"),
        ("/v1/models", "POST", 405, "invalid_request_error"),
        ("/v1/messages/batches", "POST", 404, "not_found_error"),
        ("/nowhere", "GET", 404, "not_found_error"),
    ],
)
def test_off_the_paths_of_models_too_a_client_of_anthropics_gets_its_errors(
    path: str, method: str, status: int, kind: str
) -> None:
    for version, dialect in ((VERSION, MESSAGES), ({}, CHAT)):
        exchange = Exchange(world(), lambda _: EMPTY_VIEW)
        (reply,) = replies(exchange, headers(path, method, **version))
        expected = kind if version else "invalid_request_error"
        assert error_in(dialect, reply) == (status, expected)


def test_an_error_of_the_routers_is_in_openais_way_before_a_path_is_known() -> None:
    refusal = Exchange(snapshot_of(CATCH_ALL), lambda _: EMPTY_VIEW)
    assert error_in(CHAT, refusal.error(UNKNOWN_PATH)) == (404, "invalid_request_error")
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    replies(exchange, headers(MESSAGES))
    assert error_in(MESSAGES, exchange.error(UNKNOWN_PATH)) == (404, "not_found_error")


def test_who_may_answer_in_another_dialect_is_known_by_the_target() -> None:
    exchange = Exchange(world(), lambda _: EMPTY_VIEW)
    _, sent = replies(exchange, headers(MESSAGES), body(**ANY))
    assert isinstance(sent, Forward)
    assert sent.translated.keys() == {TargetId("north/gpt")}
    assert replies(exchange, head("claude/opus")) == [PassOn()]
