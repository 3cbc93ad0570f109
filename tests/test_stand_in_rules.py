"""What each stand-in refuses, as the provider documents it: tables of a mistake and its error.

A row is a request that would be answered but for one thing, and words of what is said about it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from speakers import (
    CLOSED,
    FUNCTIONS,
    PIXEL,
    WEATHER,
    Anthropic,
    Bedrock,
    Body,
    Chat,
    Gemini,
    Responses,
    Speaker,
)
from stand_ins import StandIns

from extproc.stand_in.answer import Bill, compose
from extproc.stand_in.endpoints import ENDPOINTS
from extproc.stand_in.errors import ApiError
from extproc.stand_in.question import Asked

DATA = base64.b64encode(PIXEL).decode()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        StandIns() as providers,
        httpx.Client(base_url=providers.root_url, trust_env=False, timeout=5) as client,
    ):
        yield client


def post(
    http: httpx.Client, speaker: Speaker, body: Body, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    sent = {**speaker.headers, **(headers or {})}
    return http.post("/here" + speaker.path(), content=json.dumps(body), headers=sent)


def refusal(http: httpx.Client, speaker: Speaker, body: Body) -> str:
    answer = post(http, speaker, body)
    assert answer.status_code == 400, answer.text
    error = answer.json()
    return str(error.get("message") or error["error"]["message"])


def every_place(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    for key, one in inner or (enumerate(value) if isinstance(value, list) else ()):
        yield from every_place(one, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: object) -> Any:  # noqa: ANN401  any JSON
    if not path:
        return by
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


@pytest.mark.parametrize(
    ("endpoint", "speaker"),
    [
        ("/v1/chat/completions", Chat()),
        ("/v1/responses", Responses()),
        ("/v1/messages", Anthropic()),
        ("/v1beta/models/{model:[^/:]+}:generateContent", Gemini()),
        ("/model/{model:[^/]+}/converse", Bedrock()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_stands_anywhere_is_answered_or_refused(endpoint: str, speaker: Speaker) -> None:
    """Every value of an elaborate request in turn, by every kind of value."""
    dialect = ENDPOINTS[endpoint]
    model = "" if "model" in speaker.ask() else speaker.model

    def answered(body: object) -> bytes:
        asked = Asked("here", model, {}, speaker.headers, json.dumps(body).encode())
        question, writer = dialect.read(asked)
        answer = compose(question, "here", Bill(), answer_id="0" * 32, now_s=0)
        return b"".join([*writer.stream(answer), writer.whole(answer)])

    def status(body: object) -> int:
        try:
            answered(body)
        except ApiError as error:
            return error.status
        return 200

    first = speaker.structure(speaker.think(speaker.offer(speaker.ask("Hi", image=True))))
    asked = Asked("here", model, {}, speaker.headers, json.dumps(first).encode())
    question, writer = dialect.read(asked)
    answer = compose(question, "here", Bill(), answer_id="0" * 32, now_s=0)
    second = speaker.go_on(first, json.loads(writer.whole(answer)), "22")
    others: list[object] = [
        None,
        True,
        -1,
        10**400,
        1e300,
        "",
        "a",
        [],
        [[]],
        [None],
        {},
        {"type": "a"},
    ]
    counts: Counter[int] = Counter()
    for path in every_place(second):
        for other in others:
            counts[status(replaced(second, path, other))] += 1
    assert counts.keys() <= {200, 400, 404}
    assert min(counts[200], counts[400]) > 50


GARBAGE = [
    b"",
    b"[]",
    b"7",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"model": "m\xff"}',
    b'{"model": "\\ud800"}',
    b'{"messages": {}, "contents": {}, "input": 7}',
    b'{"model": NaN}',
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: str(body[:30]))
@pytest.mark.parametrize(
    "speaker", [Chat(), Responses(), Anthropic(), Gemini(), Bedrock()], ids=lambda s: s.name
)
def test_garbage_is_a_400_everywhere(http: httpx.Client, speaker: Speaker, body: bytes) -> None:
    answer = http.post("/here" + speaker.path(), content=body, headers=speaker.headers)
    assert answer.status_code == 400
    assert answer.json()


# OpenAI chat.


def chat_call(call_id: str = "c1", **more: object) -> Body:
    call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return {"role": "assistant", "tool_calls": [call | more]}


def chat_result(call_id: str = "c1") -> Body:
    return {"role": "tool", "tool_call_id": call_id, "content": "22"}


HALF_OPEN: Body = {
    "type": "object",
    "properties": {"a": CLOSED | {"required": []}},
    "required": ["a"],
    "additionalProperties": False,
}
HI: Body = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"top_k": 3}, "Unknown parameter: 'top_k'"),
        ({"thinking": {}}, "Unknown parameter: 'thinking'"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "at the same time"),
        ({"temperature": 2.5}, "'temperature'"),
        ({"top_p": 2}, "'top_p'"),
        ({"n": 0}, "'n'"),
        ({"stop": ["a"] * 5}, "'stop'"),
        ({"top_logprobs": 2}, "'top_logprobs'"),
        ({"metadata": {"k": 1}}, "'metadata"),
        ({"tool_choice": "auto"}, "only allowed when 'tools'"),
        ({"parallel_tool_calls": True}, "only allowed when 'tools'"),
        ({"tools": [{"type": "function"}]}, "'tools[0].function'"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "name'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "x": 1}]}, "Unknown parameter"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"model": "gpt-5", "max_tokens": 20}, "Use 'max_completion_tokens' instead"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "w", "schema": WEATHER, "strict": True},
                }
            },
            "Invalid schema for 'w': In context=(), 'additionalProperties' is required",
        ),
        (
            {"tools": [{"function": {"name": "f", "parameters": HALF_OPEN, "strict": True}}]},
            "In context=('properties', 'a')",
        ),
        ({"messages": [HI | {"role": "model"}]}, "'messages[0].role'"),
        ({"messages": [HI | {"cache_control": {}}]}, "'messages[0].cache_control'"),
        ({"messages": [HI, {"role": "assistant"}]}, "'messages[1].content'"),
        ({"messages": [HI, {"role": "assistant", "tool_calls": []}]}, "empty array"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "input_text"}]}]}, "messages[0]"),
        ({"messages": [HI, chat_result()]}, "must be a response to a preceding message"),
        ({"messages": [HI, chat_call(), HI]}, "did not have response messages: c1"),
        ({"messages": [HI, chat_call()]}, "did not have response messages: c1"),
        ({"messages": [HI, chat_call(), chat_result("c2")]}, "must be a response"),
        ({"messages": [HI, chat_call("c" * 41), chat_result("c" * 41)]}, "maximum length 40"),
        ({"messages": [HI, chat_call(type="custom"), chat_result()]}, "tool_calls[0]"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_chat_refuses(http: httpx.Client, change: Body, told: str) -> None:
    assert told in refusal(http, Chat(), {"model": "m", "messages": [HI]} | change)


def test_chat_at_anthropic_skips_what_it_does_not_know(http: httpx.Client) -> None:
    body = {"model": "m", "messages": [HI], "unheard_of": 1}
    assert http.post("/anthropic/v1/chat/completions", json=body).status_code == 200


# OpenAI responses.


def item_call(call_id: str = "c1", **more: object) -> Body:
    call = {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}
    return {**call, **more}


def item_output(call_id: str = "c1") -> Body:
    return {"type": "function_call_output", "call_id": call_id, "output": "22"}


THOUGHT: Body = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_tokens": 1}, "moved to 'max_output_tokens'"),
        ({"response_format": {}}, "moved to 'text.format'"),
        ({"messages": []}, "moved to 'input'"),
        ({"seed": 1}, "Unknown parameter: 'seed'"),
        ({"input": []}, "'input'"),
        ({"max_output_tokens": 5}, "Expected a value >= 16"),
        ({"previous_response_id": "resp_1"}, "Previous response with id 'resp_1' not found."),
        ({"temperature": 3}, "'temperature'"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "'text.format.name'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "'tools[0]."),
        (
            {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "w",
                        "schema": {"type": "object"},
                        "strict": True,
                    }
                }
            },
            "Invalid schema for 'w'",
        ),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": WEATHER, "strict": True}]},
            "Invalid schema for 'f'",
        ),
        ({"tool_choice": {"type": "function", "name": "f"}}, "not found in 'tools'"),
        ({"tool_choice": "required"}, "no 'tools'"),
        ({"input": [HI, item_output()]}, "No tool call found for function call output"),
        ({"input": [HI, item_call()]}, "No tool output found for function call c1"),
        ({"input": [HI, item_call(id="x"), item_output()]}, "begins with 'fc'"),
        ({"input": [HI, item_call("c" * 65), item_output("c" * 65)]}, "'input[1].call_id'"),
        ({"input": [HI, {"type": "tool_result"}]}, "'input[1].type'"),
        ({"input": [HI | {"content": [{"type": "text", "text": "a"}]}]}, "'input[0]"),
        ({"input": [HI | {"content": [{"type": "output_text", "text": "a"}]}]}, "'input[0]"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "a"}]}]},
            "'input[0]",
        ),
        ({"input": [HI, THOUGHT]}, "without its required following item"),
        ({"input": [HI, THOUGHT, HI]}, "without its required following item"),
        (
            {"input": [HI, THOUGHT | {"encrypted_content": "x"}, item_call(), item_output()]},
            "could not be verified",
        ),
        ({"input": [HI | {"content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_responses_refuse(http: httpx.Client, change: Body, told: str) -> None:
    assert told in refusal(http, Responses(), {"model": "m", "input": "Hi"} | change)


@pytest.mark.parametrize(
    "change",
    [
        {"conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
def test_responses_find_nothing_that_was_stored(http: httpx.Client, change: Body) -> None:
    answer = post(http, Responses(), {"model": "m", "input": "Hi"} | change)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"input": ""}, "empty string"),
        ({"input": []}, "empty string"),
        ({"input": ["a", ""]}, "empty string"),
        ({"input": ["a", 1]}, "do not mix"),
        ({"input": ["a"] * 2049}, "at most 2048"),
        ({"input": None}, "'input'"),
        ({"dimensions": 4096}, "less than or equal to 1536"),
        ({"dimensions": 0}, "'dimensions'"),
        ({"encoding_format": "int8"}, "'encoding_format'"),
        ({"model": "text-embedding-ada-002", "dimensions": 5}, "does not support"),
        ({"truncate": True}, "Unknown parameter: 'truncate'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_embeddings_refuse(http: httpx.Client, change: Body, told: str) -> None:
    answer = http.post("/here/v1/embeddings", json={"model": "m", "input": "Hi"} | change)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


@pytest.mark.parametrize("inputs", ["a", ["a", "b"], [1, 2], [[1, 2], [3]]], ids=str)
def test_embeddings_take_texts_and_tokens(http: httpx.Client, inputs: object) -> None:
    answer = http.post("/here/v1/embeddings", json={"model": "m", "input": inputs})
    count = 2 if inputs in (["a", "b"], [[1, 2], [3]]) else 1
    assert [one["index"] for one in answer.json()["data"]] == list(range(count))


def test_azure_wants_a_version_where_it_has_deployments(http: httpx.Client) -> None:
    path = "/here/openai/deployments/d/chat/completions"
    answer = http.post(path, json={"messages": [HI]})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "MissingApiVersionParameter"


# Anthropic.


def use(call_id: str = "t1") -> Body:
    return {"type": "tool_use", "id": call_id, "name": "weather", "input": {}}


def result(call_id: str = "t1", **more: object) -> Body:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "22", **more}


def text(words: str = "Hi", **more: object) -> Body:
    return {"type": "text", "text": words, **more}


def user(*blocks: Body) -> Body:
    return {"role": "user", "content": [*blocks]}


def assistant(*blocks: Body) -> Body:
    return {"role": "assistant", "content": [*blocks]}


EPHEMERAL: Body = {"cache_control": {"type": "ephemeral"}}
ON: Body = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
TOOLS: Body = Anthropic().offer({})
FORCED: Body = Anthropic().offer({}, forced="clock")
HOUR: Body = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_tokens": None}, "max_tokens: "),
        ({"max_tokens": 0}, "max_tokens: "),
        ({"stream_options": {}}, "stream_options: Extra inputs are not permitted"),
        ({"n": 1}, "n: Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature: "),
        ({"top_p": 2}, "top_p: "),
        ({"stop_sequences": [" "]}, "stop_sequences.0"),
        ({"metadata": {"team": "a"}}, "metadata.team: Extra inputs are not permitted"),
        ({"system": ""}, None),
        ({"system": [text("")]}, "system: text content blocks must be non-empty"),
        ({"messages": []}, "at least one message"),
        ({"messages": [assistant(text())]}, 'first message must use the "user" role'),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.role"),
        ({"messages": [user()]}, "must have non-empty content"),
        ({"messages": [user(text(""))]}, "text content blocks must be non-empty"),
        ({"messages": [user(text(" "))]}, "non-whitespace"),
        ({"messages": [user(text(), text(x=1))]}, "x: Extra inputs are not permitted"),
        ({"messages": [user({"type": "input_text"})]}, "messages.0.content"),
        ({"messages": [user(text()), assistant(text("a "))]}, "trailing whitespace"),
        ({"messages": [user(text()), user(text())]}, None),
        ({"messages": [user(use())]}, "blocks are not allowed in `user` messages"),
        ({"messages": [user(text()), assistant(use("a.b"))]}, "messages.1.content.0.id"),
        ({"messages": [user(text()), assistant(use())]}, "without `tool_result` blocks"),
        ({"messages": [user(result())]}, "unexpected `tool_use_id`"),
        (
            {"messages": [user(text()), assistant(use()), user(text(), result())]},
            "without `tool_result` blocks immediately after: t1",
        ),
        ({"messages": [user(text()), assistant(use()), user(result(), text())]}, None),
        (
            {"messages": [user(text()), assistant(use()), user(result("t2"))]},
            "unexpected `tool_use_id`",
        ),
        (
            {"messages": [user(text()), assistant(use()), user(result(), result())]},
            "multiple `tool_result` blocks",
        ),
        (
            {"messages": [user(text()), assistant(use("a"), use("b")), user(result("a"))]},
            "immediately after: b",
        ),
        (
            {"messages": [user(text()), assistant(use()), user(text("No.")), user(result())]},
            "without `tool_result` blocks",
        ),
        (
            {
                "messages": [
                    user(text()),
                    assistant({"type": "thinking", "thinking": "a", "signature": "b"}, text()),
                    user(text()),
                ]
            },
            "Invalid `signature` in `thinking` block",
        ),
        (
            {"messages": [user(text()), assistant({"type": "thinking", "thinking": "a"})]},
            "signature: Field required",
        ),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "input_schema.type"),
        ({"tools": [{"name": "f f", "input_schema": {"type": "object"}}]}, "tools.0.name"),
        ({"tools": [{"name": "f", "input_schema": {"type": "object"}}] * 2}, "must be unique"),
        ({"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
        (TOOLS | {"tool_choice": {"type": "tool", "name": "f"}}, "'f' not found"),
        (TOOLS | {"tool_choice": {"type": "required"}}, "tool_choice"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, "or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "must be greater than"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 1024}}, "Extra inputs"),
        (ON | FORCED, "tool_choice forces tool use"),
        (ON | {"temperature": 0.5}, "`temperature` may only be set to 1"),
        (ON | {"temperature": 1}, None),
        (ON | {"top_k": 5}, "`top_k` must be unset"),
        (ON | {"top_p": 0.5}, "`top_p`"),
        (ON | {"messages": [user(text()), assistant(text("a"))]}, "prefilled"),
        (
            ON | {"messages": [user(text()), assistant(use()), user(result())]},
            "must start with a thinking block",
        ),
        ({"model": "claude-sonnet-4-5", "temperature": 1, "top_p": 1}, "cannot both"),
        ({"model": "claude-sonnet-4-20250514", "temperature": 1, "top_p": 1}, None),
        ({"messages": [user(*[text(**EPHEMERAL)] * 4)]}, None),
        ({"messages": [user(*[text(**EPHEMERAL)] * 5)]}, "A maximum of 4 blocks"),
        (
            {
                "system": [text(**EPHEMERAL)],
                "tools": [{"name": "f", "input_schema": {"type": "object"}} | EPHEMERAL],
                "messages": [user(*[text(**EPHEMERAL)] * 3)],
            },
            "Found 5",
        ),
        ({"messages": [user(text(**EPHEMERAL), text(**HOUR))]}, "must not come after"),
        ({"messages": [user(text(**HOUR), text(**EPHEMERAL))]}, None),
        (
            {
                "messages": [
                    user(
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/bmp", "data": DATA},
                        }
                    )
                ]
            },
            "Input should be 'image/gif'",
        ),
        (
            {
                "messages": [
                    user(
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "?"},
                        }
                    )
                ]
            },
            "Invalid base64 data",
        ),
        ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format.type"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": WEATHER}}},
            "'additionalProperties' must be explicitly set to false",
        ),
        (
            {"tools": [{"name": "f", "input_schema": WEATHER, "strict": True}]},
            "tools.0.custom.input_schema: For 'object' type",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_anthropic_refuses(http: httpx.Client, change: Body, told: str | None) -> None:
    """Where nothing is told, the request is one that only looks like a mistake."""
    body = {"model": "m", "max_tokens": 2048, "messages": [user(text())]} | change
    body = {name: value for name, value in body.items() if value is not None}
    if told is None:
        assert post(http, Anthropic(), body).status_code == 200
    else:
        assert told in refusal(http, Anthropic(), body)


@pytest.mark.parametrize(
    ("version", "change", "status"),
    [
        (None, {}, 400),
        ("2024-01-01", {}, 400),
        ("2023-06-01", {"temperature": 1, "top_k": 5}, 200),
        ("2026-10-21", {}, 200),
        ("2026-10-21", {"temperature": 1}, 400),
        ("2026-10-21", {"top_p": 1}, 400),
        ("2026-10-21", {"top_k": 5}, 400),
        ("2023-06-01", {"messages": [user(text(citations=[{}]))]}, 200),
        ("2026-10-21", {"messages": [user(text(citations=[{}]))]}, 400),
    ],
)
def test_anthropics_version_says_what_is_taken(
    http: httpx.Client, version: str | None, change: Body, status: int
) -> None:
    body = {"model": "m", "max_tokens": 20, "messages": [user(text())]} | change
    headers = {"anthropic-version": version} if version else {}
    assert http.post("/here/v1/messages", json=body, headers=headers).status_code == status


# Gemini.


def content(role: str, *parts: Body) -> Body:
    return {"role": role, "parts": [*parts]}


def function_call(name: str = "f", **more: object) -> Body:
    return {"functionCall": {"name": name, "args": {}}, **more}


def function_response(name: str = "f") -> Body:
    return {"functionResponse": {"name": name, "response": {"result": "22"}}}


def declared(**parameters: object) -> Body:
    return {"tools": [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]}


def config(**fields: object) -> Body:
    return {"generationConfig": fields}


ASK: Body = content("user", {"text": "Hi"})
DUMMY: Body = {"thoughtSignature": "skip_thought_signature_validator"}
OBJECT: Body = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"messages": []}, 'Unknown name "messages": Cannot find field.'),
        ({"system": "a"}, 'Unknown name "system"'),
        (config(max_tokens=1), "Unknown name \"max_tokens\" at 'generationConfig'"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [content("user")]}, "must not be empty"),
        ({"contents": [content("assistant", {"text": "a"})]}, "valid role: user, model"),
        ({"contents": [content("user", {})]}, "required oneof field 'data'"),
        ({"contents": [content("user", {"text": "a"} | function_call())]}, "oneof"),
        (
            {"contents": [content("user", {"text": "a", "x": 1})]},
            'Unknown name "x" at \'contents[0]',
        ),
        ({"contents": [ASK, content("user", function_response())]}, "after a function call turn"),
        ({"contents": [ASK, content("user", function_call())]}, "immediately after a user turn"),
        ({"contents": [ASK, content("model", function_call())]}, "must be followed"),
        (
            {"contents": [ASK, content("model", function_call()), ASK]},
            "number of function response",
        ),
        (
            {
                "contents": [
                    ASK,
                    content("model", function_call(), function_call()),
                    content("user", function_response()),
                ]
            },
            "number of function response parts",
        ),
        (
            {
                "contents": [
                    ASK,
                    content("model", function_call("g")),
                    content("user", function_response()),
                ]
            },
            "names of the function calls",
        ),
        (
            {
                "contents": [
                    ASK,
                    content("model", function_call()),
                    content("user", function_response()),
                ]
            },
            "missing a thought_signature",
        ),
        (
            {
                "contents": [
                    ASK,
                    content("model", function_call(**DUMMY)),
                    content("user", function_response()),
                ]
            },
            None,
        ),
        (
            {
                "contents": [
                    ASK,
                    content("model", function_call()),
                    content("user", function_response()),
                    content("model", {"text": "22"}),
                    ASK,
                ]
            },
            None,
        ),
        (
            {"contents": [ASK, content("model", {"text": "a", "thoughtSignature": "b"})]},
            "not valid",
        ),
        (
            {"contents": [content("user", {"inlineData": {"mimeType": "image/png", "data": "?"}})]},
            "Base64",
        ),
        (config(temperature=3), "temperature: must be in the range"),
        (config(topP=2), "top_p"),
        (config(maxOutputTokens=0), "max_output_tokens"),
        (config(stopSequences=["a"] * 6), "stop_sequences"),
        (config(candidateCount=9), "candidate_count"),
        (config(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 1}), "only one of"),
        (config(responseJsonSchema={}), "response mime type"),
        (
            config(responseSchema={"type": "object"}, responseMimeType="application/json"),
            "non-empty",
        ),
        (declared(type="OBJECT"), "should be non-empty for OBJECT type"),
        (declared(**OBJECT, additionalProperties=False), 'Unknown name "additionalProperties"'),
        (declared(type="OBJECT", properties={"a": {"type": "ARRAY"}}), "items: missing field"),
        (declared(type="OBJECT", properties={"a": {"type": "INTEGER", "enum": ["1"]}}), "enum"),
        (declared(type="OBJECT", properties={"a": {"type": "STRING", "format": "uri"}}), "format"),
        (declared(**OBJECT, required=["b"]), "property is not defined"),
        (declared(**OBJECT), None),
        ({"tools": [{"functionDeclarations": [{"name": "1"}]}]}, "name"),
        ({"tools": [{"function_declarations": []}]}, 'Unknown name "function_declarations"'),
        (
            {"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}},
            "only be set when mode is ANY",
        ),
        (
            {
                "toolConfig": {
                    "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}
                }
            },
            "not declared",
        ),
        ({"toolConfig": {"functionCallingConfig": {"mode": "REQUIRED"}}}, "mode"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_gemini_refuses(http: httpx.Client, change: Body, told: str | None) -> None:
    body = {"contents": [ASK]} | change
    if told is None:
        assert post(http, Gemini(), body).status_code == 200
    else:
        assert told in refusal(http, Gemini(), body)


def test_only_geminis_third_wants_signatures_and_mixes_calls_with_json(http: httpx.Client) -> None:
    turns = [ASK, content("model", function_call()), content("user", function_response())]
    mixed = config(responseMimeType="application/json") | declared(**OBJECT)
    path = "/here/v1beta/models/gemini-2.5-flash:generateContent"
    assert http.post(path, json={"contents": turns}).status_code == 200
    assert http.post(path, json={"contents": [ASK]} | mixed).status_code == 400
    assert post(http, Gemini(), {"contents": [ASK]} | mixed).status_code == 200


# Bedrock.


def tool_use(call_id: str = "t1") -> Body:
    return {"toolUse": {"toolUseId": call_id, "name": "weather", "input": {}}}


def tool_result(call_id: str = "t1", *contents: Body) -> Body:
    return {"toolResult": {"toolUseId": call_id, "content": [*contents] or [{"text": "22"}]}}


def document(name: str = "report", **source: object) -> Body:
    given = source or {"bytes": DATA}
    return {"document": {"format": "pdf", "name": name, "source": given}}


def additional(**fields: object) -> Body:
    return {"additionalModelRequestFields": fields}


CONFIG: Body = Bedrock().offer({})
SAY: Body = {"text": "Hi"}
BUDGET: Body = {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"modelId": "m"}, "extraneous key [modelId]"),
        ({"max_tokens": 1}, "extraneous key [max_tokens]"),
        ({"messages": []}, "must start with a user message"),
        ({"messages": [assistant(SAY)]}, "must start with a user message"),
        ({"messages": [user(SAY), user(SAY)]}, "must alternate"),
        ({"messages": [user()]}, "content field in the Message object at messages.0 is empty"),
        ({"messages": [user({"text": " "})]}, "messages.0.content.0 is blank"),
        ({"messages": [user({})]}, "exactly one member, and has 0"),
        ({"messages": [user(SAY | document())]}, "exactly one member, and has 2"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "messages.0.content"),
        ({"messages": [user(SAY), assistant(tool_use()), user(tool_result())]}, "toolConfig field"),
        (CONFIG | {"messages": [user(SAY), assistant(tool_use()), user(tool_result())]}, None),
        (CONFIG | {"messages": [user(SAY), assistant(tool_use()), user(SAY)]}, "following Ids: t1"),
        (CONFIG | {"messages": [user(SAY), assistant(tool_use())]}, "following Ids: t1"),
        (CONFIG | {"messages": [user(tool_result())]}, "exceeds the number of toolUse"),
        (
            CONFIG
            | {
                "messages": [
                    user(SAY),
                    assistant(tool_use()),
                    user(tool_result(), tool_result("t2")),
                ]
            },
            "exceeds the number of toolUse",
        ),
        (CONFIG | {"messages": [user(SAY), assistant(tool_use("a/b"))]}, "toolUseId"),
        (CONFIG | {"messages": [user(tool_use())]}, "not allowed for the user"),
        (
            CONFIG | {"messages": [user(SAY), assistant(tool_use()), user(tool_result("t1", {}))]},
            "exactly one member",
        ),
        ({"messages": [user(SAY, document())]}, None),
        ({"messages": [user(document())]}, "text block is required"),
        ({"messages": [user(SAY, document("a.pdf"))]}, "document file name can only contain"),
        ({"messages": [user(SAY, document("a  b"))]}, "document file name can only contain"),
        ({"messages": [user(SAY, document(), document())]}, "same name"),
        ({"messages": [user(SAY, *[document(f"d{i}") for i in range(6)])]}, "At most 5 documents"),
        ({"messages": [user(SAY, document(bytes="?"))]}, "not base64"),
        ({"messages": [user({"image": {"format": "bmp", "source": {"bytes": DATA}}})]}, "format"),
        ({"system": "a"}, "system"),
        ({"system": [{"text": ""}]}, "system.0 is blank"),
        ({"inferenceConfig": {"temperature": 1.5}}, "inferenceConfig.temperature"),
        ({"inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        ({"inferenceConfig": {"topK": 1}}, "extraneous key [inferenceConfig.topK]"),
        ({"toolConfig": {"tools": []}}, "toolConfig.tools"),
        (CONFIG | {"toolConfig": CONFIG["toolConfig"] | {"toolChoice": {}}}, "exactly one member"),
        (
            {"toolConfig": CONFIG["toolConfig"] | {"toolChoice": {"tool": {"name": "f"}}}},
            "not in toolConfig.tools",
        ),
        (
            {
                "toolConfig": {
                    "tools": [{"toolSpec": {"name": "f", "inputSchema": {"type": "object"}}}]
                }
            },
            "inputSchema",
        ),
        (
            {
                "toolConfig": {
                    "tools": [
                        {"toolSpec": {"name": "f", "description": "", "inputSchema": {"json": {}}}}
                    ]
                }
            },
            "description",
        ),
        (additional(seed=1), "extraneous key [seed]"),
        (additional(thinking={"type": "enabled", "budget_tokens": 9}), "or equal to 1024"),
        (
            additional(thinking=BUDGET) | {"inferenceConfig": {"maxTokens": 1024}},
            "must be greater than",
        ),
        (additional(thinking=BUDGET) | Bedrock().offer({}, forced="clock"), "forces tool use"),
        (additional(thinking=BUDGET) | {"inferenceConfig": {"temperature": 0}}, "set to 1"),
        (
            {
                "messages": [
                    user(SAY),
                    assistant(
                        {"reasoningContent": {"reasoningText": {"text": "a", "signature": "b"}}},
                        SAY,
                    ),
                    user(SAY),
                ]
            },
            "Invalid `signature`",
        ),
        (
            {
                "outputConfig": {
                    "textFormat": {
                        "type": "json_schema",
                        "structure": {"jsonSchema": {"schema": "{"}},
                    }
                }
            },
            "not the text of a JSON schema",
        ),
        (
            {
                "outputConfig": {
                    "textFormat": {
                        "type": "json_schema",
                        "structure": {"jsonSchema": {"schema": json.dumps(WEATHER)}},
                    }
                }
            },
            "'additionalProperties' must be explicitly set to false",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bedrock_refuses(http: httpx.Client, change: Body, told: str | None) -> None:
    body = {"messages": [user(SAY)]} | change
    if told is None:
        assert post(http, Bedrock(), body).status_code == 200
    else:
        assert told in refusal(http, Bedrock(), body)


# What is seen of media, in the dialects' several ways.


def chat_parts(*parts: Body) -> Body:
    return {"model": "m", "messages": [{"role": "user", "content": [*parts]}]}


def input_parts(*parts: Body) -> Body:
    return {"model": "m", "input": [{"role": "user", "content": [*parts]}]}


def blocks(*parts: Body) -> Body:
    return {"model": "m", "max_tokens": 99, "messages": [user(*parts)]}


def pdf(**source: Any) -> Body:  # noqa: ANN401  any JSON
    return {"type": "document", "source": source}


@pytest.mark.parametrize(
    ("speaker", "body", "seen"),
    [
        (
            Chat(),
            chat_parts({"type": "image_url", "image_url": {"url": "https://x.test/a"}}),
            "1 image (https://x.test/a)",
        ),
        (
            Chat(),
            chat_parts({"type": "input_audio", "input_audio": {"format": "wav", "data": DATA}}),
            "1 recording (wav, 70 bytes)",
        ),
        (
            Chat(),
            chat_parts(
                {
                    "type": "file",
                    "file": {"filename": "a", "file_data": f"data:application/pdf;base64,{DATA}"},
                }
            ),
            "1 document (application/pdf, 70 bytes)",
        ),
        (
            Responses(),
            input_parts({"type": "input_file", "file_url": "https://x.test/a"}),
            "1 document (https://x.test/a)",
        ),
        (
            Anthropic(),
            blocks(
                pdf(type="base64", media_type="application/pdf", data=DATA),
                pdf(type="text", media_type="text/plain", data="été"),
            ),
            "2 documents (application/pdf, 70 bytes; text/plain, 5 bytes)",
        ),
        (
            Gemini(),
            {
                "contents": [
                    content("user", {"fileData": {"fileUri": "gs://a", "mimeType": "image/png"}})
                ]
            },
            "1 image (gs://a)",
        ),
        (
            Gemini(),
            {
                "contents": [
                    content("user", {"inlineData": {"mimeType": "application/pdf", "data": DATA}})
                ]
            },
            "1 document (application/pdf, 70 bytes)",
        ),
        (
            Bedrock(),
            {"messages": [user(SAY, document(), document("b", s3Location={"uri": "s3://a/b"}))]},
            "2 documents (application/pdf, 70 bytes; s3://a/b)",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_media_are_told_by_type_and_size_or_by_address(
    http: httpx.Client, speaker: Speaker, body: Body, seen: str
) -> None:
    assert len(PIXEL) == 70
    answer = post(http, speaker, body)
    assert answer.status_code == 200, answer.text
    assert f" I see {seen}." in speaker.whole(answer.content).text


def test_a_picture_in_a_tool_result_is_seen(http: httpx.Client) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
    turns = [user(text()), assistant(use()), user(result(content=[text("22"), image]))]
    body = {"model": "m", "max_tokens": 99, "messages": turns}
    answer = post(http, Anthropic(), body)
    assert (
        Anthropic()
        .whole(answer.content)
        .text.endswith("was told: 22 I see 1 image (image/png, 70 bytes).")
    )


def test_one_call_at_a_time_is_one_call(http: httpx.Client) -> None:
    for speaker, single in (
        (Chat(), {"parallel_tool_calls": False}),
        (Responses(), {"parallel_tool_calls": False}),
        (
            Anthropic(),
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
    ):
        body = speaker.offer(speaker.ask("Call everything.")) | single
        assert len(speaker.whole(post(http, speaker, body).content).calls) == 1
    assert len(FUNCTIONS) == 2
