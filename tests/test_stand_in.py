from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from stand_ins import StandIns

from extproc.stand_in.errors import ApiError
from extproc.stand_in.faults import PROVIDERS_MAX, Fault, FaultBook
from extproc.stand_in.limiter import Limiter, go_duration
from extproc.stand_in.sample import VALUES_MAX, sample
from extproc.stand_in.server import BODY_BYTES_MAX

MODEL = "claude-sonnet-4-20250514"
HELLO: list[Any] = [{"role": "user", "content": "Hello there, who are you?"}]
CHAT = {"model": MODEL, "messages": HELLO}
STREAM = CHAT | {"stream": True}
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 2},
    },
    "required": ["city"],
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock"}},
]
BROKEN_TOOL = {"function": {"name": "f", "parameters": {"type": "integer", "minimum": "x"}}}


@pytest.fixture(scope="module")
def shared() -> Iterator[StandIns]:
    with StandIns() as providers:
        yield providers


@pytest.fixture
def providers(shared: StandIns) -> Iterator[StandIns]:
    yield shared
    shared.clear()


@pytest.fixture
def sdk(providers: StandIns) -> Iterator[openai.OpenAI]:
    base_url = providers.base_url("anthropic")
    with openai.OpenAI(base_url=base_url, api_key="a-key", max_retries=0) as client:
        yield client


@pytest.fixture
def http(providers: StandIns) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=providers.root_url, trust_env=False, timeout=5) as client:
        yield client


def chat(http: httpx.Client, provider: str = "openai", **fields: object) -> httpx.Response:
    return http.post(f"/{provider}/v1/chat/completions", json=CHAT | fields)


def read_until_error(answer: httpx.Response) -> tuple[list[str], httpx.TransportError | None]:
    lines = []
    try:
        for line in answer.iter_lines():
            lines.append(line)  # noqa: PERF402  a list made in one go would be lost to the error
    except httpx.TransportError as error:
        return lines, error
    return lines, None


# Answers, read by the SDK.


def test_an_answer_names_the_model_and_the_provider_and_bills_for_both_sides(
    sdk: openai.OpenAI,
) -> None:
    answer = sdk.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.model == MODEL
    assert answer.choices[0].message.content == f"This is {MODEL} at anthropic, standing in."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.system_fingerprint
    assert answer.usage
    assert answer.usage.prompt_tokens == 14  # for 55 bytes of messages
    assert answer.usage.completion_tokens == 15  # for 60 bytes of content
    assert answer.usage.total_tokens == 29
    assert answer.usage.prompt_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_ends_at_the_most_tokens_allowed(sdk: openai.OpenAI, name: str) -> None:
    limit: Any = {name: 2}
    answer = sdk.chat.completions.create(model=MODEL, messages=HELLO, **limit)
    assert answer.choices[0].message.content == "This is "
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage
    assert answer.usage.completion_tokens == 2


def test_a_stream_is_a_role_then_words_then_the_finish_then_the_usage(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        opening, *words, finish, usage = list(stream)
    assert opening.choices[0].delta.role == "assistant"
    said = [chunk.choices[0].delta.content for chunk in words]
    assert said == ["This", " is", f" {MODEL}", " at", " anthropic,", " standing", " in."]
    assert finish.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage
    assert usage.usage.total_tokens == 29
    assert len({chunk.id for chunk in (opening, *words, finish, usage)}) == 1


def test_a_stream_has_no_usage_unless_it_is_asked_for(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        assert all(chunk.usage is None and chunk.choices for chunk in stream)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", "weather"),
        ("required", "weather"),
        ({"type": "function", "function": {"name": "clock"}}, "clock"),
        ("none", None),
    ],
)
def test_the_tool_that_is_named_is_called_and_otherwise_the_first(
    sdk: openai.OpenAI,
    choice: Any,  # noqa: ANN401  the SDK's own type for it is a union of five
    called: str | None,
) -> None:
    answer = sdk.chat.completions.create(
        model=MODEL, messages=HELLO, tools=TOOLS, tool_choice=choice
    )
    message = answer.choices[0].message
    names = [call.function.name for call in message.tool_calls or [] if call.type == "function"]
    assert names == ([called] if called else [])
    assert answer.choices[0].finish_reason == ("tool_calls" if called else "stop")
    assert (message.content is None) == bool(called)


def test_a_tool_result_is_quoted_in_the_second_turn(sdk: openai.OpenAI) -> None:
    first = sdk.chat.completions.create(model=MODEL, messages=HELLO, tools=TOOLS)
    calls = first.choices[0].message.tool_calls
    assert calls
    assert calls[0].type == "function"
    arguments = json.loads(calls[0].function.arguments)
    assert arguments == {"city": "sample", "unit": "celsius", "days": 2}
    turns: list[Any] = [
        *HELLO,
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": calls[0].id, "content": "22 degrees"},
    ]
    second = sdk.chat.completions.create(model=MODEL, messages=turns, tools=TOOLS)
    assert "22 degrees" in (second.choices[0].message.content or "")
    assert second.choices[0].finish_reason == "stop"


def test_a_streamed_tool_call_has_its_name_first_and_its_arguments_in_pieces(
    sdk: openai.OpenAI,
) -> None:
    with sdk.chat.completions.create(
        model=MODEL, messages=HELLO, tools=TOOLS, stream=True
    ) as stream:
        *chunks, finish = list(stream)
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    functions = [call.function for call in calls if call.function]
    assert calls[0].id
    assert functions[0].name == "weather"
    pieces = [function.arguments or "" for function in functions]
    assert len(pieces) > 3
    assert json.loads("".join(pieces)) == {"city": "sample", "unit": "celsius", "days": 2}
    assert finish.choices[0].finish_reason == "tool_calls"


def test_structured_output_follows_the_schema(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "w", "schema": WEATHER},
        },
    )
    content = json.loads(answer.choices[0].message.content or "")
    assert content == {"city": "sample", "unit": "celsius", "days": 2}


def test_json_mode_answers_an_object(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model=MODEL, messages=HELLO, response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "")["provider"] == "anthropic"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, {}),
        ({"const": 7}, 7),
        ({"type": ["null", "string"], "maxLength": 3}, "sam"),
        ({"type": "string", "minLength": 8}, "sample--"),
        ({"type": "string", "format": "date"}, "2025-01-31"),
        ({"type": "integer", "exclusiveMinimum": 4}, 5),
        ({"type": "integer", "maximum": -3, "multipleOf": 5}, -5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"enum": ["x"]}}}, "x"),
        ({"type": "null"}, None),
    ],
)
def test_a_sample_is_valid_for_its_schema(schema: object, value: object) -> None:
    assert sample(schema) == value


def test_a_recursive_schema_ends_at_its_first_way_out() -> None:
    link = {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
    tree = {"type": "object", "properties": {"l": link, "r": link}, "required": ["l", "r"]}
    assert json.dumps(sample(tree)).count("null") <= 2**4


def test_a_schema_that_doubles_at_every_level_makes_no_giant() -> None:
    levels: dict[str, Any] = {
        f"l{n}": {
            "properties": {side: {"$ref": f"#/$defs/l{n + 1}"} for side in ("a", "b")},
            "required": ["a", "b"],
        }
        for n in range(30)
    }
    assert json.dumps(sample({"$ref": "#/$defs/l0", "$defs": levels})).count(":") <= 2 * VALUES_MAX


@pytest.mark.parametrize("streams", [False, True])
def test_usage_reports_what_was_cached_and_thought_on_demand(
    providers: StandIns, http: httpx.Client, *, streams: bool
) -> None:
    providers.fault("openai", cached_tokens=10, reasoning_tokens=30)
    more: Any = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    answer = chat(http, **more)
    text = answer.text.split("data: ")[-2] if streams else answer.text
    usage = json.loads(text)["usage"]
    said = 14  # tokens, for the content
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (14, 10)
    assert usage["completion_tokens"] == said + 30
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 30
    assert usage["total_tokens"] == 14 + said + 30


def test_no_more_is_cached_than_was_asked_and_thinking_counts_as_output(
    providers: StandIns, http: httpx.Client
) -> None:
    providers.fault("openai", cached_tokens=99, reasoning_tokens=30)
    answer = chat(http, max_completion_tokens=30).json()
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 14
    assert answer["usage"]["completion_tokens"] == 30
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"


# Errors.


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"not json", None),
        (b"[]", None),
        (b'{"model": "m\xff", "messages": [{}]}', None),
        (b"[" * 100_000, None),
        (b'{"messages": [{"role": "user"}]}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": "hi"}', None),
        (b'{"model": "m", "messages": [1]}', None),
        (json.dumps(CHAT | {"max_tokens": 0}).encode(), None),
        (json.dumps(CHAT | {"stream_options": {}}).encode(), "stream_options"),
        (json.dumps(CHAT | {"tool_choice": {"function": {"name": "f"}}}).encode(), "tool_choice"),
        (json.dumps(CHAT | {"tools": [BROKEN_TOOL]}).encode(), None),
    ],
)
def test_a_bad_payload_is_a_400_that_names_the_parameter(
    http: httpx.Client, body: bytes, param: str | None
) -> None:
    answer = http.post("/openai/v1/chat/completions", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("POST", "/openai/v1/completions", 404),
        ("GET", "/openai/v1/chat/completions", 405),
        ("GET", "/nobody/fault", 404),
    ],
)
def test_other_paths_and_methods_are_told_apart(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_over_the_limit_is_a_413(http: httpx.Client) -> None:
    answer = http.post("/openai/v1/chat/completions", content=bytes(BODY_BYTES_MAX + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_key_is_demanded_only_when_told_to() -> None:
    with StandIns(require_key=True) as strict, httpx.Client(base_url=strict.root_url) as http:
        assert chat(http).status_code == 401
        assert chat(http).json()["error"]["code"] == "invalid_api_key"
        http.headers["authorization"] = "Bearer anything"
        assert chat(http).status_code == 200


def test_every_chat_request_is_shown_as_it_arrived(providers: StandIns, http: httpx.Client) -> None:
    answer = http.post(
        "/my-own.provider/v1/chat/completions?a=%20b",
        json=CHAT,
        headers={"host": "api.example.com", "x-api-key": "k"},
    )
    assert "at my-own.provider, " in answer.text
    (seen,) = providers.seen("my-own.provider")
    assert (seen.method, seen.host) == ("POST", "api.example.com")
    assert seen.path == "/my-own.provider/v1/chat/completions?a=%20b"
    assert seen.headers["X-Api-Key"] == "k"
    assert json.loads(seen.body) == CHAT
    assert seen.peer_port > 0
    assert providers.seen("openai") == ()


def test_each_stand_in_can_have_a_loopback_host_of_its_own() -> None:
    with StandIns("127.0.0.2") as other, httpx.Client() as http:
        assert other.base_url("openai").startswith("http://127.0.0.2:")
        assert http.get(other.root_url + "/healthz").status_code == 200


# Faults.


@pytest.mark.parametrize(
    ("fields", "type_", "retry_after"),
    [
        ({"status": 429}, "rate_limit_exceeded", "1"),
        ({"status": 429, "retry_after_s": 6.2}, "rate_limit_exceeded", "7"),
        ({"status": 503, "retry_after_s": 3}, "server_error", "3"),
        ({"status": 500}, "server_error", None),
        ({"status": 403}, "invalid_request_error", None),
    ],
)
def test_a_status_fault_is_an_error_in_openais_shape(
    providers: StandIns,
    http: httpx.Client,
    fields: dict[str, float],
    type_: str,
    retry_after: str | None,
) -> None:
    providers.fault("openai", **fields)
    answer = chat(http)
    assert answer.status_code == fields["status"]
    assert answer.json()["error"]["type"] == type_
    assert answer.headers.get("retry-after") == retry_after


def test_a_fault_hits_its_provider_and_its_model_so_many_times(
    providers: StandIns, http: httpx.Client
) -> None:
    providers.fault("openai", status=503, times=2, model="gpt-5")
    assert chat(http, "anthropic", model="gpt-5").status_code == 200
    assert chat(http).status_code == 200
    assert chat(http, model="gpt-5").status_code == 503
    assert http.get("/openai/fault").json() == {"model": "gpt-5", "times": 1, "status": 503}
    assert [chat(http, model="gpt-5").status_code for _ in range(2)] == [503, 200]
    assert http.get("/openai/fault").status_code == 404


def test_a_fault_lasts_until_it_is_cleared(providers: StandIns, http: httpx.Client) -> None:
    providers.fault("openai", status=500)
    assert [chat(http).status_code for _ in range(3)] == [500, 500, 500]
    assert http.delete("/openai/fault").status_code == 204
    assert chat(http).status_code == 200


@pytest.mark.parametrize(
    "fields", [{}, {"stream": True}, {"status": 529}, {"requests_per_minute": 5}], ids=str
)
def test_chosen_headers_come_with_every_answer(
    providers: StandIns, http: httpx.Client, fields: dict[str, Any]
) -> None:
    told = {"x-ratelimit-remaining-requests": "3", "retry-after-ms": "250"}
    streams = {key: value for key, value in fields.items() if key == "stream"}
    providers.fault("openai", **(fields if not streams else {}), headers=told)
    answer = chat(http, **streams)
    assert {name: answer.headers.get(name) for name in told} == told


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"sttus": 500}', "sttus"),
        ('{"headers": {"a": "b\\r\\nc: d"}}', "headers"),
        ('{"headers": {"a": "b\\n"}}', "headers"),
        ('{"status": 200}', "status"),
        ('{"times": 0}', "times"),
        ('{"reset": "later"}', "reset"),
        ('{"delay_s": 1e9}', "delay_s"),
        ("[]", "object"),
        ("?", "JSON"),
    ],
)
def test_a_mistake_in_a_fault_is_a_400_that_names_it(
    http: httpx.Client, body: str, named: str
) -> None:
    answer = http.put("/openai/fault", content=body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_the_fault_book_holds_a_bounded_number_of_providers() -> None:
    book = FaultBook()
    for number in range(PROVIDERS_MAX):
        book.put(f"p{number}", Fault())
    book.put("p0", Fault(hang=True))
    with pytest.raises(ApiError):
        book.put("one more", Fault())


def test_a_delay_comes_before_the_first_byte(providers: StandIns, http: httpx.Client) -> None:
    providers.fault("openai", delay_s=0.2)
    before_s = time.monotonic()
    assert chat(http).status_code == 200
    assert time.monotonic() - before_s >= 0.2


def test_chunks_arrive_one_by_one_with_the_delay_between_them(
    providers: StandIns, http: httpx.Client
) -> None:
    providers.fault("openai", chunk_delay_s=0.05)
    with http.stream("POST", "/openai/v1/chat/completions", json=STREAM) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        chunks = [(time.monotonic(), chunk) for chunk in answer.iter_raw()]
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for _, chunk in chunks)
    assert chunks[-1][1] == b"data: [DONE]\n\n"
    gaps_s = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(chunks)]
    assert len(gaps_s) == 9
    assert min(gaps_s) > 0.02


def test_a_reset_before_the_headers_is_a_tcp_reset(providers: StandIns) -> None:
    providers.fault("openai", reset="before_headers")
    head, payload = b"POST /openai/v1/chat/completions HTTP/1.1\r\n", json.dumps(CHAT).encode()
    with socket.create_connection((providers.host, providers.port), timeout=5) as connection:
        connection.sendall(head + b"host: x\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize("payload", [CHAT, STREAM], ids=["json", "stream"])
def test_a_reset_midway_comes_after_some_of_the_answer(
    providers: StandIns, http: httpx.Client, payload: dict[str, Any]
) -> None:
    providers.fault("openai", reset="mid_stream")
    with http.stream("POST", "/openai/v1/chat/completions", json=payload) as answer:
        assert answer.status_code == 200
        lines, error = read_until_error(answer)
    assert lines or payload is CHAT  # half a JSON answer is no line yet
    assert answer.num_bytes_downloaded > 0
    assert "data: [DONE]" not in lines
    assert type(error) is httpx.ReadError


@pytest.mark.parametrize("chunks", [0, 3])
def test_a_stall_sends_so_many_chunks_and_falls_silent(
    providers: StandIns, http: httpx.Client, chunks: int
) -> None:
    providers.fault("openai", stall_after_chunks=chunks)
    quiet = httpx.Timeout(5, read=0.2)
    with http.stream("POST", "/openai/v1/chat/completions", json=STREAM, timeout=quiet) as answer:
        assert answer.status_code == 200
        lines, error = read_until_error(answer)
    assert sum(line.startswith("data: ") for line in lines) == chunks
    assert type(error) is httpx.ReadTimeout


def test_a_hang_never_answers(providers: StandIns, http: httpx.Client) -> None:
    providers.fault("openai", hang=True, times=1)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/openai/v1/chat/completions", json=CHAT, timeout=0.2)
    assert chat(http).status_code == 200


# Rate limits.


@pytest.mark.parametrize(
    ("provider", "header", "reset_form"),
    [
        ("openai", "x-ratelimit-{fact}-{unit}", r"1m0s|5\d(\.\d+)?s"),
        ("anthropic", "anthropic-ratelimit-{unit}-{fact}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    ],
)
def test_a_rate_limit_counts_down_in_the_providers_own_headers(
    providers: StandIns, http: httpx.Client, provider: str, header: str, reset_form: str
) -> None:
    providers.fault(provider, requests_per_minute=2, tokens_per_minute=1000)
    answers = [chat(http, provider) for _ in range(3)]

    def told(unit: str, fact: str) -> list[str]:
        return [one.headers[header.format(unit=unit, fact=fact)] for one in answers]

    assert [one.status_code for one in answers] == [200, 200, 429]
    used = answers[0].json()["usage"]["total_tokens"]
    assert told("requests", "limit") == ["2", "2", "2"]
    assert told("requests", "remaining") == ["1", "0", "0"]
    assert told("tokens", "limit") == ["1000", "1000", "1000"]
    assert told("tokens", "remaining")[1:] == [str(1000 - 2 * used)] * 2
    assert all(re.fullmatch(reset_form, reset) for reset in told("tokens", "reset"))
    assert 50 <= int(answers[2].headers["retry-after"]) <= 60
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"


def test_a_token_limit_refuses_the_request_that_would_pass_it(
    providers: StandIns, http: httpx.Client
) -> None:
    providers.fault("openai", tokens_per_minute=50)
    answers = [chat(http) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "x-ratelimit-limit-requests" not in answers[0].headers


def test_a_limit_is_whole_again_when_its_window_ends() -> None:
    limiter = Limiter(1, None)
    assert limiter.admit(9, now_s=100.0)
    assert not limiter.admit(9, now_s=159.5)
    assert limiter.retry_after_s(159.5) == 1
    assert limiter.headers("openai", 159.5)["x-ratelimit-reset-requests"] == "500ms"
    assert limiter.headers("anthropic", 0)["anthropic-ratelimit-requests-reset"] == (
        "1970-01-01T00:02:40Z"
    )
    assert limiter.admit(9, now_s=160.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.02, "20ms"), (1, "1s"), (8.64, "8.64s"), (59.9999, "1m0s"), (360, "6m0s")],
)
def test_a_reset_is_written_as_go_writes_a_duration(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


# The process.


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "extproc.stand_in", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_when_it_is_ready_and_stops_within_a_second_or_so(number: int) -> None:
    with start("--port", "0") as process, httpx.Client(trust_env=False) as http:
        assert process.stderr
        ready = process.stderr.readline()
        root_url = ready.split()[-1]
        http.put(root_url + "/openai/fault", json={"stall_after_chunks": 1})
        url = root_url + "/openai/v1/chat/completions"
        with http.stream("POST", url, json=STREAM | {"model": "secret"}) as answer:
            asked_s = time.monotonic()
            os.kill(process.pid, number)
            _, error = read_until_error(answer)
            assert type(error) is httpx.RemoteProtocolError
        assert process.wait(5) == 0
        assert time.monotonic() - asked_s < 1.5
        assert process.stderr.read() == ""


def test_a_malformed_request_is_not_quoted_in_a_log() -> None:
    with start("--port", "0") as process:
        assert process.stderr
        host, _, port = process.stderr.readline().split("//")[1].partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nauthorization bearer secret\r\n\r\n")
            assert b"400" in connection.recv(100)
        process.terminate()
        assert process.stderr.read() == ""


def test_a_port_in_use_is_one_line_and_exit_code_1(providers: StandIns) -> None:
    with start("--port", str(providers.port)) as process:
        assert process.stderr
        assert process.wait(5) == 1
        line = process.stderr.read()
    assert line.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{providers.port}: " in line
    assert "in use" in line
