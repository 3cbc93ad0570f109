"""Anthropic message requests: read for translation, and written for Claude of any generation."""

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from hostile import anything
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from extproc.dialects import anthropic
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
    NotTakenError,
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
from extproc.vocabulary import (
    Api,
    Model,
    ModelName,
    Provider,
    ProviderName,
    Surface,
    Target,
    TargetId,
    UpstreamModel,
)

PROVIDER = Provider(
    *(ProviderName("anthropic"), "api.anthropic.com", 443, True, "/v1"),
    *("x-api-key", "", True),
    api=Api.ANTHROPIC,
    endpoints={Surface.MESSAGES: "/messages"},
)
CLAUDE = "claude-sonnet-4-5"
PLAIN_TEXT = Inline("text/plain", base64.b64encode("żółw".encode()).decode())
PDF = Inline("application/pdf", "AAAA")
PNG = Inline("image/png", "AAAA")
ASKED = (Message(Role.USER, (Text("Hi"),)),)
CLOCK = Tool("clock", "Tells the time.", '{"type":"object","properties":{"zone":{}}}')
SCHEMA = '{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}'


def target_of(model: str = CLAUDE, output_tokens_max: int | None = None) -> Target:
    known = Model(ModelName("m"), None, {}, output_tokens_max=output_tokens_max)
    return Target(TargetId("anthropic/m"), PROVIDER, known, UpstreamModel(model))


@cache
def schema_of(*, streaming: bool) -> TypeAdapter[Any]:
    if streaming:
        return TypeAdapter(MessageCreateParamsStreaming)
    return TypeAdapter(MessageCreateParamsNonStreaming)


def drain(value: object) -> None:
    """Pydantic looks at the items of an `Iterable` only as they are taken."""
    if isinstance(value, dict):
        for inner in value.values():
            drain(inner)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for inner in value:
            drain(inner)


def written(
    conversation: Conversation, model: str = CLAUDE, output_tokens_max: int | None = None
) -> dict[str, Any]:
    """The body, which is right by the types of Anthropic's SDK."""
    wording = anthropic.write_request(conversation, target_of(model, output_tokens_max))
    assert wording.endpoint == "/messages"
    body: dict[str, Any] = json.loads(wording.prefix.encode() + wording.rest)
    drain(schema_of(streaming=conversation.stream).validate_python(body))
    assert body.pop("model") == model
    return body


def asking(**fields: object) -> Conversation:
    return replace(Conversation((), ASKED), **fields)  # type: ignore[arg-type]


def told(*messages: tuple[Role, tuple[Part, ...]]) -> Conversation:
    return Conversation((), tuple(Message(role, parts) for role, parts in messages))


def body_of(**fields: object) -> bytes:
    return json.dumps({"max_tokens": 9, "messages": [], "model": "m"} | fields).encode()


def parts_read(*blocks: object) -> tuple[Part, ...]:
    body = body_of(messages=[{"role": "user", "content": [*blocks]}])
    return anthropic.read_request(body).messages[0].parts


# Reading.


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "Hi", "citations": [1]}, Text("Hi")),
        (
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            Text("Hi", CacheMark("1h")),
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "a/b", "data": "AA"}},
            Image(Inline("a/b", "AA")),
        ),
        ({"type": "image", "source": {"type": "url", "url": "u"}}, Image(Linked("u"))),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                "title": "t",
                "context": "c",
            },
            Document(PDF, "t"),
        ),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "żółw"},
            },
            Document(PLAIN_TEXT),
        ),
        ({"type": "document", "source": {"type": "url", "url": "u"}}, Document(Linked("u"))),
        (
            {"type": "document", "source": {"type": "content", "content": "żółw"}},
            Document(PLAIN_TEXT),
        ),
        ({"type": "thinking", "thinking": "t", "signature": "s"}, Thinking("t", "s")),
        ({"type": "thinking", "thinking": "t", "signature": ""}, Thinking("t")),
        ({"type": "redacted_thinking", "data": "d"}, Thinking("", redacted="d")),
        (
            {"type": "tool_use", "id": "1", "name": "n", "input": {"a": [1.0, 10**30]}},
            ToolCall("1", "n", '{"a": [1.0, 1000000000000000000000000000000]}'),
        ),
        ({"type": "tool_result", "tool_use_id": "1"}, ToolResult("1", ())),
        (
            {"type": "tool_result", "tool_use_id": "1", "content": "x", "is_error": True},
            ToolResult("1", (Text("x"),), failed=True),
        ),
        (
            {
                "type": "tool_result",
                "tool_use_id": "1",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image", "source": {"type": "url", "url": "u"}},
                ],
            },
            ToolResult("1", (Text("x"), Image(Linked("u")))),
        ),
    ],
)
def test_a_block_is_read_as_the_part_it_stands_for(block: object, part: Part) -> None:
    assert parts_read(block) == (part,)


def test_a_document_of_blocks_is_its_text_and_then_its_images() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "u"}}
    words = {"type": "text", "text": "żółw"}
    source = {"type": "content", "content": [picture, words]}
    parts = (Document(PLAIN_TEXT), Image(Linked("u")))
    assert parts_read({"type": "document", "source": source}) == parts


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"max_tokens": 0}, {"output_tokens_max": 1}),
        ({"system": "Be kind."}, {"system": (Text("Be kind."),)}),
        (
            {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
            {"system": (Text("a", CacheMark()),)},
        ),
        ({"stream": True}, {"stream": True}),
        ({"stop_sequences": ["a"]}, {"stop": ("a",)}),
        (
            {"temperature": 1, "top_p": 0.5, "top_k": 3},
            {"temperature": 1.0, "top_p": 0.5, "top_k": 3},
        ),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        (
            {"tools": [{"name": "n", "input_schema": {"type": "object"}, "strict": True}]},
            {"tools": (Tool("n", None, '{"type": "object"}', strict=True),)},
        ),
        ({"tool_choice": {"type": "auto"}}, {"tool_choice": ToolChoice("auto")}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": ToolChoice("any")}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": ToolChoice("none")}),
        (
            {"tool_choice": {"type": "tool", "name": "n", "disable_parallel_tool_use": True}},
            {"tool_choice": ToolChoice("named", "n"), "parallel_calls": False},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            {"reasoning": Reasoning(budget_tokens=2000, shown=True)},
        ),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            {"reasoning": Reasoning("high", shown=False)},
        ),
        ({"thinking": {"type": "disabled"}}, {"reasoning": Reasoning("none")}),
        ({"output_config": {"effort": "max"}}, {"reasoning": Reasoning("xhigh")}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}},
            {"output_format": OutputFormat('{"a": 1}')},
        ),
        (
            {"output_format": {"type": "json_schema", "schema": {"a": 1}}},
            {"output_format": OutputFormat('{"a": 1}')},
        ),
        ({"service_tier": "auto", "context_management": {}, "betas": [], "speed": 5}, {}),
    ],
)
def test_a_field_is_read_as_what_it_says(
    fields: dict[str, object], expected: dict[str, object]
) -> None:
    plain = Conversation((), (), output_tokens_max=9)
    assert anthropic.read_request(body_of(**fields)) == replace(plain, **expected)  # type: ignore[arg-type]


def test_system_messages_that_lead_belong_to_the_system_prompt() -> None:
    turns = [("system", "a"), ("user", "b"), ("system", "c")]
    messages = [{"role": role, "content": content} for role, content in turns]
    read = anthropic.read_request(body_of(messages=messages, system="s"))
    assert read.system == (Text("s"), Text("a"))
    assert [(m.role, m.parts) for m in read.messages] == [
        (Role.USER, (Text("b"),)),
        (Role.SYSTEM, (Text("c"),)),
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "x", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages"),
        ({"tools": [{"name": "a", "type": "bash_20250124"}]}, "tools"),
        ({"tool_choice": {"type": "new"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "new"}}}, "output_config"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(
    fields: dict[str, object], param: str
) -> None:
    with pytest.raises(UnreadableError, match=f"The field `{param}` ") as caught:
        anthropic.read_request(body_of(**fields))
    assert caught.value.param == param


def test_a_body_that_is_no_object_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="The field `body` is not usable: not a JSON"):
        anthropic.read_request(b"[]")


# Writing: turns.


USER, ASSISTANT, SYSTEM = Role.USER, Role.ASSISTANT, Role.SYSTEM
CALL = ToolCall("1", "clock", "{}")
RESULT = ToolResult("1", (Text("noon"),))
HI, HO = {"type": "text", "text": "Hi"}, {"type": "text", "text": "Ho"}
CONTINUE = {"type": "text", "text": "Continue."}
CALLED = {"type": "tool_use", "id": "1", "name": "clock", "input": {}}
RESULTED = {
    "type": "tool_result",
    "tool_use_id": "1",
    "content": [{"type": "text", "text": "noon"}],
}


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([(USER, (Text("Hi"),))], [("user", [HI])]),
        ([(USER, (Text("Hi"),)), (USER, (Text("Ho"),))], [("user", [HI, HO])]),
        ([(USER, (Text("Hi"),)), (SYSTEM, (Text("Ho"),))], [("user", [HI, HO])]),
        (
            [(USER, (Text("Hi"),)), (ASSISTANT, (CALL,)), (USER, (Text("Ho"), RESULT))],
            [("user", [HI]), ("assistant", [CALLED]), ("user", [RESULTED, HO])],
        ),
        (
            [(ASSISTANT, (Text("Hi"),)), (USER, (Text("Ho"),))],
            [("user", [CONTINUE]), ("assistant", [HI]), ("user", [HO])],
        ),
        ([], [("user", [CONTINUE])]),
        ([(USER, (Text("Hi"), Text(""), Text(" \n")))], [("user", [HI])]),
        (
            [(USER, (Text("Hi"),)), (ASSISTANT, (Text(""),)), (USER, (Text("Ho"),))],
            [("user", [HI, HO])],
        ),
        (
            [(USER, (Text("Hi"),)), (ASSISTANT, (Text("Ho \n"),))],
            [("user", [HI]), ("assistant", [HO])],
        ),
        (
            [(USER, (Text("Hi"),)), (ASSISTANT, (Thinking("no"), Text("Ho"))), (USER, (RESULT,))],
            [("user", [HI]), ("assistant", [HO]), ("user", [RESULTED])],
        ),
        ([(USER, (Text("Hi"), Audio("wav", "AAAA")))], [("user", [HI])]),
    ],
)
def test_user_and_assistant_take_turns(
    messages: list[tuple[Role, tuple[Part, ...]]], turns: list[tuple[str, list[object]]]
) -> None:
    body = written(told(*messages))
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == turns


@pytest.mark.parametrize(
    ("given", "known", "max_tokens"),
    [(100_000, 4096, 4096), (100, 4096, 100), (100_000, None, 100_000), (None, None, 4096)],
)
def test_no_more_tokens_are_asked_for_than_the_model_has(
    given: int | None, known: int | None, max_tokens: int
) -> None:
    body = written(asking(output_tokens_max=given), output_tokens_max=known)
    assert body["max_tokens"] == max_tokens


def test_models_that_take_no_prefill_are_told_to_continue() -> None:
    body = written(told((USER, (Text("Hi"),)), (ASSISTANT, (Text("Ho"),))), "claude-opus-4-6")
    assert body["messages"][-1] == {"role": "user", "content": [CONTINUE]}


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(PNG),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            },
        ),
        (
            Image(Linked("data:image/PNG;base64,AAAA")),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            },
        ),
        (
            Image(Linked("https://x.test"), detail="low"),
            {"type": "image", "source": {"type": "url", "url": "https://x.test"}},
        ),
        (
            Document(PDF, "t"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                "title": "t",
            },
        ),
        (
            Document(replace(PLAIN_TEXT, media_type="text/markdown")),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "żółw"},
            },
        ),
        (
            Document(Linked("https://x.test")),
            {"type": "document", "source": {"type": "url", "url": "https://x.test"}},
        ),
        (
            Thinking("t", "s"),
            {"type": "thinking", "thinking": "t", "signature": "s"},
        ),
        (Thinking("", redacted="d"), {"type": "redacted_thinking", "data": "d"}),
        (
            ToolResult("1", (), failed=True),
            {"type": "tool_result", "tool_use_id": "1", "is_error": True},
        ),
        (
            Text("Hi", CacheMark("1h")),
            HI | {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
        (Text("Hi", CacheMark("24h")), HI | {"cache_control": {"type": "ephemeral"}}),
    ],
)
def test_a_part_is_written_as_the_block_it_stands_for(part: Part, block: object) -> None:
    assert written(told((USER, (part,))))["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    ("media_type", "written_as"), [("image/jpg", "image/jpeg"), ("Image/GIF; x=y", "image/gif")]
)
def test_a_picture_is_named_as_anthropic_does(media_type: str, written_as: str) -> None:
    body = written(told((USER, (Image(Inline(media_type, "AAAA")),))))
    assert body["messages"][0]["content"][0]["source"]["media_type"] == written_as


@pytest.mark.parametrize(
    ("media_type", "data"),
    [("application/json", b"{}"), ("text/csv; charset=utf-8", b"a,b")],
)
def test_a_document_that_is_text_is_sent_as_text(media_type: str, data: bytes) -> None:
    document = Document(Inline(media_type, base64.b64encode(data).decode()))
    source = written(told((USER, (document,))))["messages"][0]["content"][0]["source"]
    assert source == {"type": "text", "media_type": "text/plain", "data": data.decode()}


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (Image(Inline("image/svg+xml", "AAAA")), "an image of type image/svg[+]xml"),
        (Image(Inline("image/\n`x`", "AAAA")), "an image of an unknown type"),
        (Document(Inline(DOCX, "AAAA")), f"a document of type {DOCX}"),
        (Document(Inline("text/plain", "/w==")), "a document of type text/plain"),
        (ToolResult("1", (Image(Inline("image/heic", "AAAA")),)), "an image of type image/heic"),
    ],
)
def test_media_that_anthropic_does_not_take_are_not_sent(part: Part, named: str) -> None:
    with pytest.raises(NotTakenError, match=f"holds {named}, which the API `anthropic` does not"):
        written(told((USER, (part,))))


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        (" ", {}),
        ("[1]", {"arguments": [1]}),
        ("null", {"arguments": None}),
        ('{"a": ', {"arguments": '{"a": '}),
        ("[" * 5000, {"arguments": "[" * 5000}),
    ],
)
def test_arguments_are_made_an_object(arguments: str, given: object) -> None:
    body = written(told((USER, (Text("Hi"),)), (ASSISTANT, (ToolCall("1", "n", arguments),))))
    assert body["messages"][1]["content"][0]["input"] == given


def test_ids_of_calls_are_cleaned_and_stay_apart() -> None:
    calls = tuple(ToolCall(each, "n", "{}") for each in ("a.b", "a:b", "", "ok-1_"))
    results = tuple(ToolResult(call.id, ()) for call in calls)
    turns = written(told((USER, (Text("Hi"),)), (ASSISTANT, calls), (USER, results)))["messages"]
    ids = [block["id"] for block in turns[1]["content"]]
    assert ids == ["a_b", "a_b_", "call", "ok-1_"]
    assert [block["tool_use_id"] for block in turns[2]["content"]] == ids


def test_calls_in_the_history_of_a_request_without_tools_get_tools_not_to_be_called() -> None:
    body = written(told((USER, (Text("Hi"),)), (ASSISTANT, (CALL, CALL)), (USER, (RESULT,))))
    empty = {"type": "object", "properties": {}}
    assert body["tools"] == [{"name": "clock", "input_schema": empty}]
    assert body["tool_choice"] == {"type": "none"}


def test_of_more_than_four_cache_marks_the_last_are_kept() -> None:
    marks = CacheMark()
    conversation = replace(
        told((USER, (ToolResult("1", (Text("Ho", marks),), cache=marks), Text("Hi", marks)))),
        system=(Text("Hi", marks), Text("Ho", marks)),
        tools=(replace(CLOCK, cache=marks),),
    )
    body = written(conversation)
    result, words = body["messages"][0]["content"]
    marked = [*body["tools"], *body["system"], *result["content"], result, words]
    assert ["cache_control" in block for block in marked] == [False] * 2 + [True] * 4


# Writing: what else a request says.


@pytest.mark.parametrize(
    ("given", "known", "max_tokens"),
    [(7, None, 7), (7, 100, 7), (None, 100, 100), (None, None, 4096)],
)
def test_max_tokens_are_the_clients_else_the_models_else_a_default(
    given: int | None, known: int | None, max_tokens: int
) -> None:
    body = written(asking(output_tokens_max=given), output_tokens_max=known)
    assert body["max_tokens"] == max_tokens


ONLY = {"max_tokens", "messages"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"stream": True}, {"stream": True}),
        ({"system": (Text("s"), Text(" "))}, {"system": [{"type": "text", "text": "s"}]}),
        ({"temperature": 1.5}, {"temperature": 1.0}),
        ({"temperature": -1.0}, {"temperature": 0.0}),
        ({"top_p": 0.5, "top_k": 3}, {"top_p": 0.5, "top_k": 3}),
        ({"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}),
        ({"stop": ("a", " ", "\n")}, {"stop_sequences": ["a"]}),
        ({"stop": (" ",)}, {}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"user": "u" * 257}, {}),
        ({"presence_penalty": 1.0, "frequency_penalty": 1.0, "seed": 5}, {}),
        ({"tool_choice": ToolChoice("any"), "parallel_calls": False}, {}),
    ],
)
def test_a_setting_is_written_within_what_anthropic_takes(
    fields: dict[str, object], expected: dict[str, object]
) -> None:
    body = written(asking(**fields))
    assert {name: value for name, value in body.items() if name not in ONLY} == expected


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), None, None),
        (ToolChoice("any"), None, {"type": "any"}),
        (ToolChoice("any"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("named", "clock"), None, {"type": "tool", "name": "clock"}),
        (ToolChoice("none"), False, {"type": "none"}),
    ],
)
def test_the_choice_of_tools_says_whether_calls_may_be_parallel(
    choice: ToolChoice | None, *, parallel: bool | None, expected: object
) -> None:
    body = written(asking(tools=(CLOCK,), tool_choice=choice, parallel_calls=parallel))
    assert body.get("tool_choice") == expected


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (None, {"type": "object", "properties": {}}),
        ("{}", {"type": "object"}),
        ('{"properties":{"a":{}}}', {"type": "object", "properties": {"a": {}}}),
        ('{"type":"object","x":[1]}', {"type": "object", "x": [1]}),
        ("true", {"type": "object", "properties": {}}),
        ('{"a":', {"type": "object", "properties": {}}),
    ],
)
def test_a_tool_has_the_schema_of_an_object(parameters: str | None, schema: object) -> None:
    body = written(asking(tools=(Tool("t", parameters=parameters),)))
    assert body["tools"] == [{"name": "t", "input_schema": schema}]


@pytest.mark.parametrize(
    ("model", "strict", "expected"),
    [(CLAUDE, True, True), (CLAUDE, False, None), ("claude-3-7-sonnet-20250219", True, None)],
)
def test_tools_are_strict_where_a_model_knows_that(
    model: str, strict: object, expected: object
) -> None:
    body = written(asking(tools=(Tool("t", strict=bool(strict)),)), model)
    assert body["tools"][0].get("strict") is expected


LIMITED = {"properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
HELD = {
    "type": "object",
    "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}},
    "required": ["n"],
    "additionalProperties": False,
}
MAP = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize(
    ("parameters", "strict", "schema", "held"),
    [
        (LIMITED, True, HELD, True),
        (LIMITED, False, {"type": "object", **LIMITED}, None),
        (None, True, {"type": "object", "properties": {}, "additionalProperties": False}, True),
        (MAP, True, MAP, None),
    ],
)
def test_a_strict_tool_has_a_schema_that_a_model_can_be_held_to(
    parameters: object, strict: object, schema: object, held: object
) -> None:
    text = json.dumps(parameters) if parameters else None
    body = written(asking(tools=(Tool("t", parameters=text, strict=bool(strict)),)))
    assert body["tools"] == [
        {"name": "t", "input_schema": schema} | ({"strict": True} if held else {})
    ]


@pytest.mark.parametrize("model", [CLAUDE, "claude-3-5-haiku-20241022"])
def test_an_answer_that_a_model_cannot_be_held_to_is_asked_for_in_words(model: str) -> None:
    body = written(asking(output_format=OutputFormat(json.dumps(MAP))), model)
    assert "output_config" not in body
    assert json.dumps(MAP) in body["system"][0]["text"]


def test_an_answer_is_held_to_its_schema() -> None:
    body = written(asking(output_format=OutputFormat(json.dumps({"type": "object", **LIMITED}))))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": HELD}}
    assert "system" not in body


@pytest.mark.parametrize(
    ("model", "output_format", "schema_told"),
    [
        (CLAUDE, OutputFormat(), False),
        (CLAUDE, OutputFormat("true"), False),
        ("claude-3-5-haiku-20241022", OutputFormat(SCHEMA), True),
        ("some-other-model", OutputFormat(SCHEMA), True),
    ],
)
def test_json_without_a_field_for_it_is_asked_for_in_words(
    model: str, output_format: OutputFormat, *, schema_told: bool
) -> None:
    body = written(asking(output_format=output_format, system=(Text("s"),)), model)
    assert "output_config" not in body
    assert body["system"][0] == {"type": "text", "text": "s"}
    assert "JSON" in body["system"][1]["text"]
    assert (SCHEMA in body["system"][1]["text"]) is schema_told


def budget(tokens: int) -> dict[str, object]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def adaptive(effort: str | None, **display: str) -> dict[str, object]:
    config = {"output_config": {"effort": effort}} if effort else {}
    return {"thinking": {"type": "adaptive", **display}, **config}


OFF: dict[str, object] = {}
DISABLED = {"thinking": {"type": "disabled"}}
LOWEST = {"output_config": {"effort": "low"}}


@pytest.mark.parametrize(
    ("model", "reasoning", "expected"),
    [
        ("claude-3-haiku-20240307", Reasoning("high"), OFF),
        ("claude-3-5-sonnet-20241022", Reasoning("high"), OFF),
        ("claude-3-7-sonnet-20250219", Reasoning("high"), budget(16_384)),
        ("claude-sonnet-4-20250514", Reasoning("minimal"), budget(1024)),
        ("claude-opus-4-1-20250805", Reasoning("low"), budget(2048)),
        ("claude-haiku-4-5-20251001", Reasoning("medium"), budget(8192)),
        ("claude-opus-4-5", Reasoning(budget_tokens=3000, effort="high"), budget(3000)),
        ("claude-opus-4-5", Reasoning(budget_tokens=3), budget(1024)),
        ("claude-opus-4-5", Reasoning("none"), OFF),
        ("claude-opus-4-5", Reasoning(shown=True), OFF),
        ("anthropic/claude-opus-4.6", Reasoning("high"), adaptive("high")),
        ("claude-sonnet-4-6", Reasoning("xhigh"), adaptive("high")),
        ("us.anthropic.claude-opus-4-6-v1", Reasoning("minimal"), adaptive("low")),
        ("claude-opus-4-6", Reasoning("none"), OFF),
        ("claude-opus-4-6", Reasoning(shown=True), OFF),
        ("claude-opus-4-6", Reasoning(budget_tokens=9000), adaptive("medium")),
        (
            "claude-opus-4-7",
            Reasoning("xhigh", shown=True),
            adaptive("xhigh", display="summarized"),
        ),
        ("claude-opus-4-8", Reasoning("low", shown=False), adaptive("low", display="omitted")),
        ("claude-opus-5", Reasoning("none"), DISABLED),
        ("claude-sonnet-5", Reasoning(shown=True), adaptive(None, display="summarized")),
        ("claude-opus-5-5", Reasoning("none"), LOWEST),
        ("claude-haiku-5-5-20260901", Reasoning("high"), adaptive("high")),
        ("claude-fable-5", Reasoning("none"), LOWEST),
        ("claude-mythos-preview", Reasoning("none"), LOWEST),
        ("some-other-model", Reasoning("low"), budget(2048)),
        ("claude-opus-4-5", None, OFF),
        ("claude-opus-5", None, OFF),
    ],
)
def test_thinking_is_asked_for_as_each_generation_wants_it(
    model: str, reasoning: Reasoning | None, expected: dict[str, object]
) -> None:
    body = written(asking(reasoning=reasoning), model)
    assert {name: value for name, value in body.items() if name not in ONLY} == expected


@pytest.mark.parametrize(
    ("given", "known", "max_tokens", "budget_tokens"),
    [
        (None, None, 20_480, 16_384),
        (None, 18_000, 18_000, 16_384),
        (None, 64_000, 64_000, 16_384),
        (None, 8000, 8000, 4000),
        (20_000, None, 20_000, 16_384),
        (20_000, 18_000, 18_000, 16_384),
        (20_000, 8000, 8000, 4000),
        (10_000, None, 10_000, 5000),
        (1500, None, 1500, 1024),
        (1024, None, 1024, None),
        (1, None, 1, None),
    ],
)
def test_a_budget_stays_below_max_tokens(
    given: int | None, known: int | None, max_tokens: int, budget_tokens: int | None
) -> None:
    body = written(
        asking(reasoning=Reasoning("high"), output_tokens_max=given), output_tokens_max=known
    )
    assert body["max_tokens"] == max_tokens
    assert body.get("thinking", {}).get("budget_tokens") == budget_tokens


@pytest.mark.parametrize("model", [CLAUDE, "claude-opus-4-6"])
def test_thinking_takes_no_sampling_but_a_high_top_p(model: str) -> None:
    asked = asking(reasoning=Reasoning("low"), temperature=0.5, top_k=3)
    body = written(asked, model)
    assert not {"temperature", "top_k"} & body.keys()
    assert written(replace(asked, top_p=0.96), model)["top_p"] == 0.96
    assert "top_p" not in written(replace(asked, top_p=0.9), model)


@pytest.mark.parametrize("choice", [ToolChoice("any"), ToolChoice("named", "clock")])
@pytest.mark.parametrize(
    ("model", "thought"),
    [
        ("claude-3-7-sonnet-20250219", {}),
        (CLAUDE, {}),
        ("claude-opus-4-6", {}),
        ("claude-opus-4-7", {}),
        ("claude-sonnet-5", DISABLED),
        ("some-other-model", {}),
    ],
)
@pytest.mark.parametrize("reasoning", [Reasoning("medium"), Reasoning(budget_tokens=2000), None])
def test_a_forced_call_leaves_thinking_off(
    choice: ToolChoice, model: str, thought: dict[str, object], reasoning: Reasoning | None
) -> None:
    body = written(asking(reasoning=reasoning, tools=(CLOCK,), tool_choice=choice), model)
    assert body["tool_choice"]["type"] == ("any" if choice.mode == "any" else "tool")
    named = {"thinking", "output_config"}
    assert {name: value for name, value in body.items() if name in named} == thought


def test_a_call_that_no_tool_can_answer_forces_nothing() -> None:
    body = written(asking(reasoning=Reasoning("medium"), tool_choice=ToolChoice("any")))
    assert body["thinking"]["type"] == "enabled"
    assert "tool_choice" not in body


def test_what_always_thinks_is_left_the_choice() -> None:
    asked = asking(reasoning=Reasoning("high"), tools=(CLOCK,), tool_choice=ToolChoice("any"))
    body = written(asked, "claude-opus-5-5")
    assert body["thinking"] == {"type": "adaptive"}
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("model", "sampled", "forced"),
    [(CLAUDE, True, True), ("claude-opus-4-7", False, True), ("claude-opus-5-5", False, False)],
)
def test_newer_models_take_no_sampling_and_the_newest_no_forced_calls(
    model: str, *, sampled: bool, forced: bool
) -> None:
    asked = asking(
        tools=(CLOCK,), tool_choice=ToolChoice("any"), temperature=0.5, top_k=3, top_p=0.5
    )
    body = written(asked, model)
    assert bool({"temperature", "top_k", "top_p"} & body.keys()) is sampled
    assert ("tool_choice" in body) is forced


@pytest.mark.parametrize(
    ("model", "thought", "thinks"),
    [
        (CLAUDE, (Thinking("t", "s"), CALL), True),
        (CLAUDE, (Thinking("", redacted="d"), CALL), True),
        (CLAUDE, (Thinking("t"), CALL), False),
        (CLAUDE, (CALL,), False),
        (CLAUDE, (Text("Ho"),), True),
        ("claude-opus-4-6", (CALL,), True),
    ],
)
def test_a_budget_is_left_out_where_calls_were_made_without_thinking(
    model: str, thought: tuple[Part, ...], *, thinks: bool
) -> None:
    history = told((USER, (Text("Hi"),)), (ASSISTANT, thought), (USER, (RESULT,)))
    body = written(replace(history, reasoning=Reasoning("low")), model)
    assert ("thinking" in body) is thinks


def test_a_prefill_leaves_no_room_for_a_budget() -> None:
    history = told((USER, (Text("Hi"),)), (ASSISTANT, (Text("Ho"),)))
    assert "thinking" not in written(replace(history, reasoning=Reasoning("low")))


def test_what_the_api_lacks_is_all_but_links_and_images_in_results() -> None:
    has = {Demand.LINKED_IMAGES, Demand.LINKED_DOCUMENTS, Demand.IMAGES_IN_RESULTS}
    assert set(Demand) - anthropic.LACKS == has


# Both ways.

words = st.sampled_from(["Hi", "żółw 🐢", 'a "b" \\ \n c', "x" * 50])
marks = st.none() | st.builds(CacheMark, st.sampled_from([None, "5m", "1h"]))
texts = st.builds(Text, words, st.none())
sources = st.sampled_from([PNG, Linked("https://x.test/a")])
images = st.builds(Image, sources)
documents = st.builds(
    Document, st.sampled_from([PDF, PLAIN_TEXT, Linked("https://x.test/a")]), st.none() | words
)
ids = st.sampled_from(["a", "b-1", "toolu_01"])
objects = st.sampled_from(["{}", '{"a":[1,2.5,{"b":null}]}', '{"n":12345678901234567890123}'])
calls = st.builds(ToolCall, ids, words, objects)
results = st.builds(
    ToolResult,
    ids,
    st.lists(texts | images | documents, max_size=2).map(tuple),
    failed=st.booleans(),
)
thoughts = st.builds(Thinking, words, words) | st.builds(Thinking, st.just(""), redacted=words)
user_turns = st.tuples(
    st.lists(results, max_size=2), st.lists(texts | images | documents, min_size=1, max_size=3)
).map(lambda pair: Message(USER, (*pair[0], *pair[1])))
assistant_turns = st.lists(texts | calls | thoughts, min_size=1, max_size=3).map(
    lambda parts: Message(ASSISTANT, tuple(parts))
)
histories = st.tuples(user_turns, st.lists(st.tuples(assistant_turns, user_turns), max_size=2)).map(
    lambda pair: (pair[0], *(turn for both in pair[1] for turn in both))
)
tools = st.builds(Tool, words, st.none() | words, st.just(SCHEMA), st.none() | st.just(value=True))
conversations = st.builds(
    Conversation,
    st.lists(st.builds(Text, words, marks), max_size=3).map(tuple),
    histories,
    stream=st.booleans(),
    tools=st.lists(tools, min_size=1, max_size=2).map(tuple),
    tool_choice=st.sampled_from([ToolChoice("any"), ToolChoice("named", "x"), ToolChoice("none")]),
    output_format=st.none() | st.just(OutputFormat(SCHEMA)),
    output_tokens_max=st.integers(1, 10**6),
    stop=st.lists(words, max_size=2).map(tuple),
    temperature=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 99),
    user=st.none() | words,
)


@given(conversations)
@settings(deadline=None, max_examples=40, database=None)
def test_what_is_written_is_read_again_as_it_was(conversation: Conversation) -> None:
    wording = anthropic.write_request(conversation, target_of())
    body = wording.prefix.encode() + wording.rest
    drain(schema_of(streaming=conversation.stream).validate_json(body))
    assert anthropic.read_request(body) == conversation


VALUES = anything(
    names=[
        *("role", "content", "type", "text", "source", "data"),
        *("input", "id", "name", "schema", "url"),
    ],
    leaves=["user", "tool_result", "image"],
)
names = st.sampled_from(
    ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "top_p"]
)


@given(st.dictionaries(names, VALUES, max_size=4) | st.binary(max_size=40))
@settings(deadline=None, max_examples=80, database=None)
def test_whatever_comes_is_read_or_unreadable(fields: dict[str, object] | bytes) -> None:
    body = fields if isinstance(fields, bytes) else body_of(**fields)
    try:
        conversation = anthropic.read_request(body)
    except UnreadableError:
        conversation = asking()
    wording = anthropic.write_request(conversation, target_of())
    assert json.loads(wording.prefix.encode() + wording.rest)["messages"]
