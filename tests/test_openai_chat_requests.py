"""A chat request as a conversation, a conversation as a chat request, and back again."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from configs import HELLO, body_of
from hostile import CANARY, anything
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.config.catalog import catalog
from extproc.config.presets import PRESETS
from extproc.dialects import openai_chat
from extproc.dialects.conversation import (
    Audio,
    CacheMark,
    Conversation,
    Demand,
    Document,
    Image,
    Inline,
    Linked,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UnreadableError,
)
from extproc.dialects.openai_chat.models import ways_of
from extproc.feature import Feature
from extproc.text.tokens import Family
from extproc.vocabulary import (
    USUAL_CHAT_FORM,
    ChatForm,
    Model,
    ModelName,
    Provider,
    ProviderName,
    Surface,
    Target,
    TargetId,
    UpstreamModel,
)

PNG = Inline("image/png", "AAAA")
PDF = Inline("application/pdf", "JVBERi0=")
SCHEMA = '{"type":"object","properties":{"a":{"type":"number","minimum":1e-3}}}'
CALL = ToolCall("call_1", "clock", '{"zone": "CET"}')
quickly = settings(deadline=None, max_examples=60, database=None)


def target(
    family: Family = Family.OPENAI_O200K,
    *,
    chat_form: ChatForm = USUAL_CHAT_FORM,
    output_tokens_max: int | None = None,
    capabilities: Mapping[Feature, bool] | None = None,
    upstream: str = "m-1",
    name: str = "m",
) -> Target:
    provider = Provider(
        name=ProviderName("p"),
        host="p.example",
        port=443,
        tls=True,
        base_path="/v1",
        credential_header="authorization",
        credential_prefix="Bearer ",
        has_credential=True,
        headers=(),
        endpoints={Surface.CHAT: "/chat/completions"},
        chat_form=chat_form,
    )
    model = Model(
        ModelName(name), None, capabilities or {}, family, output_tokens_max=output_tokens_max
    )
    return Target(TargetId("p/m"), provider, model, UpstreamModel(upstream))


def read(**fields: object) -> Conversation:
    return openai_chat.read_request(body_of(**fields))


def turns(*messages: object) -> tuple[Message, ...]:
    return read(messages=messages).messages


def written(conversation: Conversation, to: Target | None = None) -> dict[str, Any]:
    wording = openai_chat.write_request(conversation, to or target())
    assert wording.endpoint == "/chat/completions"
    assert wording.prefix == '{"model":"m-1",'
    body: dict[str, Any] = json.loads(wording.prefix.encode() + wording.rest)
    return body


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def assistant(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


def of(*messages: Message, **fields: object) -> Conversation:
    return replace(Conversation((), messages), **fields)  # type: ignore[arg-type] # any of them


def call(call_id: str = "call_1", **more: object) -> dict[str, object]:
    function = {"name": "clock", "arguments": '{"zone": "CET"}'}
    return {"id": call_id, "type": "function", "function": function} | more


def part(kind: str, **fields: object) -> dict[str, object]:
    return {"type": kind} | fields


MARK = {"type": "ephemeral"}
MESSAGES: list[tuple[list[dict[str, object]], tuple[Message, ...]]] = [
    ([{"role": "user", "content": "Hi"}], (user(Text("Hi")),)),
    ([{"role": "user", "content": "Hi", "name": "Ala"}], (user(Text("Hi")),)),
    ([{"role": "user", "content": ""}, {"role": "user", "content": []}], ()),
    (
        [{"role": "user", "content": [part("text", text="a"), part("text", text="")]}],
        (user(Text("a")),),
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    part("image_url", image_url={"url": "https://x/a.png", "detail": "low"}),
                    part("image_url", image_url="https://x/a.png"),
                    part("image_url", image_url={"url": "data:image/JPEG;base64,AAAA"}),
                    part("image_url", image_url={"url": "data:;base64,AAAA"}),
                    part("image_url", image_url={"url": "DATA:image/svg+xml;charset=x,%3Csvg/%3E"}),
                ],
            }
        ],
        (
            user(
                Image(Linked("https://x/a.png"), "low"),
                Image(Linked("https://x/a.png")),
                Image(Inline("image/jpeg", "AAAA")),
                Image(PNG),
                Image(Inline("image/svg+xml", base64.b64encode(b"<svg/>").decode())),
            ),
        ),
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    part("input_audio", input_audio={"data": "AAAA", "format": "wav"}),
                    part("file", file={"file_data": "JVBERi0=", "filename": "a.pdf"}),
                    part("file", file={"file_data": "data:application/pdf;base64,JVBERi0="}),
                    part("file", file={"file_data": "aGk=", "filename": "a.TXT"}),
                    part("file", file={"file_data": "https://x/a.pdf", "file_id": None}),
                ],
            }
        ],
        (
            user(
                Audio("wav", "AAAA"),
                Document(PDF, "a.pdf"),
                Document(PDF),
                Document(Inline("text/plain", "aGk="), "a.TXT"),
                Document(Linked("https://x/a.pdf")),
            ),
        ),
    ),
    (
        [{"role": "assistant", "content": "a", "refusal": "No.", "tool_calls": [call()]}],
        (assistant(Text("a"), Text("No."), CALL),),
    ),
    (
        [{"role": "assistant", "content": [part("text", text="a"), part("refusal", refusal="b")]}],
        (assistant(Text("a"), Text("b")),),
    ),
    ([{"role": "assistant", "content": None, "audio": None, "refusal": None}], ()),
    (
        [{"role": "assistant", "content": "a", "reasoning_content": "b", "reasoning": "c"}],
        (assistant(Text("a")),),
    ),
    (
        [
            {
                "role": "assistant",
                "tool_calls": [
                    call(extra_content={"google": {"thought_signature": "sig"}}),
                    call("call_2", function={"name": "f", "arguments": " "}),
                    {"id": "call_3", "function": {"name": "f"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
            {"role": "tool", "tool_call_id": "call_2", "content": [part("text", text="x")]},
            {"role": "tool", "tool_call_id": "call_3", "content": ""},
            {"role": "user", "content": "b"},
        ],
        (
            assistant(
                ToolCall("call_1", "clock", '{"zone": "CET"}', "sig"),
                ToolCall("call_2", "f", "{}"),
                ToolCall("call_3", "f", "{}"),
            ),
            user(
                ToolResult("call_1", (Text("noon"),)),
                ToolResult("call_2", (Text("x"),)),
                ToolResult("call_3", ()),
            ),
            user(Text("b")),
        ),
    ),
    (
        [
            {
                "role": "tool",
                "tool_call_id": "c",
                "content": [part("image_url", image_url={"url": "data:image/png;base64,AAAA"})],
            }
        ],
        (user(ToolResult("c", (Image(PNG),))),),
    ),
    (
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": None},
        ],
        (
            user(Text("a")),
            assistant(ToolCall("call_function_1", "f", "{}")),
            user(ToolResult("call_function_1", (Text("1"),))),
            assistant(ToolCall("call_function_3", "f", "{}")),
            user(ToolResult("call_function_3", ())),
        ),
    ),
    (
        [
            {"role": "user", "content": [part("text", text="a", cache_control=MARK)]},
            {"role": "user", "content": "b", "cache_control": MARK | {"ttl": "1h"}},
            {"role": "assistant", "tool_calls": [call()], "cache_control": MARK | {"ttl": "9d"}},
            {"role": "tool", "tool_call_id": "call_1", "content": "c", "cache_control": MARK},
            {"role": "assistant", "content": "d", "tool_calls": [call()], "cache_control": MARK},
        ],
        (
            user(Text("a", CacheMark())),
            user(Text("b", CacheMark("1h"))),
            assistant(ToolCall("call_1", "clock", '{"zone": "CET"}', cache=CacheMark())),
            user(ToolResult("call_1", (Text("c"),), cache=CacheMark())),
            assistant(Text("d"), ToolCall("call_1", "clock", '{"zone": "CET"}', cache=CacheMark())),
        ),
    ),
]


@pytest.mark.parametrize(("messages", "expected"), MESSAGES)
def test_messages_are_read_as_turns(
    messages: list[dict[str, object]], expected: tuple[Message, ...]
) -> None:
    assert turns(*messages) == expected


def test_what_leads_is_the_systems_and_what_comes_later_a_turn() -> None:
    conversation = read(
        messages=[
            {"role": "system", "content": [part("text", text="a", cache_control=MARK)]},
            {"role": "developer", "content": "b", "cache_control": MARK},
            *HELLO,
            {"role": "developer", "content": "c"},
        ]
    )
    assert conversation.system == (Text("a", CacheMark()), Text("b", CacheMark()))
    assert conversation.messages == (user(Text("Hello")), Message(Role.SYSTEM, (Text("c"),)))


TOOL = {"type": "function", "function": {"name": "clock"}}
FULL_TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": json.loads(SCHEMA), "strict": True},
    "cache_control": MARK,
}
ALLOWED = {"mode": "required", "tools": [TOOL]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"stream": False, "tools": (), "stop": ()}),
        ({"stream": True}, {"stream": True}),
        ({"tools": [TOOL]}, {"tools": (Tool("clock"),)}),
        ({"functions": [{"name": "clock"}]}, {"tools": (Tool("clock"),), "parallel_calls": False}),
        ({"tools": [TOOL], "tool_choice": None}, {"tool_choice": None}),
        *(
            ({"tools": [TOOL], "tool_choice": word}, {"tool_choice": mode})
            for word, mode in [
                ("auto", ToolChoice("auto")),
                ("none", ToolChoice("none")),
                ("required", ToolChoice("any")),
                ("any", ToolChoice("any")),
            ]
        ),
        (
            {"tools": [TOOL], "tool_choice": TOOL},
            {"tool_choice": ToolChoice("named", "clock"), "tools": (Tool("clock"),)},
        ),
        (
            {
                "tools": [FULL_TOOL, TOOL],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED},
            },
            {"tool_choice": ToolChoice("any"), "tools": (Tool("clock"),)},
        ),
        ({"function_call": "auto"}, {"tool_choice": ToolChoice("auto")}),
        ({"function_call": {"name": "f"}}, {"tool_choice": ToolChoice("named", "f")}),
        ({"parallel_tool_calls": False}, {"parallel_calls": False}),
        ({"response_format": {"type": "text"}}, {"output_format": None}),
        ({"response_format": {"type": "json_object"}}, {"output_format": OutputFormat()}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"a": [1]}, "strict": True},
                }
            },
            {"output_format": OutputFormat('{"a": [1]}', "n", None, strict=True)},
        ),
        ({"max_tokens": 7, "max_completion_tokens": 9}, {"output_tokens_max": 9}),
        ({"max_tokens": 7}, {"output_tokens_max": 7}),
        ({"max_tokens": 10**30}, {"output_tokens_max": 2**53}),
        ({"reasoning_effort": "high"}, {"reasoning": Reasoning("high")}),
        ({"reasoning_effort": "max"}, {"reasoning": Reasoning("xhigh")}),
        ({"reasoning_effort": None}, {"reasoning": None}),
        ({"stop": "a"}, {"stop": ("a",)}),
        ({"stop": ["a", "", "b"]}, {"stop": ("a", "b")}),
        ({"stop": ""}, {"stop": ()}),
        (
            {"temperature": 1, "top_p": 0.5, "presence_penalty": -1, "frequency_penalty": 2},
            {"temperature": 1, "top_p": 0.5, "presence_penalty": -1, "frequency_penalty": 2},
        ),
        ({"seed": -5, "top_k": 40}, {"seed": -5, "top_k": 40}),
        ({"user": "u"}, {"user": "u"}),
        ({"user": "u", "safety_identifier": "s"}, {"user": "s"}),
        ({"metadata": {"a": "b", "c": 1}}, {}),
        ({"n": 1, "logprobs": False, "modalities": ["text"], "moderation": None}, {}),
    ],
)
def test_fields_are_read_for_what_they_mean(
    fields: dict[str, object], expected: dict[str, object]
) -> None:
    conversation = read(**fields)
    assert {name: getattr(conversation, name) for name in expected} == expected
    assert conversation.messages == (user(Text("Hello")),)


def test_schemas_pass_through_as_they_were_written() -> None:
    schema = '{ "type":"object",  "minimum": 1.50, "big":123456789012345678901234567890 }'
    tool = f'{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}'
    body = f'{{"messages":{json.dumps(HELLO)},"tools":[{tool}]}}'
    conversation = openai_chat.read_request(body.encode())
    assert conversation.tools == (Tool("f", parameters=schema),)
    assert schema.encode() in openai_chat.write_request(conversation, target()).rest


def test_a_tools_mark_stands_beside_the_function_or_in_it() -> None:
    inside = {"type": "function", "function": {"name": "g", "cache_control": MARK}}
    marks = [tool.cache for tool in read(tools=[FULL_TOOL, inside, TOOL]).tools]
    assert marks == [CacheMark(), CacheMark(), None]


def said(message: dict[str, object]) -> dict[str, object]:
    return {"messages": [*HELLO, message]}


UNREADABLE: list[tuple[dict[str, object], str]] = [
    ({"messages": CANARY}, "messages"),
    ({"messages": [{"role": CANARY, "content": CANARY}]}, "messages[0].role"),
    ({"messages": [{"content": CANARY}]}, "messages[0]"),
    (said({"role": "user", "content": 5}), "messages[1].content"),
    (said({"role": "user", "content": [part(CANARY)]}), "messages[1].content[0].type"),
    (said({"role": "user", "content": [part("image_url")]}), "messages[1].content[0].image_url"),
    (
        said({"role": "user", "content": [part("image_url", image_url="data:" + CANARY)]}),
        "messages[1].content[0].image_url.url",
    ),
    (
        said({"role": "user", "content": [part("file", file={"file_id": CANARY})]}),
        "messages[1].content[0].file.file_id",
    ),
    (said({"role": "assistant", "audio": {"id": CANARY}}), "messages[1].audio"),
    (
        said({"role": "assistant", "content": [part("image_url", image_url="http://x")]}),
        "messages[1].content",
    ),
    (
        said({"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}),
        "messages[1].tool_calls[0]",
    ),
    (
        said(
            {"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": "[1"})]}
        ),
        "messages[1].tool_calls[0].function.arguments",
    ),
    (
        said({"role": "assistant", "function_call": {"name": "f", "arguments": "[" * 9999}}),
        "messages[1].function_call.arguments",
    ),
    (said({"role": "tool", "content": CANARY}), "messages[1].tool_call_id"),
    (said({"role": "function", "name": CANARY, "content": CANARY}), "messages[1].name"),
    (
        said(
            {
                "role": "tool",
                "tool_call_id": "c",
                "content": [part("input_audio", input_audio={"data": "", "format": CANARY})],
            }
        ),
        "messages[1].content",
    ),
    ({"tools": [{"type": "custom", "custom": {"name": CANARY}}]}, "tools[0]"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": [CANARY]}}]},
        "tools.function.parameters",
    ),
    ({"tool_choice": CANARY}, "tool_choice"),
    ({"tool_choice": {"type": "custom", "custom": {"name": CANARY}}}, "tool_choice"),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": CANARY, "tools": []}}},
        "tool_choice.allowed_tools.mode",
    ),
    ({"response_format": {"type": CANARY}}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    ({"reasoning_effort": CANARY}, "reasoning_effort"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": -(10**30)}, "max_completion_tokens"),
    ({"seed": 10**30}, "seed"),
    ({"temperature": CANARY}, "temperature"),
    ({"stop": [CANARY, 5]}, "stop[1]"),
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"moderation": {"model": CANARY}}, "moderation"),
]


@pytest.mark.parametrize(("fields", "param"), UNREADABLE)
def test_what_no_conversation_holds_is_refused_by_name_and_without_a_quote(
    fields: dict[str, object], param: str
) -> None:
    with pytest.raises(UnreadableError) as raised:
        read(**fields)
    assert raised.value.param == param
    assert f"`{param}`" in str(raised.value)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"messages":[',
        b'{"messages":"\xff"}',
        b'{"messages":[{"role":"user","content":"a\\ud800"}]}',
        b'{"messages":[],"tools":[{"function":{"name":"f","parameters":{"a":"\xff"}}}]}',
        b'{"messages":' + b"[" * 100_000,
        b'{"messages":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages":[],"temperature":1e999}',
        b'{"messages":[],"seed":' + b"9" * 5000 + b"}",
        b'{"messages":[],"temperature":NaN}',
    ],
)
def test_a_body_that_is_no_request_is_unreadable_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        openai_chat.read_request(body)


# Whatever is refused for what no conversation holds is known before: as a demand, or as invalid.


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"top_logprobs": 2},
        {"modalities": ["audio"]},
        {"web_search_options": {}},
        {"moderation": {}},
        {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
        {"tools": [{"type": "web_search"}]},
        said({"role": "user", "content": [part("video_url")]}),
        said({"role": "user", "content": [part("file", file={"file_id": "f"})]}),
        said({"role": "assistant", "audio": {"id": "a"}}),
        said({"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}),
    ],
)
def test_whoever_cannot_be_translated_has_a_demand_that_keeps_it_native(
    fields: dict[str, object],
) -> None:
    payload = openai_chat.read(body_of(**fields))
    assert getattr(payload, "demands", ()), payload
    with pytest.raises(UnreadableError):
        read(**fields)


# Conversations as requests.


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((user(Text("a")),), [{"role": "user", "content": "a"}]),
        ((user(Text("a"), Text("b")),), [{"role": "user", "content": "a\n\nb"}]),
        ((assistant(Text("a"), Text("b")),), [{"role": "assistant", "content": "ab"}]),
        ((Message(Role.SYSTEM, (Text("a"),)),), [{"role": "system", "content": "a"}]),
        ((assistant(Thinking("hm", "sig")),), []),
        (
            (assistant(Thinking("hm"), CALL),),
            [{"role": "assistant", "content": None, "tool_calls": [call()]}],
        ),
        (
            (user(Text("see"), Image(PNG), Image(Linked("https://x"), "low"), Audio("wav", "AA")),),
            [
                {
                    "role": "user",
                    "content": [
                        part("text", text="see"),
                        part("image_url", image_url={"url": "data:image/png;base64,AAAA"}),
                        part("image_url", image_url={"url": "https://x", "detail": "low"}),
                        part("input_audio", input_audio={"data": "AA", "format": "wav"}),
                    ],
                }
            ],
        ),
        (
            (
                user(
                    Document(PDF, "a.pdf"),
                    Document(PDF),
                    Document(Inline("text/plain", "xbw="), "a.txt"),
                    Document(Inline("text/plain", "?")),
                ),
            ),
            [
                {
                    "role": "user",
                    "content": [
                        part("file", file={"filename": name, "file_data": data})
                        if name != "a.txt"
                        else part("text", text="a.txt\n\nż")
                        for name, data in [
                            ("a.pdf", "data:application/pdf;base64,JVBERi0="),
                            ("document", "data:application/pdf;base64,JVBERi0="),
                            ("a.txt", ""),
                            ("document", "data:text/plain;base64,?"),
                        ]
                    ],
                }
            ],
        ),
        (
            (
                user(Text("before"), ToolResult("1", (Text("a"), Text("b")), failed=True)),
                user(ToolResult("2", (Image(PNG),)), Text("after")),
            ),
            [
                {"role": "tool", "tool_call_id": "1", "content": "a\n\nb"},
                {
                    "role": "tool",
                    "tool_call_id": "2",
                    "content": "The result is in the user's message below.",
                },
                {
                    "role": "user",
                    "content": [
                        part("text", text="From the result of tool call 2:"),
                        part("image_url", image_url={"url": "data:image/png;base64,AAAA"}),
                        part("text", text="before"),
                    ],
                },
                {"role": "user", "content": "after"},
            ],
        ),
        ((user(ToolResult("1", ())),), [{"role": "tool", "tool_call_id": "1", "content": ""}]),
    ],
)
def test_turns_are_written_as_messages(
    messages: tuple[Message, ...], expected: list[dict[str, object]]
) -> None:
    assert written(of(*messages)) == {"model": "m-1", "messages": expected}


def test_several_texts_of_the_system_become_one_message() -> None:
    conversation = Conversation((Text("a", CacheMark()), Text("b")), (user(Text("c")),))
    assert written(conversation)["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "c"},
    ]


def test_a_long_call_id_is_the_same_short_one_in_call_and_result() -> None:
    long = "toolu_" + "x" * 60
    for call_id in (long, long + "y", "x" * 40, "x" * 41):
        body = written(
            of(assistant(ToolCall(call_id, "f", "{}")), user(ToolResult(call_id, (Image(PNG),))))
        )
        called, result, shown = body["messages"]
        short = called["tool_calls"][0]["id"]
        assert len(short) <= 40
        assert (short == call_id) == (len(call_id) <= 40)
        assert result["tool_call_id"] == short
        assert short in shown["content"][0]["text"]
    ids = {
        written(of(assistant(ToolCall(long + end, "f", "{}"))))["messages"][0]["tool_calls"][0][
            "id"
        ]
        for end in ("", "y")
    }
    assert len(ids) == 2


MISTRALS = PRESETS["mistral"].chat_form


def test_mistral_is_told_nothing_that_it_refuses() -> None:
    body = written(
        of(user(Text("a")), stream=True, seed=1, user="u", output_tokens_max=9),
        target(chat_form=MISTRALS),
    )
    assert body == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "a"}],
        "stream": True,
        "random_seed": 1,
        "max_tokens": 9,
    }


@pytest.mark.parametrize("call_id", ["call_1", "x" * 60, "abcDEF12_", "", "abcDEF123"])
def test_the_calls_of_mistral_have_ids_of_nine_letters_and_digits(call_id: str) -> None:
    history = of(assistant(ToolCall(call_id, "f", "{}")), user(ToolResult(call_id, (Text("a"),))))
    called, result = written(history, target(chat_form=MISTRALS))["messages"]
    short = called["tool_calls"][0]["id"]
    assert re.fullmatch("[a-zA-Z0-9]{9}", short)
    assert result["tool_call_id"] == short
    assert (short == call_id) == (call_id == "abcDEF123")


def test_mistral_hears_the_user_only_after_the_assistant_has_heard_of_results() -> None:
    history = of(
        user(Text("a")),
        assistant(ToolCall("1", "f", "{}")),
        user(ToolResult("1", (Text("b"), Image(PNG))), Text("c")),
        Message(Role.SYSTEM, (Text("d"),)),
        assistant(ToolCall("2", "f", "{}")),
        user(ToolResult("2", (Text("e"),))),
        Message(Role.SYSTEM, (Text("f"),)),
        user(Text("g")),
    )
    messages = written(history, target(chat_form=MISTRALS))["messages"]
    assert [message["role"] for message in messages] == [
        *("user", "assistant", "tool", "assistant", "user", "user"),
        *("assistant", "tool", "assistant", "user", "user"),
    ]
    assert messages[3] == {"role": "assistant", "content": "Done."}
    assert (messages[5]["content"], messages[9]["content"]) == ("d", "f")


def test_a_calls_signature_is_written_only_for_the_models_that_check_it() -> None:
    conversation = of(assistant(ToolCall("1", "f", "{}", signature="sig")))
    for family, has_it in [(Family.GEMINI, True), (Family.OPENAI_O200K, False)]:
        (message,) = written(conversation, target(family))["messages"]
        assert ("extra_content" in message["tool_calls"][0]) is has_it


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"tools": (Tool("clock"),)}, {"tools": [TOOL]}),
        (
            {"tools": (Tool("f", "d", SCHEMA, strict=True, cache=CacheMark()),)},
            {"tools": [{k: v for k, v in FULL_TOOL.items() if k != "cache_control"}]},
        ),
        ({"tool_choice": ToolChoice("any"), "parallel_calls": True}, {}),
        *(
            (
                {"tools": (Tool("clock"),), "tool_choice": choice, "parallel_calls": False},
                {"tools": [TOOL], "tool_choice": word, "parallel_tool_calls": False},
            )
            for choice, word in [
                (ToolChoice("auto"), "auto"),
                (ToolChoice("none"), "none"),
                (ToolChoice("any"), "required"),
                (ToolChoice("named", "clock"), TOOL),
            ]
        ),
        ({"output_format": OutputFormat()}, {"response_format": {"type": "json_object"}}),
        (
            {"output_format": OutputFormat('{"a":1}')},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"a": 1}},
                }
            },
        ),
        ({"output_tokens_max": 9}, {"max_tokens": 9}),
        ({"stop": ("a",)}, {"stop": ["a"]}),
        (
            {"temperature": 0.0, "top_p": 1.0, "presence_penalty": 0.5, "frequency_penalty": -1.0},
            {"temperature": 0.0, "top_p": 1.0, "presence_penalty": 0.5, "frequency_penalty": -1.0},
        ),
        ({"seed": 0, "user": "u"}, {"seed": 0, "user": "u"}),
        ({"top_k": 40}, {}),
        ({"reasoning": Reasoning(shown=True)}, {}),
        ({"reasoning": Reasoning("high", 5)}, {"reasoning_effort": "high"}),
        ({"reasoning": Reasoning(budget_tokens=-1)}, {}),
        *(
            ({"reasoning": Reasoning(budget_tokens=budget)}, {"reasoning_effort": effort})
            for budget, effort in [
                (1, "low"),
                (8_191, "low"),
                (8_192, "medium"),
                (24_575, "medium"),
                (24_576, "high"),
            ]
        ),
    ],
)
def test_fields_are_written_where_the_api_has_them(
    fields: dict[str, Any], expected: dict[str, object]
) -> None:
    body = written(of(user(Text("a")), **fields))
    assert body == {"model": "m-1", "messages": [{"role": "user", "content": "a"}]} | expected


def test_the_output_limit_goes_by_the_providers_name_and_the_models_most() -> None:
    to = target(chat_form=ChatForm("max_completion_tokens"), output_tokens_max=100)
    for asked, limit in [(99, 99), (101, 100), (None, None)]:
        body = written(of(user(Text("a")), output_tokens_max=asked), to)
        assert body.get("max_completion_tokens") == limit
        assert "max_tokens" not in body


def test_a_model_that_does_not_reason_is_not_told_how_much_to() -> None:
    conversation = of(user(Text("a")), reasoning=Reasoning("low"))
    for capabilities, effort in [({}, "low"), ({Feature.REASONING: True}, "low")]:
        to = target(capabilities=capabilities)
        assert written(conversation, to)["reasoning_effort"] == effort
    to = target(capabilities={Feature.REASONING: False})
    assert "reasoning_effort" not in written(conversation, to)


@pytest.mark.parametrize("most", [4, None])
def test_no_more_stop_sequences_are_written_than_the_provider_takes(most: int | None) -> None:
    stops = tuple("abcdef")
    to = target(chat_form=ChatForm(stops_max=most))
    assert written(of(user(Text("a")), stop=stops), to)["stop"] == [*stops[:most]]


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


def effort_at(to: Target, effort: str, **fields: object) -> str | None:
    body = openai_chat.write_request(
        of(user(Text("a")), reasoning=Reasoning(effort), **fields), to
    ).rest
    found: str | None = json.loads(b"{" + body).get("reasoning_effort")
    return found


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama", [None, "low", "low", "medium", "high", "high"]),
        ("gpt-4o", [None] * 6),
        ("o3", ["low", "low", "low", "medium", "high", "high"]),
        ("o4-mini-2025-04-16", ["low", "low", "low", "medium", "high", "high"]),
        ("o1-mini", [None] * 6),
        ("gpt-5-mini", ["minimal", "minimal", "low", "medium", "high", "high"]),
        ("gpt-5-2025-08-07", ["minimal", "minimal", "low", "medium", "high", "high"]),
        ("gpt-5-chat-latest", [None] * 6),
        ("gpt-5.1", ["none", "low", "low", "medium", "high", "high"]),
        ("gpt-5.1-codex", ["low", "low", "low", "medium", "high", "high"]),
        ("gpt-5.1-codex-max", ["low", "low", "low", "medium", "high", "xhigh"]),
        ("gpt-5.2-pro", ["medium", "medium", "medium", "medium", "high", "xhigh"]),
        ("gpt-5.2", ["none", "low", "low", "medium", "high", "xhigh"]),
        ("gpt-5.2-chat-latest", [None] * 6),
        ("gpt-5.10", ["none", "low", "low", "medium", "high", "xhigh"]),
        ("gpt-6.1-sol", ["none", "low", "low", "medium", "high", "xhigh"]),
        ("openai/gpt-oss-120b", ["low", "low", "low", "medium", "high", "high"]),
        ("mistral-large-2512", [None] * 6),
        ("magistral-medium-latest", [None] * 6),
        ("mistral-small-2603", ["none", *["high"] * 5]),
        ("qwen/qwen3-32b", [None] * 6),
        ("gemini-2.5-flash", ["none", "minimal", "low", "medium", "high", "high"]),
        ("gemini-3-pro", ["minimal", "minimal", "low", "medium", "high", "high"]),
    ],
)
def test_an_effort_is_the_nearest_that_the_model_takes(
    model: str, expected: list[str | None]
) -> None:
    assert [effort_at(target(upstream=model), effort) for effort in EFFORTS] == expected
    assert [effort_at(target(upstream="mine", name=model), effort) for effort in EFFORTS] == (
        expected
    )


SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
}


@pytest.mark.parametrize(
    ("model", "effort", "sampled", "stops"),
    [
        ("llama", "high", True, True),
        ("gpt-4.1", None, True, True),
        ("gpt-5-chat-latest", None, True, True),
        ("gpt-oss-20b", "high", True, True),
        ("o3", None, False, False),
        ("gpt-5", "none", False, False),
        ("gpt-5.1", None, True, False),
        ("gpt-5.1", "none", True, False),
        ("gpt-5.1", "low", False, False),
        ("gpt-5.4-mini", None, True, False),
        ("gpt-5.5", None, False, False),
        ("gpt-5.5", "none", True, False),
        ("gpt-5.2-chat-latest", None, False, False),
    ],
)
def test_a_model_that_thinks_is_not_told_how_to_choose_its_words(
    model: str, effort: str | None, *, sampled: bool, stops: bool
) -> None:
    reasoning = Reasoning(effort) if effort else None
    conversation = of(user(Text("a")), reasoning=reasoning, stop=("a",), **SAMPLING)
    rest = openai_chat.write_request(conversation, target(upstream=model)).rest
    body = json.loads(b"{" + rest)
    assert {name: body[name] for name in SAMPLING if name in body} == (SAMPLING if sampled else {})
    assert body.get("stop") == (["a"] if stops else None)


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt-5.2", "low"), ("gpt-5.4", None), ("gpt-5.6-sol", "none")]
)
def test_no_effort_stands_beside_tools_where_the_api_refuses_it(
    model: str, expected: str | None
) -> None:
    to = target(upstream=model)
    assert effort_at(to, "low", tools=(Tool("f"),)) == expected
    assert effort_at(to, "low") == "low"


def test_every_model_of_openais_in_the_catalog_is_known_to_think_or_not_to() -> None:
    asked = {
        to.upstream_model or "": entry.capabilities.get(Feature.REASONING, False)
        for entry in catalog().values()
        for to in entry.targets or ()
        if to.provider in ("openai", "mistral") and Feature.EMBEDDINGS not in entry.capabilities
    }
    efforts = {model: ways_of(target(upstream=model)).efforts for model in asked}
    assert {model: bool(taken) for model, taken in efforts.items()} == asked


def test_what_the_api_lacks_leaves_what_can_be_written() -> None:
    assert openai_chat.LACKS.isdisjoint(
        {Demand.AUDIO_INPUT, Demand.LINKED_IMAGES, Demand.IMAGES_IN_RESULTS}
    )
    assert len(openai_chat.LACKS) == len(Demand) - 3


# There and back.

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.sampled_from(["f", "clock", "a-b_c"])
ids = st.text("abcdef_0", min_size=1, max_size=60)
objects = st.sampled_from(["{}", '{"a": 1}', '{"b":{"c":[null,1e3,"ż"]}}', SCHEMA])
sources = st.one_of(
    st.builds(Inline, st.sampled_from(["image/png", "application/pdf"]), st.just("AAAA")),
    st.builds(Linked, st.just("https://example.org/x")),
)
parts = st.one_of(
    st.builds(Text, texts),
    st.builds(Image, sources, st.sampled_from([None, "low"])),
    st.builds(Document, sources, texts),
    st.builds(Audio, st.just("wav"), st.just("AAAA")),
)
calls = st.builds(ToolCall, ids, names, objects)
results = st.builds(ToolResult, ids, st.lists(st.builds(Text, texts), max_size=2).map(tuple))
messages = st.one_of(
    st.builds(user, parts),
    st.lists(parts, min_size=1, max_size=4).map(lambda found: user(*found)),
    st.lists(results, min_size=1, max_size=3).map(lambda found: user(*found)),
    st.lists(
        st.one_of(st.builds(Text, texts), calls, st.builds(Thinking, texts)), min_size=1, max_size=4
    ).map(lambda found: assistant(*found)),
    st.builds(Text, texts).map(lambda text: Message(Role.SYSTEM, (text,))),
)
maybe_number = st.none() | st.floats(-2, 2)
conversations = st.builds(
    Conversation,
    system=st.lists(st.builds(Text, texts), max_size=2).map(tuple),
    messages=st.lists(messages, max_size=5).map(lambda found: (user(Text("Hi")), *found)),
    stream=st.booleans(),
    tools=st.lists(
        st.builds(Tool, names, st.none() | texts, st.none() | objects, st.none() | st.booleans()),
        min_size=1,
        max_size=2,
    ).map(tuple),
    tool_choice=st.sampled_from([None, ToolChoice("any"), ToolChoice("named", "f")]),
    parallel_calls=st.none() | st.booleans(),
    output_format=st.none()
    | st.just(OutputFormat())
    | st.builds(OutputFormat, objects, names, st.none() | texts, st.none() | st.booleans()),
    output_tokens_max=st.none() | st.integers(1, 10**6),
    reasoning=st.none() | st.builds(Reasoning, st.sampled_from(["low", "high"])),
    stop=st.lists(texts, max_size=2).map(tuple),
    temperature=maybe_number,
    top_p=maybe_number,
    presence_penalty=maybe_number,
    frequency_penalty=maybe_number,
    seed=st.none() | st.integers(-(2**60), 2**60),
    user=st.none() | texts,
)


def short(call_id: str) -> str:
    """What the writer makes of an id."""
    body = written(of(assistant(ToolCall(call_id, "f", "{}"))))
    found: str = body["messages"][0]["tool_calls"][0]["id"]
    return found


def merged(parts: tuple[Part, ...], between: str) -> tuple[Part, ...]:
    found = tuple([part for part in parts if isinstance(part, Text)])
    return (Text(between.join([text.text for text in found])),) if found else ()


def expected_of(message: Message) -> Message:
    """The message, less what is documented to be lost: thinking, and where texts part."""
    match message.role:
        case Role.ASSISTANT:
            found = [
                ToolCall(short(part.id), part.name, part.arguments)
                for part in message.parts
                if isinstance(part, ToolCall)
            ]
            return assistant(*merged(message.parts, ""), *found)
        case Role.USER if all(isinstance(part, Text) for part in message.parts):
            return user(*merged(message.parts, "\n\n"))
        case _:
            return Message(
                message.role,
                tuple(
                    [
                        ToolResult(short(part.call_id), merged_result(part))
                        if isinstance(part, ToolResult)
                        else part
                        for part in message.parts
                    ]
                ),
            )


def merged_result(result: ToolResult) -> tuple[Text, ...]:
    found = [part.text for part in result.parts if isinstance(part, Text)]
    return (Text("\n\n".join(found)),) if found else ()


def ordered(found: tuple[Message, ...]) -> tuple[Message, ...]:
    """Of users' turns in a row, the results in one turn before the rest."""
    run: list[Message] = []
    done: list[Message] = []
    for message in (*found, None):
        if message and message.role == Role.USER:
            run.append(message)
            continue
        outcomes = [p for turn in run for p in turn.parts if isinstance(p, ToolResult)]
        rest = [
            turn for turn in run if not any(isinstance(part, ToolResult) for part in turn.parts)
        ]
        done += [*([user(*outcomes)] if outcomes else []), *rest]
        run = []
        if message and message.parts:
            done.append(message)
    return tuple(done)


@given(conversations)
@quickly
def test_a_written_conversation_reads_as_it_was_but_for_the_documented_losses(
    conversation: Conversation,
) -> None:
    wording = openai_chat.write_request(conversation, target())
    back = openai_chat.read_request(wording.prefix.encode() + wording.rest)
    assert back.messages == ordered(tuple(map(expected_of, conversation.messages)))
    assert back.system == merged(conversation.system, "\n\n")
    for name in Conversation.__dataclass_fields__.keys() - {"system", "messages"}:
        assert getattr(back, name) == getattr(conversation, name), name


@given(conversations)
@quickly
def test_every_written_request_is_a_payload_that_routing_reads(conversation: Conversation) -> None:
    wording = openai_chat.write_request(conversation, target())
    payload = openai_chat.read(wording.prefix.encode() + wording.rest)
    assert getattr(payload, "streaming", None) == conversation.stream, payload


FIELDS = sorted({name for fields, _ in UNREADABLE for name in fields})
VALUES = anything(
    names=[
        *("role", "content", "type", "text", "name", "function", "image_url", "url", "file"),
        *("tool_calls", "id", "arguments", "parameters", "json_schema", "schema", "mode", "tools"),
    ],
    leaves=["user", "auto", "{}"],
)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
@quickly
def test_whatever_the_fields_hold_is_a_conversation_that_can_be_written_or_unreadable(
    fields: dict[str, object],
) -> None:
    found: Conversation | None = None
    refusal = ""
    try:
        found = read(**fields)
    except UnreadableError as error:
        refusal = str(error)
    assert CANARY not in refusal
    assert refusal or (found and written(found)["model"] == "m-1")
