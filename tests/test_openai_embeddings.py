"""What routing reads of a request for embeddings, and how it refuses one."""

import json
from typing import Any

import pytest
from hostile import CANARY, anything
from hypothesis import given, settings

from extproc.dialects import openai_embeddings
from extproc.dialects.conversation import Demand
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.text.tokens import Family, measure_all, tokens
from extproc.vocabulary import Refusal


def read(**fields: object) -> Payload:
    payload = openai_embeddings.read(json.dumps(fields).encode())
    assert isinstance(payload, Payload), payload
    return payload


@pytest.mark.parametrize(
    ("given_input", "texts"),
    [("Hello", ["Hello"]), (["Hello"], ["Hello"]), (["Hello", "żółw"], ["Hello", "żółw"])],
)
def test_texts_are_measured_and_classified(given_input: object, texts: list[str]) -> None:
    payload = read(model="m", input=given_input, dimensions=3, encoding_format="base64", user="u")
    assert payload.text == measure_all([text.encode() for text in texts])
    assert payload.last_turn == "\n".join(texts)
    assert payload.requested_model == "m"


@pytest.mark.parametrize("given_input", [[1, 2, 3] * 100, [[1, 2, 3]] * 100])
def test_tokens_count_as_about_as_many(given_input: object) -> None:
    payload = read(input=given_input)
    for family in Family:
        assert tokens(payload.text, family) == pytest.approx(300, rel=0.3)
    assert payload.last_turn == ""


def test_a_request_demands_embeddings_and_nothing_else() -> None:
    payload = read(input="Hello")
    assert payload.demands == {Demand.EMBEDDINGS}
    assert payload.features == {Feature.EMBEDDINGS}
    assert (payload.messages, payload.output_tokens_max) == (0, None)
    assert not payload.streaming


def test_the_rest_is_the_payload_without_its_model() -> None:
    payload = openai_embeddings.read(b'{"model": "m", "input": [1, 2] , "dimensions": 3}')
    assert isinstance(payload, Payload)
    assert payload.rest == b' "input": [1, 2] , "dimensions": 3}'


def test_the_payloads_own_metadata_may_say_the_task() -> None:
    body = b'{"input":"a","metadata":{"task_type":"search","n":1}}'
    payload = openai_embeddings.read(body)
    assert isinstance(payload, Payload)
    assert payload.metadata == {"task_type": "search"}
    refusal = openai_embeddings.read(b'{"input":"a","metadata":[]}')
    assert isinstance(refusal, Refusal)
    assert refusal.param == "metadata"


WRONG: list[Any] = [
    *(None, "", [], [""], ["a", ""], [[]], [[1], []], ["a", 1], ["a", [1]], [1, [1]]),
    *(5, True, {}, {CANARY: CANARY}, [{CANARY: CANARY}], [1.5], [None], [["a"]], [[[1]]]),
]


@pytest.mark.parametrize("given_input", WRONG)
def test_an_input_without_anything_to_embed_is_a_400(given_input: object) -> None:
    refusal = openai_embeddings.read(json.dumps({"user": CANARY, "input": given_input}).encode())
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_value", "input")
    assert "`input`" in refusal.message
    assert CANARY not in refusal.message


def test_a_request_without_input_is_a_400_that_asks_for_it() -> None:
    refusal = openai_embeddings.read(b'{"model":"m"}')
    assert isinstance(refusal, Refusal)
    assert refusal.message == "The field `input` is required."


@pytest.mark.parametrize("body", [b"", b"\r\n ", b"[]", b'{"input":"a","input":"b"}', b'{"input":'])
def test_a_body_that_is_no_payload_is_a_400(body: bytes) -> None:
    refusal = openai_embeddings.read(body)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_body", None)


@given(anything(names=["a"], leaves=["", "a"]))
@settings(deadline=None, max_examples=100, database=None)
def test_whatever_input_holds_is_read_or_refused(given_input: object) -> None:
    found = openai_embeddings.read(json.dumps({"input": given_input}).encode())
    assert isinstance(found, Payload) or found.param == "input"
