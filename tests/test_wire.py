"""Envoy's messages become events, replies become what Envoy reads; nothing is lost between."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from configs import CHAT, HELLO, SEED, body_of, snapshot_of
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

import extproc
from extproc.access_log import TOLD_KEY
from extproc.exchange import (
    Answer,
    AnswerBody,
    AnswerHeaders,
    Exchange,
    PassOn,
    Proceed,
    Reply,
    RequestBody,
    RequestHeaders,
    Rewritten,
    TakeAnswer,
)
from extproc.plan import Forward, Plan, Step
from extproc.snapshot import ANSWER_NAMESPACE
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import TargetId
from extproc.wire.ext_proc import (
    CODE_DETAILS,
    EXT_PROC,
    METHOD,
    SERVICE,
    UnexpectedMessageError,
    decode,
    encode,
)
from extproc.wire.pb.core_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from extproc.wire.pb.ext_proc_pb2 import (
    DESCRIPTOR,
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
    ProcessingResponse,
)
from extproc.wire.pb.http_status_pb2 import StatusCode

quickly = settings(deadline=None, max_examples=60, database=None)


def headers_message(
    *headers: tuple[str, bytes], end_of_stream: bool = False, raw: bool = True
) -> bytes:
    """As Envoy sends them: in `raw_value`, and `value` left empty."""
    values = [
        HeaderValue(key=key, raw_value=value) if raw else HeaderValue(key=key, value=value.decode())
        for key, value in headers
    ]
    part = HttpHeaders(headers=HeaderMap(headers=values), end_of_stream=end_of_stream)
    return ProcessingRequest(request_headers=part).SerializeToString()


def sent(reply: Reply) -> ProcessingResponse:
    return ProcessingResponse.FromString(encode(reply))


# In


@pytest.mark.parametrize("end_of_stream", [True, False])
def test_headers_arrive_with_their_pseudo_headers_and_their_end(*, end_of_stream: bool) -> None:
    message = headers_message(
        (":method", b"POST"), (":path", b"/v1/x?y"), ("x-a", b"b"), end_of_stream=end_of_stream
    )
    read = {":method": "POST", ":path": "/v1/x?y", "x-a": "b"}
    assert decode(message) == RequestHeaders(read, end_of_stream)


def test_a_repeated_header_is_joined_by_commas_in_its_order() -> None:
    message = headers_message(("x-a", b"1"), ("x-b", b""), ("x-a", b"2, 3"), ("x-a", b""))
    assert decode(message) == RequestHeaders({"x-a": "1,2, 3,", "x-b": ""}, end_of_stream=False)


def test_headers_in_the_older_field_are_read_too() -> None:
    message = headers_message(("x-a", b"b"), ("x-a", b"c"), raw=False)
    assert decode(message) == RequestHeaders({"x-a": "b,c"}, end_of_stream=False)


@given(st.binary(max_size=40))
@quickly
def test_every_byte_of_a_header_survives(value: bytes) -> None:
    event = decode(headers_message(("x-a", value)))
    assert isinstance(event, RequestHeaders)
    assert event.headers["x-a"].encode("latin-1") == value


@given(st.binary(max_size=200), st.booleans())
@quickly
def test_a_body_arrives_as_it_is(body: bytes, end_of_stream: bool) -> None:  # noqa: FBT001  drawn
    part = HttpBody(body=body, end_of_stream=end_of_stream)
    assert decode(ProcessingRequest(request_body=part).SerializeToString()) == RequestBody(body)


def test_metadata_and_attributes_beside_a_part_change_nothing() -> None:
    request = ProcessingRequest(request_body=HttpBody(body=b"x"))
    request.attributes["envoy.filters.http.ext_proc"].CopyFrom(Struct())
    request.metadata_context.filter_metadata["a"].update({"b": 1})
    assert decode(request.SerializeToString()) == RequestBody(b"x")


@pytest.mark.parametrize("end_of_stream", [True, False])
@pytest.mark.parametrize(
    ("details", "from_provider"),
    [
        ("via_upstream", True),
        ("upstream_per_try_timeout", False),
        ("direct_response", False),
        ("", False),
        (None, False),
    ],
)
def test_the_head_of_an_answer_says_whether_a_provider_made_it(
    details: str | None, *, from_provider: bool, end_of_stream: bool
) -> None:
    values = [HeaderValue(key=key, raw_value=b"x") for key in (":status", "a", "a")]
    part = HttpHeaders(headers=HeaderMap(headers=values), end_of_stream=end_of_stream)
    request = ProcessingRequest(response_headers=part)
    if details is not None:
        request.attributes[EXT_PROC].update({CODE_DETAILS: details})
    expected = AnswerHeaders({":status": "x", "a": "x,x"}, end_of_stream, from_provider)
    assert decode(request.SerializeToString()) == expected


def test_what_another_filter_says_of_an_answer_is_not_believed() -> None:
    request = ProcessingRequest(response_headers=HttpHeaders())
    request.attributes["envoy.filters.http.lua"].update({CODE_DETAILS: "via_upstream"})
    event = AnswerHeaders({}, end_of_stream=False, from_provider=False)
    assert decode(request.SerializeToString()) == event


@given(st.binary(max_size=200), st.booleans())
@quickly
def test_an_answers_body_arrives_as_it_is_with_its_end(body: bytes, end_of_stream: bool) -> None:  # noqa: FBT001  drawn
    part = HttpBody(body=body, end_of_stream=end_of_stream)
    message = ProcessingRequest(response_body=part).SerializeToString()
    assert decode(message) == AnswerBody(body, end_of_stream)


UNASKED = {
    "request_trailers": ProcessingRequest(request_trailers=HttpTrailers()),
    "response_trailers": ProcessingRequest(response_trailers=HttpTrailers()),
    "nothing": ProcessingRequest(),
}


@pytest.mark.parametrize("part", UNASKED)
def test_a_part_that_was_not_asked_for_is_refused_by_its_name(part: str) -> None:
    with pytest.raises(UnexpectedMessageError, match=f"^{part} was sent to the router$"):
        decode(UNASKED[part].SerializeToString())


def test_every_part_that_envoy_can_send_is_read_or_refused_above() -> None:
    parts = ProcessingRequest.DESCRIPTOR.oneofs_by_name["request"].fields
    read = {"request_headers", "request_body", "response_headers", "response_body"}
    assert {field.name for field in parts} == read | (UNASKED.keys() - {"nothing"})


@pytest.mark.parametrize("garbage", [b"\xff", b"GET / HTTP/1.1\r\n\r\n", b"{}", b"\x22\xff\x01a"])
def test_what_is_no_message_is_an_error_of_decoding(garbage: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(garbage)


@given(st.binary(max_size=60))
@quickly
def test_any_bytes_are_an_event_or_one_of_two_errors(message: bytes) -> None:
    try:
        event = decode(message)
    except (DecodeError, UnexpectedMessageError):
        return
    assert isinstance(event, RequestHeaders | RequestBody | AnswerHeaders | AnswerBody)


# Out


def test_to_proceed_changes_nothing_and_asks_for_the_answers_head_if_it_may_be_needed() -> None:
    assert MessageToDict(sent(Proceed())) == {"requestHeaders": {}}
    response = sent(Proceed(awaits_answer=True))
    assert response.WhichOneof("response") == "request_headers"
    assert MessageToDict(response) == {
        "requestHeaders": {},
        "modeOverride": {
            "requestHeaderMode": "SEND",
            "requestBodyMode": "BUFFERED",
            "responseHeaderMode": "SEND",
            "requestTrailerMode": "SKIP",
            "responseTrailerMode": "SKIP",
        },
    }


def test_an_answer_is_passed_on_by_an_empty_reply_to_its_head() -> None:
    assert MessageToDict(sent(PassOn())) == {"responseHeaders": {}}


@pytest.mark.parametrize(("buffered", "mode"), [(True, "BUFFERED"), (False, "STREAMED")])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_an_answer_is_taken_as_it_comes_or_whole_and_loses_its_length(
    content_type: str, mode: str, *, buffered: bool
) -> None:
    response = sent(TakeAnswer(buffered, content_type))
    assert MessageToDict(response.mode_override) == {
        "responseHeaderMode": "SEND",
        "responseBodyMode": mode,
    }
    common = response.response_headers.response
    assert common.status == common.CONTINUE
    (option,) = common.header_mutation.set_headers
    assert (option.header.key, option.header.raw_value) == ("content-type", content_type.encode())
    assert not option.HasField("append")
    assert list(common.header_mutation.remove_headers) == ["content-length", "content-encoding"]


def test_what_the_client_gets_instead_replaces_the_answers_body() -> None:
    response = sent(Rewritten(b'data: {"a":"\xc5\xbc"}\n\n', last=False))
    assert response.WhichOneof("response") == "response_body"
    common = response.response_body.response
    assert common.body_mutation.WhichOneof("mutation") == "body"
    assert common.body_mutation.body == b'data: {"a":"\xc5\xbc"}\n\n'
    assert common.status == common.CONTINUE
    assert not common.HasField("header_mutation")
    assert not response.HasField("dynamic_metadata")


@pytest.mark.parametrize("last", [True, False])
def test_where_nothing_comes_of_a_piece_it_is_taken_out(*, last: bool) -> None:
    mutation = sent(Rewritten(b"", last)).response_body.response.body_mutation
    assert mutation.WhichOneof("mutation") == "clear_body"
    assert mutation.clear_body


def test_what_an_answer_told_is_metadata_for_the_access_log() -> None:
    told = '{"model":"\u017c","input_tokens":3}'
    response = sent(Rewritten(b"x", last=True, told=told.encode()))
    assert MessageToDict(response.dynamic_metadata) == {ANSWER_NAMESPACE: {TOLD_KEY: told}}
    assert response.response_body.response.body_mutation.body == b"x"


def test_an_answer_that_the_router_ends_tells_as_one_that_went_on_does() -> None:
    response = sent(Answer(500, {}, b"{}", told=b'{"model":"m"}'))
    assert response.WhichOneof("response") == "immediate_response"
    assert MessageToDict(response.dynamic_metadata) == {
        ANSWER_NAMESPACE: {TOLD_KEY: '{"model":"m"}'}
    }
    assert not sent(Answer(500, {}, b"{}")).HasField("dynamic_metadata")


def test_an_answer_that_turned_out_to_be_another_gets_another_head() -> None:
    given_headers = {":status": "502", "content-type": "application/json"}
    response = sent(Rewritten(b"{}", last=True, headers=given_headers))
    options = response.response_body.response.header_mutation.set_headers
    assert {o.header.key: o.header.raw_value.decode() for o in options} == given_headers
    assert not any(option.HasField("append") for option in options)


@pytest.mark.parametrize("size", [1, 127, 128, 16_384, 2_097_152])
def test_an_answers_piece_survives_whatever_its_length(size: int) -> None:
    body, told = b"x" * size, b"y" * (size // 2)
    response = sent(Rewritten(body, last=True, told=told, headers={"a": "b"}))
    assert response.response_body.response.body_mutation.body == body
    expected = {ANSWER_NAMESPACE: {TOLD_KEY: told.decode()}} if told else {}
    assert MessageToDict(response.dynamic_metadata) == expected


def forwarded() -> Forward:
    exchange = Exchange(snapshot_of(SEED), lambda _: EMPTY_VIEW)
    exchange.receive(
        RequestHeaders({":method": "POST", ":path": CHAT}, end_of_stream=False), now=0, draw=0
    )
    reply = exchange.receive(RequestBody(body_of(messages=HELLO)), now=0, draw=0)
    assert isinstance(reply, Forward)
    return reply


def test_what_is_sent_on_answers_the_body_with_another_body() -> None:
    reply = forwarded()
    response = sent(reply)
    assert response.WhichOneof("response") == "request_body"
    common = response.request_body.response
    assert common.body_mutation.WhichOneof("mutation") == "body"
    assert common.body_mutation.body == reply.body
    assert common.status == common.CONTINUE


def test_the_route_cache_is_cleared_beside_a_header_mutation() -> None:
    common = sent(forwarded()).request_body.response
    assert common.clear_route_cache
    assert common.HasField("header_mutation")
    bare = sent(Forward(b"", {}, (), Plan("", "", 0))).request_body.response
    assert bare.clear_route_cache
    assert bare.HasField("header_mutation")


def options_in(response: ProcessingResponse) -> list[HeaderValueOption]:
    if response.WhichOneof("response") == "immediate_response":
        return list(response.immediate_response.headers.set_headers)
    return list(response.request_body.response.header_mutation.set_headers)


@pytest.mark.parametrize(
    ("reply", "written"),
    [
        (forwarded(), forwarded().headers),
        (Answer(404, {"content-type": "application/json", "x": "\xff"}, b"{}"), None),
    ],
    ids=["forward", "answer"],
)
def test_headers_are_set_raw_and_overwrite(
    reply: Forward | Answer, written: dict[str, str] | None
) -> None:
    options = options_in(sent(reply))
    read = {option.header.key: option.header.raw_value.decode("latin-1") for option in options}
    assert read == (written or reply.headers)
    assert len(options) == len(read)
    for option in options:
        assert not option.header.value
        assert not option.HasField("append")  # absent means overwrite
        assert not option.append_action


def test_the_chain_and_the_plan_are_two_namespaces_of_metadata() -> None:
    first = Step(TargetId("a/x"), "guard:a/x>b/y", "/chat/completions", None)
    second = Step(TargetId("b/y"), "guard:b/y", "/chat/completions", '{"model":"\u017c",')
    reply = Forward(b"", {}, (first, second), Plan("01M", "default", 40))
    assert MessageToDict(sent(reply).dynamic_metadata) == {
        "llm.chain": {
            "priority_groups": [
                {"name": "a/x", "clusters": [{"cluster_name": "guard:a/x>b/y", "weight": 1}]},
                {"name": "b/y", "clusters": [{"cluster_name": "guard:b/y", "weight": 1}]},
            ]
        },
        "llm.plan": {
            "decision": "01M",
            "route": "default",
            "plen": 40,
            "cand": {
                "a/x": {"endpoint": "/chat/completions"},
                "b/y": {"endpoint": "/chat/completions", "prefix": '{"model":"\u017c",'},
            },
        },
    }


def test_what_a_target_needs_of_its_own_stands_beside_its_endpoint() -> None:
    first = Step(TargetId("a/x"), "guard:a/x", "/messages", None, headers=(("a-b", "1,2"),))
    second = Step(TargetId("b/y"), "guard:b/y", "/chat/completions", None, carried=True)
    bodies = {TargetId("b/y"): '{"model":"\u017c"}'.encode()}
    reply = Forward(b"{}", {}, (first, second), Plan("01M", "r", 0), bodies=bodies)
    metadata = MessageToDict(sent(reply).dynamic_metadata)
    assert metadata["llm.plan"]["cand"] == {
        "a/x": {"endpoint": "/messages", "headers": {"a-b": "1,2"}},
        "b/y": {"endpoint": "/chat/completions", "carried": 1},
    }
    assert metadata["llm.bodies"] == {"b/y": '{"model":"\u017c"}'}


def test_metadata_survives_whatever_its_length() -> None:
    for length in (0, 1, 127, 128, 129, 16_383, 16_384, 2_097_152):
        name = "x" * length
        attempt = Step(TargetId(name), name, name, name)
        reply = Forward(name.encode(), {"x": name}, (attempt,), Plan(name, name, length))
        response = sent(reply)
        metadata = MessageToDict(response.dynamic_metadata)
        assert metadata["llm.plan"] == {
            "decision": name,
            "route": name,
            "plen": length,
            "cand": {name: {"endpoint": name, "prefix": name}},
        }
        assert response.request_body.response.body_mutation.body == reply.body


def statuses() -> Iterator[int]:
    """Every status that the code writes into a Refusal, found in its source."""
    for path in Path(extproc.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Refusal"), args=[_, ast.Constant(int(status)), *_]):
                    yield status


STATUSES = sorted({200, *statuses()})


def test_statuses_are_found_in_the_source() -> None:
    assert {200, 400, 404, 405, 413, 415, 422, 500} <= set(STATUSES)


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_that_an_exchange_can_end_with_is_one_that_envoy_knows(status: int) -> None:
    response = sent(Answer(status, {}, b"body"))
    assert response.WhichOneof("response") == "immediate_response"
    assert response.immediate_response.status.code == status
    assert response.immediate_response.status.code in StatusCode.values()
    assert response.immediate_response.body == b"body"


def test_the_service_is_envoys() -> None:
    service = DESCRIPTOR.services_by_name["ExternalProcessor"]
    assert (service.full_name, [method.name for method in service.methods]) == (SERVICE, [METHOD])
