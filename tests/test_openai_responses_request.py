"""How a request to the responses API becomes a conversation in no dialect."""

import json
from typing import Any

import pytest
from hostile import CANARY
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import openai_responses
from extproc.dialects.conversation import (
    Audio,
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
from extproc.dialects.payload import Payload

WORDS = {"type": "input_text", "text": "Hello"}
ANSWER = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
CALL: dict[str, object] = {
    "type": "function_call",
    "call_id": "c1",
    "name": "clock",
    "arguments": '{"zone": "UTC"}',
}
OTHER_CALL = CALL | {"call_id": "c2"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
OTHER_RESULT = RESULT | {"call_id": "c2"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
HELLO = {"role": "user", "content": "Hello"}

CALLED = ToolCall("c1", "clock", '{"zone": "UTC"}')
CALLED_TOO = ToolCall("c2", "clock", '{"zone": "UTC"}')
NOON = ToolResult("c1", (Text("noon"),))
NOON_TOO = ToolResult("c2", (Text("noon"),))


def read(**fields: object) -> Conversation:
    return openai_responses.read_request(json.dumps({"input": "Hello"} | fields).encode())


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def assistant(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ("Hello", [user(Text("Hello"))]),
        ([HELLO], [user(Text("Hello"))]),
        ([HELLO | {"type": "message"}], [user(Text("Hello"))]),
        ([{"role": "user", "content": [WORDS, WORDS]}], [user(Text("Hello"), Text("Hello"))]),
        ([HELLO, HELLO], [user(Text("Hello")), user(Text("Hello"))]),
        ([HELLO, ANSWER], [user(Text("Hello")), assistant(Text("A"))]),
        ([ANSWER, ANSWER], [assistant(Text("A")), assistant(Text("A"))]),
        ([ANSWER, CALL, OTHER_CALL], [assistant(Text("A"), CALLED, CALLED_TOO)]),
        ([THOUGHT, ANSWER, CALL], [assistant(Thinking("Hm."), Text("A"), CALLED)]),
        ([THOUGHT, CALL, THOUGHT], [assistant(Thinking("Hm."), CALLED, Thinking("Hm."))]),
        ([CALL, ANSWER, RESULT], [assistant(CALLED, Text("A")), user(NOON)]),
        (
            [CALL, OTHER_CALL, RESULT, OTHER_RESULT, HELLO],
            [assistant(CALLED, CALLED_TOO), user(NOON, NOON_TOO), user(Text("Hello"))],
        ),
        (
            [CALL, RESULT, OTHER_CALL, OTHER_RESULT],
            [assistant(CALLED), user(NOON), assistant(CALLED_TOO), user(NOON_TOO)],
        ),
        ([HELLO, RESULT], [user(Text("Hello")), user(NOON)]),
        ([HELLO, {"type": "reasoning", "summary": []}], [user(Text("Hello"))]),
        ([HELLO, {"role": "assistant", "content": []}], [user(Text("Hello"))]),
        (
            [HELLO, {"role": "developer", "content": "Be brief."}, HELLO],
            [
                user(Text("Hello")),
                Message(Role.SYSTEM, (Text("Be brief."),)),
                user(Text("Hello")),
            ],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [assistant(Text("No."))],
        ),
    ],
)
def test_items_in_a_row_come_together_as_turns(items: object, messages: list[Message]) -> None:
    assert read(input=items).messages == tuple(messages)


@pytest.mark.parametrize(
    ("fields", "system"),
    [
        ({"instructions": "Be brief."}, ["Be brief."]),
        ({"instructions": None}, []),
        ({"instructions": [{"role": "developer", "content": "Be brief."}]}, ["Be brief."]),
        (
            {
                "instructions": "Be brief.",
                "input": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "developer", "content": [WORDS]},
                    HELLO,
                ],
            },
            ["Be brief.", "Be kind.", "Hello"],
        ),
    ],
)
def test_instructions_and_what_leads_for_the_system_are_the_system_prompt(
    fields: dict[str, object], system: list[str]
) -> None:
    conversation = read(**fields)
    assert conversation.system == tuple(map(Text, system))
    assert conversation.messages == (user(Text("Hello")),)


@pytest.mark.parametrize(
    ("part", "read_as"),
    [
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            Image(Inline("image/png", "AAAA"), "low"),
        ),
        ({"type": "input_image", "image_url": "https://x/a.png"}, Image(Linked("https://x/a.png"))),
        (
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,A",
            },
            Document(Inline("application/pdf", "A"), "a.pdf"),
        ),
        (
            {"type": "input_file", "filename": "a.PDF", "file_data": "AAAA"},
            Document(Inline("application/pdf", "AAAA"), "a.PDF"),
        ),
        (
            {"type": "input_file", "file_data": "data:text/plain;charset=utf-8;base64,AA"},
            Document(Inline("text/plain", "AA")),
        ),
        (
            {"type": "input_file", "file_url": "https://x/a.pdf"},
            Document(Linked("https://x/a.pdf")),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            Audio("wav", "AAAA"),
        ),
    ],
)
def test_content_that_is_not_text_is_read_with_its_source(
    part: dict[str, object], read_as: Part
) -> None:
    assert read(input=[{"role": "user", "content": [part]}]).messages == (user(read_as),)


def test_a_result_may_hold_text_and_pictures() -> None:
    picture = {"type": "input_image", "image_url": "https://x/a.png"}
    result = RESULT | {"output": [WORDS, picture]}
    parts = (Text("Hello"), Image(Linked("https://x/a.png")))
    assert read(input=[result]).messages == (user(ToolResult("c1", parts)),)


@pytest.mark.parametrize("arguments", ["", " ", None])
def test_a_call_without_arguments_has_an_empty_object(arguments: str | None) -> None:
    call = ToolCall("c1", "clock", "{}")
    assert read(input=[CALL | {"arguments": arguments}]).messages == (assistant(call),)


CLOCK = {"type": "function", "name": "clock", "description": "Tells.", "strict": True}
SCHEMA = '{"type" : "object", "properties":{"n":{"maximum":1e2}}}'


def test_schemas_pass_through_as_they_were_written() -> None:
    body = (
        '{"input":"Hi","tools":[{"type":"function","name":"f","parameters":%s}],'
        '"text":{"format":{"type":"json_schema","name":"n","description":"d","schema":%s}}}'
    )
    conversation = openai_responses.read_request((body % (SCHEMA, SCHEMA)).encode())
    assert conversation.tools == (Tool("f", None, SCHEMA),)
    assert conversation.output_format == OutputFormat(SCHEMA, "n", "d")


ALLOWED = {"type": "allowed_tools", "tools": [{"type": "function", "name": "clock"}]}


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (None, None),
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("any")),
        ({"type": "function", "name": "clock"}, ToolChoice("named", "clock")),
        (ALLOWED | {"mode": "auto"}, ToolChoice("auto")),
        (ALLOWED | {"mode": "required"}, ToolChoice("any")),
    ],
)
def test_every_form_of_a_tool_choice_of_functions_is_read(
    choice: object, chosen: ToolChoice | None
) -> None:
    assert read(tools=[CLOCK], tool_choice=choice).tool_choice == chosen


def test_tools_that_are_not_allowed_are_left_out() -> None:
    tools = [CLOCK, CLOCK | {"name": "bell"}]
    conversation = read(tools=tools, tool_choice=ALLOWED | {"mode": "auto"})
    assert conversation.tools == (Tool("clock", "Tells.", None, strict=True),)


@pytest.mark.parametrize(
    ("field", "value", "name", "read_as"),
    [
        ("stream", True, "stream", True),
        ("stream", None, "stream", False),
        ("parallel_tool_calls", False, "parallel_calls", False),
        ("max_output_tokens", 7, "output_tokens_max", 7),
        ("max_output_tokens", 10**30, "output_tokens_max", 2**53),
        ("temperature", 0, "temperature", 0.0),
        ("top_p", 0.5, "top_p", 0.5),
        ("user", "u", "user", "u"),
        ("safety_identifier", "s", "user", "s"),
        ("text", {"format": {"type": "text"}}, "output_format", None),
        ("text", {"format": {"type": "json_object"}}, "output_format", OutputFormat()),
        ("reasoning", None, "reasoning", None),
        ("reasoning", {"effort": "low"}, "reasoning", Reasoning("low")),
        ("reasoning", {"effort": "max"}, "reasoning", Reasoning("xhigh")),
        ("reasoning", {"summary": "auto"}, "reasoning", Reasoning(shown=True)),
        ("reasoning", {"generate_summary": "auto"}, "reasoning", Reasoning(shown=True)),
    ],
)
def test_every_other_field_that_other_apis_know_is_read(
    field: str, value: object, name: str, read_as: object
) -> None:
    assert getattr(read(**{field: value}), name) == read_as


WRONG: list[tuple[str, Any]] = [
    ("input", None),
    ("input", []),
    ("input", [{"role": "developer", "content": CANARY}]),
    ("input", [{"role": CANARY, "content": CANARY}]),
    ("input", [{"type": CANARY}]),
    ("input", [{"id": CANARY}]),
    ("input", [{"type": "web_search_call", "id": CANARY}]),
    ("input", [{"role": "user", "content": [{"type": CANARY}]}]),
    ("input", [{"role": "user", "content": [{"type": "input_image"}]}]),
    ("input", [{"role": "user", "content": [{"type": "input_image", "file_id": CANARY}]}]),
    ("input", [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]),
    ("input", [{"role": "user", "content": [{"type": "input_file", "file_data": CANARY}]}]),
    ("input", [{"role": "user", "content": [{"type": "input_audio"}]}]),
    ("input", [{"role": "system", "content": [{"type": "input_image", "image_url": "x"}]}]),
    ("input", [CALL | {"arguments": CANARY}]),
    ("input", [CALL | {"arguments": "[1]"}]),
    ("input", [CALL | {"arguments": "[" * 5000}]),
    ("input", [CALL | {"call_id": None}]),
    ("input", [CALL | {"name": ""}]),
    ("input", [RESULT | {"call_id": ""}]),
    ("input", [RESULT | {"output": {CANARY: 1}}]),
    ("input", [RESULT | {"output": [{"type": "input_audio"}]}]),
    ("tools", [{"type": CANARY}]),
    ("tools", [{"type": "function"}]),
    ("tools", [{"type": "function", "name": "f", "parameters": CANARY}]),
    ("tools", [{"type": "custom", "name": "f"}]),
    ("tool_choice", CANARY),
    ("tool_choice", {"type": "custom", "name": CANARY}),
    ("tool_choice", {"type": "function"}),
    ("tool_choice", {"type": "allowed_tools", "mode": CANARY}),
    ("text", {"format": {"type": CANARY}}),
    ("text", {"format": {"type": "json_schema", "name": CANARY}}),
    ("reasoning", {"effort": CANARY}),
    ("temperature", CANARY),
    ("metadata", {"a": 1}),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_what_cannot_be_read_is_refused_by_its_field_and_quotes_nothing(
    field: str, value: object
) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(**{field: value})
    assert caught.value.param == field
    assert f"`{field}`" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"input":"\xff"}',
        b'{"input":"\\ud800"}',
        b'{"input":"a","temperature":1e999}',
        b'{"input":"a","temperature":NaN}',
        b'{"input":"a","max_output_tokens":' + b"1" * 5000 + b"}",
        b'{"input":' + b"[" * 10_000,
        b'{"input":"a","tools":' + b'[{"type":' * 10_000,
    ],
)
def test_a_hostile_body_raises_nothing_else(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        openai_responses.read_request(body)


TYPES = [
    *("message", "function_call", "function_call_output", "reasoning"),
    *("input_text", "input_image", "other"),
]
NAMES = [
    *("role", "content", "text", "output", "summary"),
    *("call_id", "name", "arguments", "image_url", "detail"),
]
types = st.sampled_from(TYPES)
texts = st.sampled_from(["", "x", "user", "assistant", "system", "{}", "data:image/png;base64,A"])
names = st.sampled_from(NAMES)
values = st.recursive(
    st.none() | texts | st.integers(-1, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
)
items = st.builds(
    lambda rest, kind: rest | kind,
    st.dictionaries(names, values, max_size=5),
    st.fixed_dictionaries({}, optional={"type": types}),
)

UNREADABLE = {
    Demand.CUSTOM_TOOLS,
    Demand.HOSTED_TOOLS,
    Demand.STORED_STATE,
    Demand.UNKNOWN_PARTS,
}


@given(st.lists(items, max_size=4))
@settings(deadline=None, max_examples=100, database=None)
def test_what_is_read_in_full_is_what_routing_reads_without_a_demand_against_it(
    given_items: list[dict[str, object]],
) -> None:
    body = json.dumps({"input": given_items}).encode()
    try:
        conversation = openai_responses.read_request(body)
    except UnreadableError:
        return
    payload = openai_responses.read(body)
    assert isinstance(payload, Payload)
    assert not payload.demands & UNREADABLE
    assert all(message.parts for message in conversation.messages)
