"""A request written as JSON gets the decision that it would get if it came in."""

import json
from typing import Any

import pytest
from configs import CHAT, HELLO, SEED, body_of, chain_of, snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import headers

from extproc.dialects import surface_of
from extproc.exchange import Answer, Exchange, RequestBody, read_and_decide
from extproc.explain import DEFAULT_PATH, RequestError, explain, written_request
from extproc.record import record
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import Decision

NOW, DRAW = 1_767_225_600.0, 5
SNAPSHOT = snapshot_of(SEED)


def explained(text: bytes) -> Decision:
    return explain(written_request(text), SNAPSHOT, EMPTY_VIEW, now=NOW, draw=DRAW)


def wrapped(**fields: object) -> bytes:
    return json.dumps({"body": {"messages": HELLO}} | fields).encode()


def test_a_payload_is_a_request_to_chat_completions_without_headers() -> None:
    assert written_request(body_of(user="x")).path == DEFAULT_PATH == CHAT
    came_in, _ = read_and_decide(CHAT, {}, body_of(), SNAPSHOT, EMPTY_VIEW, now=NOW, draw=DRAW)
    assert explained(body_of()) == came_in
    assert explained(wrapped()) == came_in


def test_an_object_with_a_body_may_have_a_path_and_headers() -> None:
    text = wrapped(path="/team/v1/chat/completions?x=1", headers={"X-Router-Task": "summarization"})
    decision = explained(text)
    assert decision.route == "route-3"
    assert chain_of(decision)[0] == "anthropic/claude-haiku-3"


def test_the_body_is_taken_byte_for_byte() -> None:
    body = b'{ "messages":[{"role":"user",\n"content":"\\u017c"}],"n":1.50 }'
    assert bytes(written_request(b'{"body": ' + body + b"}").body) == body


def test_a_payload_that_has_a_field_body_is_still_a_payload() -> None:
    text = body_of(body="x")
    assert bytes(written_request(text).body) == text


SURFACES = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": HELLO, "max_tokens": 64},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/embeddings": {"input": "Hello", "model": "embed"},
}


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize("prefix", ["", "/team-a"])
def test_a_request_of_every_api_is_explained_as_if_it_came_in(path: str, prefix: str) -> None:
    surface = surface_of(path)
    assert surface
    where, body = prefix + path, json.dumps(SURFACES[path]).encode()
    config = snapshot_of(SEED + "aliases: {embed: text-embedding-3-small}")
    written = written_request(b'{"path": "%b", "body": %b}' % (where.encode(), body))
    decision = explain(written, config, EMPTY_VIEW, now=NOW, draw=DRAW)
    came_in, _ = read_and_decide(
        *(where, {}, body, config, EMPTY_VIEW), now=NOW, draw=DRAW, surface=surface
    )
    assert decision == came_in
    assert decision.refusal is None
    assert decision.chain


UNREADABLE = {
    CHAT: {"messages": HELLO, "temperature": "hot"},
    "/v1/messages": {"messages": HELLO, "max_tokens": 64, "model": "gpt-4o", "top_p": "most"},
}


@pytest.mark.parametrize("path", UNREADABLE)
def test_what_can_not_be_translated_is_refused_here_as_it_is_there(path: str) -> None:
    decision = explained(json.dumps({"path": path, "body": UNREADABLE[path]}).encode())
    exchange = Exchange(SNAPSHOT, lambda _: EMPTY_VIEW)
    exchange.receive(headers(path), now=NOW, draw=DRAW)
    body = RequestBody(json.dumps(UNREADABLE[path]).encode())
    answer = exchange.receive(body, now=NOW, draw=DRAW)
    assert isinstance(answer, Answer)
    assert decision == answer.decision
    assert decision.refusal
    assert decision.refusal.status == answer.status == 400
    told = record(decision)
    assert (told["chain"], told["why"]) == ([], told["refusal"]["message"])
    assert decision.route


def test_what_an_api_can_not_be_asked_for_stands_in_the_explanation() -> None:
    body = {"input": "Hello", "background": True}
    decision = explained(json.dumps({"path": "/v1/responses", "body": body}).encode())
    assert [link["target"] for link in record(decision)["chain"]] == ["openai/gpt-4o"]
    told = {one["target"]: (one["reason"], one["detail"]) for one in record(decision)["rejected"]}
    assert told["anthropic/claude-sonnet-4"] == (
        "capability",
        "needs an answer in the background, which its API `anthropic` can't give",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": {"messages": HELLO}, "header": {}},
        {"body": {"messages": HELLO}, "headers": {"x-a": 1}},
        {"body": {"messages": HELLO}, "headers": ["x-a"]},
        {"body": {"messages": HELLO}, "path": 5},
        {"body": {"messages": HELLO}, "path": None},
    ],
)
def test_a_wrong_wrapping_is_an_error_that_says_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"^not an object of path, headers and body: .*`"):
        written_request(json.dumps(wrong).encode())


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"", 400),
        (b" ", 400),
        (b"null", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"[" * 10_000, 400),
        (b'{"a":' * 10_000, 400),
        (b'{"body":{},"path":"\\ud800"}', 400),
        (wrapped(body=None), 400),
        (wrapped(headers={"Content-Encoding": "gzip"}), 415),
        (wrapped(body=[]), 400),
        (wrapped(body={}), 400),
        (wrapped(path="/v1/completions"), 404),
        (wrapped(path="/v1/embeddings"), 400),  # without `input`
        (wrapped(path="/v1/messages"), 400),  # without `max_tokens`
        (wrapped(path=""), 404),
        (body_of(model="nobody"), 404),
        (body_of(max_tokens=10**9), 422),
    ],
)
def test_to_be_refused_is_an_explanation_too(text: bytes, status: int) -> None:
    decision = explained(text)
    assert decision.refusal
    assert decision.refusal.status == status
    assert record(decision)["chain"] == []


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
@settings(deadline=None, max_examples=100, database=None)
def test_any_text_is_explained_or_an_error(text: bytes) -> None:
    for written in (text, b'{"body":' + text + b"}", b'{"body":{},"path":"' + text + b'"}'):
        try:
            decision = explained(written)
        except RequestError:
            continue
        assert json.dumps(record(decision))


def test_a_path_that_is_no_text_is_an_error() -> None:
    with pytest.raises(RequestError, match=r"^not an object of path, headers and body: "):
        explained(b'{"body":{},"path":"\xff"}')


def test_the_same_question_has_the_same_answer() -> None:
    text = wrapped(headers={"x-router-task": "chat"})
    told = [json.dumps(record(explained(text))) for _ in range(3)]
    assert len({*told}) == 1
