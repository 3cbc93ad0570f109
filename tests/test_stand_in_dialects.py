"""What holds in every dialect that the stand-ins speak."""

from __future__ import annotations

import json
import math
import struct
import time
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from speakers import (
    PIXEL,
    SPEAKERS,
    WEATHER,
    Anthropic,
    AzureDeployed,
    AzureResponses,
    Bedrock,
    Chat,
    Gemini,
    Responses,
    Said,
    Speaker,
    frames,
    sse,
)
from stand_ins import StandIns

SCOPE = "AWS4-HMAC-SHA256 Credential=AKID/20250101/eu-west-1/bedrock/aws4_request"
SAMPLE = {"city": "sample", "days": 2}
each = pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda speaker: speaker.name)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def shared() -> Iterator[StandIns]:
    with StandIns(require_key=True) as providers:
        yield providers


@pytest.fixture
def providers(shared: StandIns) -> Iterator[StandIns]:
    yield shared
    shared.clear()


@pytest.fixture(scope="module")
def client(shared: StandIns) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.root_url, trust_env=False, timeout=5) as client:
        yield client


@pytest.fixture
def http(client: httpx.Client, providers: StandIns) -> httpx.Client:
    return client


def post(
    http: httpx.Client, speaker: Speaker, body: dict[str, Any], *, stream: bool = False
) -> httpx.Response:
    return http.post("/here" + speaker.path(stream=stream), json=body, headers=speaker.headers)


def said(
    http: httpx.Client, speaker: Speaker, body: dict[str, Any], *, stream: bool = False
) -> Said:
    answer = post(http, speaker, body, stream=stream)
    assert answer.status_code == 200, answer.text
    return speaker.streamed(answer.content) if stream else speaker.whole(answer.content)


# Answers.


@both
@each
def test_every_dialect_says_the_same(http: httpx.Client, speaker: Speaker, *, stream: bool) -> None:
    answer = said(http, speaker, speaker.ask(stream=stream), stream=stream)
    sentence = f"This is {speaker.model} at here, standing in."
    assert (answer.text, answer.calls, answer.thinking) == (sentence, (), "")
    assert answer.stop == "said"
    assert answer.input_tokens > 5
    assert answer.output_tokens == math.ceil(len(sentence) / 4)


@both
@each
@pytest.mark.parametrize(
    ("text", "forced", "called"),
    [
        ("Hello.", None, ["weather"]),
        ("Hello.", "clock", ["clock"]),
        ("Please call everything.", None, ["weather", "clock"]),
    ],
)
def test_a_function_is_called_with_a_sample_of_what_it_takes(
    http: httpx.Client,
    speaker: Speaker,
    text: str,
    forced: str | None,
    called: list[str],
    *,
    stream: bool,
) -> None:
    body = speaker.offer(speaker.ask(text, stream=stream), forced=forced)
    answer = said(http, speaker, body, stream=stream)
    samples = {"weather": SAMPLE, "clock": {"zone": "sample"}}
    assert answer.calls == tuple((name, samples[name]) for name in called)
    assert (answer.text, answer.stop) == ("", "called")


@each
def test_what_the_tools_said_is_repeated_in_the_second_turn(
    http: httpx.Client, speaker: Speaker
) -> None:
    body = speaker.offer(speaker.ask("Call everything."))
    first = post(http, speaker, body).json()
    answer = said(http, speaker, speaker.go_on(body, first, "22 degrees"))
    assert answer.text == f"{speaker.model} at here was told: 22 degrees22 degrees"
    assert answer.stop == "said"


@both
@each
def test_a_picture_arrives_whole(http: httpx.Client, speaker: Speaker, *, stream: bool) -> None:
    answer = said(http, speaker, speaker.ask(image=True, stream=stream), stream=stream)
    assert answer.text.endswith(f"standing in. I see 1 image (image/png, {len(PIXEL)} bytes).")


@both
@each
def test_structured_output_is_a_sample_of_its_schema(
    http: httpx.Client, speaker: Speaker, *, stream: bool
) -> None:
    body = speaker.structure(speaker.ask(stream=stream))
    assert json.loads(said(http, speaker, body, stream=stream).text) == SAMPLE


@both
@each
def test_thinking_is_told_where_it_is_asked_for_and_counts_as_output(
    http: httpx.Client, speaker: Speaker, *, stream: bool
) -> None:
    plain = said(http, speaker, speaker.ask(stream=stream), stream=stream)
    answer = said(http, speaker, speaker.think(speaker.ask(stream=stream)), stream=stream)
    thought = f"I am {speaker.model} at here, and think about what to say."
    assert answer.thinking == (thought if speaker.shows else "")
    assert answer.text == plain.text
    assert answer.output_tokens - plain.output_tokens == math.ceil(len(thought) / 4)
    assert answer.reasoning_tokens in (None, math.ceil(len(thought) / 4))


@each
def test_thinking_is_accepted_back_by_who_can_check_its_signature(
    http: httpx.Client, speaker: Speaker
) -> None:
    """A Claude knows what any Claude signed, wherever it ran."""
    body = speaker.think(speaker.offer(speaker.ask()))
    body = speaker.go_on(body, post(http, speaker, body).json(), "22 degrees")
    assert "22 degrees" in said(http, speaker, body).text
    elsewhere = "/elsewhere" + speaker.path()
    answer = http.post(elsewhere, json=body, headers=speaker.headers)
    knows_all_claudes = speaker.name in {"anthropic", "bedrock"}
    assert answer.status_code == (400 if speaker.shows and not knows_all_claudes else 200)


@both
@each
def test_an_answer_is_cut_at_the_most_tokens_allowed(
    http: httpx.Client, speaker: Speaker, *, stream: bool
) -> None:
    body = speaker.ask("Call " + "a" * 900, stream=stream)
    first = speaker.offer(body | {"stream": False} if "stream" in body else body)
    first.pop("stream_options", None)
    told = speaker.go_on(speaker.offer(body), post(http, speaker, first).json(), "a" * 200)
    answer = said(http, speaker, speaker.at_most(told, 16), stream=stream)
    assert (len(answer.text), answer.stop, answer.output_tokens) == (64, "cut", 16)


@both
@each
def test_usage_reports_what_was_cached_and_thought_on_demand(
    providers: StandIns, http: httpx.Client, speaker: Speaker, *, stream: bool
) -> None:
    plain = said(http, speaker, speaker.ask(stream=stream), stream=stream)
    providers.fault("here", cached_tokens=5, reasoning_tokens=30)
    answer = said(http, speaker, speaker.ask(stream=stream), stream=stream)
    assert (answer.input_tokens, answer.cached_tokens) == (plain.input_tokens, 5)
    assert answer.output_tokens == plain.output_tokens + 30
    assert answer.reasoning_tokens in (None, 30)


@each
def test_every_request_is_shown_as_it_arrived(
    providers: StandIns, http: httpx.Client, speaker: Speaker
) -> None:
    body = speaker.ask()
    post(http, speaker, body)
    (seen,) = providers.seen("here")
    assert (seen.path, json.loads(seen.body)) == ("/here" + speaker.path(), body)
    (visit,) = providers.visits(speaker.model if "model" in body else None)
    assert visit.status == 200


# The SDKs.


def test_the_openai_sdk_reads_a_stream_of_responses(providers: StandIns) -> None:
    with (
        openai.OpenAI(base_url=providers.base_url("here"), api_key="k", max_retries=0) as sdk,
        sdk.responses.stream(
            model="m", input="Hi", reasoning={"effort": "low", "summary": "auto"}
        ) as stream,
    ):
        kinds = {event.type for event in stream}
        answer = stream.get_final_response()
    assert answer.output_text == "This is m at here, standing in."
    assert answer.usage
    assert kinds >= {
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    }


def test_the_openai_sdk_reads_embeddings_in_either_encoding(providers: StandIns) -> None:
    with openai.OpenAI(base_url=providers.base_url("here"), api_key="k") as sdk:
        packed = sdk.embeddings.create(model="m", input=["a", "b"], dimensions=8)
        floats = sdk.embeddings.create(model="m", input="b", dimensions=8, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(packed.data[1].embedding, abs=1e-7)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert math.hypot(*floats.data[0].embedding) == pytest.approx(1, abs=1e-6)
    assert (packed.usage.prompt_tokens, packed.usage.total_tokens) == (1, 1)


def test_the_azure_sdk_finds_its_deployment(providers: StandIns) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=f"{providers.root_url}/here", api_key="k", api_version="2024-10-21"
    ) as sdk:
        messages: list[Any] = [{"role": "user", "content": "Hi"}]
        answer = sdk.chat.completions.create(model="my-gpt", messages=messages)
        with sdk.chat.completions.create(model="my-gpt", messages=messages, stream=True) as stream:
            first, *_ = list(stream)
        vector = sdk.embeddings.create(model="my-embedder", input="Hi")
    assert answer.choices[0].message.content == "This is my-gpt at here, standing in."
    assert (first.choices, first.model) == ([], "")  # what the filter says of the prompt
    assert len(vector.data[0].embedding) == 1536


def test_the_anthropic_sdk_reads_messages_streams_and_counts(providers: StandIns) -> None:
    messages: list[Any] = [{"role": "user", "content": "Hi"}]
    tools: list[Any] = [{"name": "weather", "input_schema": WEATHER}]
    with anthropic.Anthropic(
        base_url=f"{providers.root_url}/here", api_key="k", max_retries=0
    ) as sdk:
        whole = sdk.messages.create(model="m", max_tokens=99, messages=messages, tools=tools)
        with sdk.messages.stream(
            model="m", max_tokens=99, messages=messages, tools=tools
        ) as stream:
            streamed = stream.get_final_message()
        count = sdk.messages.count_tokens(model="m", messages=messages)
        with pytest.raises(anthropic.BadRequestError, match="at least one message is required"):
            sdk.messages.create(model="m", max_tokens=99, messages=[])
        with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs are not"):
            sdk.messages.create(
                model="m", max_tokens=99, messages=messages, extra_body={"temperature": 1}
            )
    assert whole.content[0].type == streamed.content[0].type == "tool_use"
    assert whole.content[0].input == streamed.content[0].input == SAMPLE
    assert whole.usage.output_tokens == streamed.usage.output_tokens
    assert count.input_tokens == whole.usage.input_tokens


# Faults.


@each
@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, 529])
def test_a_status_fault_is_an_error_in_the_dialects_own_shape(
    providers: StandIns, http: httpx.Client, speaker: Speaker, status: int
) -> None:
    providers.fault("here", status=status)
    answer = post(http, speaker, speaker.ask())
    assert answer.status_code == status
    assert shape(speaker, answer) == SHAPES[speaker.name.split()[0]].get(status)


def shape(speaker: Speaker, answer: httpx.Response) -> object:
    """What tells the kind of an error."""
    body = answer.json()
    match speaker:
        case Gemini():
            return body["error"]["code"] == answer.status_code and body["error"]["status"]
        case Bedrock():
            assert body.keys() == {"message"}
            return answer.headers["x-amzn-errortype"]
        case Anthropic():
            assert body["type"] == "error"
            assert body["request_id"] == answer.headers["request-id"]
            return body["error"]["type"]
        case AzureDeployed() | AzureResponses() if "type" not in body["error"]:
            return body["error"]["code"]
        case _:
            return body["error"].get("type", body["error"]["code"])


SHAPES: dict[str, dict[int, str]] = {
    "chat": {
        401: "invalid_request_error",
        404: "invalid_request_error",
        429: "rate_limit_exceeded",
        500: "server_error",
        503: "server_error",
        529: "server_error",
    },
    "azure": {
        401: "401",
        404: "404",
        429: "429",
        500: "server_error",
        503: "server_error",
        529: "server_error",
    },
    "anthropic": {
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
        500: "api_error",
        503: "api_error",
        529: "overloaded_error",
    },
    "gemini": {
        401: "UNAUTHENTICATED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
        529: "INTERNAL",
    },
    "bedrock": {
        401: "ValidationException",
        404: "ResourceNotFoundException",
        429: "ThrottlingException",
        500: "InternalServerException",
        503: "ServiceUnavailableException",
        529: "InternalServerException",
    },
}
SHAPES["responses"] = SHAPES["chat"]


@each
def test_a_stream_may_end_cleanly_without_its_terminator(
    providers: StandIns, http: httpx.Client, speaker: Speaker
) -> None:
    whole = post(http, speaker, speaker.ask(stream=True), stream=True).content
    providers.fault("here", end_mid_stream=True)
    half = post(http, speaker, speaker.ask(stream=True), stream=True).content
    assert speaker.ends(whole)
    assert not speaker.ends(half)
    assert len(half) > 0


@each
def test_an_error_may_come_midway_in_the_dialects_own_form(
    providers: StandIns, http: httpx.Client, speaker: Speaker
) -> None:
    providers.fault("here", error_mid_stream=True)
    answer = post(http, speaker, speaker.ask(stream=True), stream=True)
    assert answer.status_code == 200
    told = "The stand-in was told to fail midway."
    before: list[Any]
    match speaker:
        case Bedrock():
            *before, (headers, body) = frames(answer.content)
            assert headers[":message-type"] == "exception"
            assert headers[":exception-type"] == "internalServerException"
            assert body["message"] == told
        case Responses():
            *before, body = sse(answer.content)
            assert (body["type"], body["message"]) == ("error", told)
            assert body["sequence_number"] == len(before)
        case Anthropic():
            *before, body = sse(answer.content)
            assert body == {"type": "error", "error": {"type": "api_error", "message": told}}
        case _:
            *before, body = sse(answer.content)
            assert body["error"]["message"] == told
    assert len(before) > 1


@each
def test_a_stream_may_stall_or_be_reset_in_any_dialect(
    providers: StandIns, http: httpx.Client, speaker: Speaker
) -> None:
    body, path = speaker.ask(stream=True), "/here" + speaker.path(stream=True)
    providers.fault("here", reset="mid_stream")
    with http.stream("POST", path, json=body, headers=speaker.headers) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.ReadError):
            answer.read()
    providers.fault("here", stall_after_chunks=2)
    before_s = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        http.post(path, json=body, headers=speaker.headers, timeout=httpx.Timeout(5, read=0.05))
    assert time.monotonic() - before_s < 2


# Manners.


@each
def test_a_key_is_demanded_in_the_dialects_own_header(http: httpx.Client, speaker: Speaker) -> None:
    others = {"x-other-key": "k", "anthropic-version": "2023-06-01"}
    answer = http.post("/here" + speaker.path(), json=speaker.ask(), headers=others)
    assert answer.status_code == (403 if isinstance(speaker, Gemini | Bedrock) else 401)
    assert shape(speaker, answer)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"{SCOPE}, SignedHeaders=content-type;host;x-amz-date, Signature={'0' * 64}", 200),
        (SCOPE, 403),
        ("AWS4-HMAC-SHA256 Credential=AKID/20250101/eu-west-1/s3/aws4_request", 403),
        ("Basic eA==", 403),
    ],
)
def test_bedrock_takes_a_signature_for_a_key(
    http: httpx.Client, authorization: str, status: int
) -> None:
    headers = {"authorization": authorization, "x-amz-date": "20250101T000000Z"}
    speaker = Bedrock()
    answer = http.post("/here" + speaker.path(), json=speaker.ask(), headers=headers)
    assert answer.status_code == status


@each
@pytest.mark.parametrize("status", [200, 503])
def test_a_request_is_named_in_the_dialects_own_header(
    providers: StandIns, http: httpx.Client, speaker: Speaker, status: int
) -> None:
    if status != 200:
        providers.fault("here", status=status)
    headers = post(http, speaker, speaker.ask()).headers
    names = {
        "chat": "x-request-id",
        "responses": "x-request-id",
        "azure": "apim-request-id",
        "anthropic": "request-id",
        "bedrock": "x-amzn-requestid",
        "gemini": "date",  # nothing but what every server says
    }
    assert names[speaker.name.split()[0]] in headers


@each
def test_limits_are_told_in_the_dialects_own_headers_or_not_at_all(
    providers: StandIns, http: httpx.Client, speaker: Speaker
) -> None:
    providers.fault("here", requests_per_minute=1)
    answers = [post(http, speaker, speaker.ask()) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    told = [name for name in answers[0].headers if "ratelimit" in name]
    silent = isinstance(speaker, Gemini | Bedrock)
    prefix = "anthropic-ratelimit-requests" if isinstance(speaker, Anthropic) else "x-ratelimit"
    assert (told == []) == silent
    assert all(name.startswith(prefix) for name in told)
    assert ("retry-after" in answers[1].headers) == (not silent)
    if isinstance(speaker, Gemini):
        (detail,) = answers[1].json()["error"]["details"]
        assert detail["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
        assert 50 <= int(detail["retryDelay"].removesuffix("s")) <= 60


# What only one of them has.


def test_gemini_streams_an_array_unless_events_are_asked_for(http: httpx.Client) -> None:
    speaker = Gemini()
    path = "/here" + speaker.path(stream=True).removesuffix("?alt=sse")
    answer = http.post(path, json=speaker.ask(), headers=speaker.headers)
    chunks = answer.json()
    assert len(chunks) > 3
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    (error,) = http.post(path, json={}, headers=speaker.headers).json()
    assert error["error"]["status"] == "INVALID_ARGUMENT"


def test_anthropic_counts_without_answering_and_takes_no_limit_for_it(http: httpx.Client) -> None:
    speaker = Anthropic()
    body = speaker.ask()
    path = "/here/v1/messages/count_tokens"
    assert http.post(path, json=body, headers=speaker.headers).status_code == 400
    del body["max_tokens"]
    counted = http.post(path, json=body, headers=speaker.headers).json()
    assert counted == {"input_tokens": said(http, speaker, speaker.ask()).input_tokens}


@pytest.mark.parametrize(
    ("display", "shown"), [(None, True), ("summarized", True), ("omitted", False)]
)
def test_anthropics_thinking_may_be_left_out_and_is_signed_all_the_same(
    http: httpx.Client, display: str | None, *, shown: bool
) -> None:
    speaker = Anthropic()
    body = speaker.offer(speaker.ask())
    body["thinking"] = {"type": "adaptive"} | ({"display": display} if display else {})
    answer = post(http, speaker, body).json()
    assert bool(answer["content"][0]["thinking"]) == shown
    assert post(http, speaker, speaker.go_on(body, answer, "x")).status_code == 200


def test_chat_embeds_in_floats_unless_base64_is_asked_for(http: httpx.Client) -> None:
    def embedded(**fields: object) -> Any:  # noqa: ANN401  a list or a string
        body = {"model": "text-embedding-3-large", "input": "Hi"} | fields
        answer = http.post("/here/v1/embeddings", json=body, headers=Chat.headers)
        return answer.json()["data"][0]["embedding"]

    floats = embedded()
    assert len(floats) == 3072
    assert list(struct.unpack("<3072f", b64decode(embedded(encoding_format="base64")))) == floats
    assert floats != embedded(input="Ho")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/here/v1/messages", "type"),
        ("/here/v1beta/models/m:generateContent", "error"),
        ("/here/model/m/converse", "message"),
        ("/here/v1/responses", "error"),
    ],
)
def test_a_method_that_is_not_allowed_is_an_error_of_the_dialect(
    http: httpx.Client, path: str, key: str
) -> None:
    answer = http.get(path)
    assert answer.status_code == 405
    assert key in answer.json()
