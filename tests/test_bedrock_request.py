"""How a conversation is put to Bedrock: what Converse can say, and by which rules the rest goes."""

import json
from dataclasses import replace
from typing import Any

import pytest
from configs import target
from converse_rules import check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.dialects.bedrock import lacks, write_request
from extproc.dialects.conversation import (
    BOUND,
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

LLAMA = "meta.llama3-3-70b-instruct-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
CLAUDE_3 = "anthropic.claude-3-haiku-20240307-v1:0"
CLAUDE_3_5 = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
CLAUDE_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
CLAUDE_4_1 = "us.anthropic.claude-opus-4-1-20250805-v1:0"
CLAUDE_4_5 = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDE_4_6 = "global.anthropic.claude-opus-4-6-v1"
CLAUDE_4_7 = "anthropic.claude-opus-4-7"
PROFILE = "arn:aws:bedrock:eu-west-1:1:application-inference-profile/a1"
PICTURE = Image(Inline("image/png", "AAAA"))
PAPER = Document(Inline("application/pdf", "AAAA"), "paper.pdf")
HELLO = (Message(Role.USER, (Text("Hello"),)),)
CLOCK = Tool("clock", "Tells the time.", '{"type":"object","properties":{"zone":{}}}')
CALL = ToolCall("call_1", "clock", '{"zone": "UTC"}')
CALLED = (
    *HELLO,
    Message(Role.ASSISTANT, (CALL,)),
    Message(Role.USER, (ToolResult("call_1", (Text("12:00"),)),)),
)


def written(
    conversation: Conversation, model: str = LLAMA, most: int | None = None
) -> dict[str, Any]:
    to = target(model)
    to = replace(to, model=replace(to.model, output_tokens_max=most))
    wording = write_request(conversation, to)
    request: dict[str, Any] = json.loads(wording.prefix.encode() + wording.rest)
    return request


def asked(model: str = LLAMA, most: int | None = None, **fields: object) -> dict[str, Any]:
    given: dict[str, Any] = {"system": (), "messages": HELLO} | fields
    return written(Conversation(**given), model, most)


def turns(*messages: tuple[Role, tuple[Part, ...]], model: str = LLAMA) -> list[Any]:
    request = asked(model, messages=tuple(Message(*message) for message in messages))
    return [(turn["role"], turn["content"]) for turn in request["messages"]]


def content(*parts: Part, model: str = LLAMA) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = turns((Role.USER, parts), model=model)[-1][1]
    return blocks


@pytest.mark.parametrize(
    ("model", "stream", "endpoint"),
    [
        (LLAMA, False, "/model/meta.llama3-3-70b-instruct-v1%3A0/converse"),
        (LLAMA, True, "/model/meta.llama3-3-70b-instruct-v1%3A0/converse-stream"),
        (
            PROFILE,
            False,
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Aapplication-inference-profile%2Fa1/converse",
        ),
        ("a b~c?d#é", False, "/model/a%20b~c%3Fd%23%C3%A9/converse"),
    ],
)
def test_the_path_names_the_model_as_awss_sdks_write_it(
    model: str, endpoint: str, *, stream: bool
) -> None:
    asked_for = Conversation((), HELLO, stream=stream)
    assert write_request(asked_for, target(model)).endpoint == endpoint


def test_the_body_names_no_model_and_only_what_was_set() -> None:
    conversation = Conversation((), HELLO)
    assert write_request(conversation, target(LLAMA)).prefix == "{"
    assert written(conversation) == {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


def test_targets_of_one_family_share_the_body() -> None:
    conversation = Conversation((), CALLED, tools=(CLOCK,))
    bodies = {write_request(conversation, target(model)).rest for model in (LLAMA, PROFILE)}
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (Text("Hi"), {"text": "Hi"}),
        (PICTURE, {"image": {"format": "png", "source": {"bytes": "AAAA"}}}),
        (
            Image(Inline("image/jpg", "AAAA"), detail="low"),
            {"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}},
        ),
        (Audio("wav", "AAAA"), {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}}),
        (CALL, {"toolUse": {"toolUseId": "call_1", "name": "clock", "input": {"zone": "UTC"}}}),
        (
            ToolResult("call_1", (Text("12:00"), PICTURE)),
            {
                "toolResult": {
                    "toolUseId": "call_1",
                    "content": [
                        {"text": "12:00"},
                        {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
                    ],
                }
            },
        ),
        (
            ToolResult("call_1", (Text("  "),)),
            {"toolResult": {"toolUseId": "call_1", "content": [{"text": "(empty)"}]}},
        ),
    ],
)
def test_each_part_has_its_block(part: Part, block: dict[str, Any]) -> None:
    assert content(part) == [block]


@pytest.mark.parametrize(
    ("model", "status"),
    [(LLAMA, None), (PROFILE, None), (NOVA, "error"), (CLAUDE_3, "error"), (CLAUDE_4_7, "error")],
)
def test_a_failure_is_marked_where_the_model_knows_the_mark(model: str, status: str | None) -> None:
    (block,) = content(ToolResult("call_1", (Text("No."),), failed=True), model=model)
    assert block["toolResult"].get("status") == status


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("application/pdf", "pdf"),
        ("text/plain", "txt"),
        ("text/plain; charset=utf-8", "txt"),
        ("text/x-python", "txt"),
        ("text/csv", "csv"),
        ("text/html", "html"),
        ("text/markdown", "md"),
        ("application/msword", "doc"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
        ("application/vnd.ms-excel", "xls"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
        ("application/json", "txt"),
        ("Application/PDF; charset=binary", "pdf"),
    ],
)
def test_a_documents_format_follows_from_its_media_type(media_type: str, kind: str) -> None:
    block = content(Text("Read."), Document(Inline(media_type, "AAAA")))[1]["document"]
    assert block == {"format": kind, "name": "document", "source": {"bytes": "AAAA"}}


@pytest.mark.parametrize(
    "part",
    [
        Document(Inline("application/zip", "AAAA")),
        Image(Inline("image/svg+xml", "AAAA")),
        Image(Inline("image/heic", "AAAA")),
    ],
)
def test_media_that_bedrock_does_not_take_are_not_sent(part: Part) -> None:
    with pytest.raises(NotTakenError, match=r"of type .*, which the API `bedrock` does not take"):
        content(Text("Look."), part)


def test_documents_have_names_that_are_allowed_and_differ() -> None:
    names = ("a.pdf", "a.pdf", "a-pdf", None, "żółw  \n x_(1)[2]", "", "x" * 300, "x" * 300)
    blocks = content(Text("Read."), *(replace(PAPER, name=name) for name in names))
    assert [block["document"]["name"] for block in blocks[1:]] == [
        "a-pdf",
        "a-pdf (2)",
        "a-pdf (3)",
        "document",
        "-w x-(1)[2]",
        "document (2)",
        "x" * 200,
        "x" * 196 + " (2)",
    ]


def test_a_turn_with_a_document_has_text_beside_it() -> None:
    assert content(PAPER)[-1] == {"text": "The document is attached."}
    assert len(content(PAPER, Text("Sum it up."))) == 2


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u00a0"])
def test_blank_text_is_left_out_and_so_is_a_turn_of_nothing_else(blank: str) -> None:
    assert content(Text(blank), Text("Hi")) == [{"text": "Hi"}]
    assert turns((Role.USER, (Text("Hi"),)), (Role.ASSISTANT, (Text(blank),))) == [
        ("user", [{"text": "Hi"}])
    ]
    assert "system" not in asked(system=(Text(blank),))


def test_turns_alternate_and_the_users_comes_first() -> None:
    said = turns(
        (Role.ASSISTANT, (Text("Welcome."),)),
        (Role.USER, (Text("a"),)),
        (Role.SYSTEM, (Text("b"),)),
        (Role.ASSISTANT, (Text(""),)),
        (Role.USER, (Text("c"),)),
    )
    assert said == [
        ("user", [{"text": "Continue."}]),
        ("assistant", [{"text": "Welcome."}]),
        ("user", [{"text": "a"}, {"text": "b"}, {"text": "c"}]),
    ]
    assert turns() == [("user", [{"text": "Continue."}])]


def test_results_come_first_in_their_turn_with_their_cache_points() -> None:
    result = ToolResult("call_1", (Text("12:00"),), cache=CacheMark())
    blocks = content(Text("And now?"), result, ToolResult("call_2", ()), model=CLAUDE_4)
    assert [next(iter(block)) for block in blocks] == [
        *("toolResult", "cachePoint", "toolResult", "text")
    ]


def test_the_system_prompt_stands_beside_the_turns() -> None:
    system = (Text("Be brief."), Text("Be kind.", CacheMark("1h")))
    assert asked(CLAUDE_4_5, system=system)["system"] == [
        {"text": "Be brief."},
        {"text": "Be kind."},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
    ]


@pytest.mark.parametrize(
    ("model", "ttl", "point"),
    [
        (LLAMA, None, None),
        (PROFILE, None, None),
        (CLAUDE_3, None, None),
        (NOVA, "1h", {"type": "default"}),
        (CLAUDE_3_5, None, {"type": "default"}),
        (CLAUDE_4, "1h", {"type": "default"}),
        (CLAUDE_4_5, "5m", {"type": "default"}),
        (CLAUDE_4_5, "1h", {"type": "default", "ttl": "1h"}),
        (CLAUDE_4_7, "1h", {"type": "default", "ttl": "1h"}),
    ],
)
def test_cache_points_stand_where_the_model_knows_them(
    model: str, ttl: str | None, point: dict[str, str] | None
) -> None:
    blocks = content(Text("Hello", CacheMark(ttl)), model=model)
    assert blocks == [{"text": "Hello"}, *([{"cachePoint": point}] if point else [])]


@pytest.mark.parametrize(("model", "count"), [(LLAMA, 1), (NOVA, 1), (CLAUDE_4, 2)])
def test_tools_are_cached_by_claude_alone(model: str, count: int) -> None:
    tools = (replace(CLOCK, cache=CacheMark()),)
    assert len(asked(model, tools=tools)["toolConfig"]["tools"]) == count


@pytest.mark.parametrize("model", [CLAUDE_4, CLAUDE_4_7])
def test_claude_gets_its_signed_thinking_back(model: str) -> None:
    thought = (
        Thinking("Hm", signature="c2ln"),
        Thinking("not signed"),
        Thinking("", redacted="AAAA"),
        Text("Hi"),
    )
    said = turns((Role.USER, (Text("a"),)), (Role.ASSISTANT, thought), model=model)
    assert said[1][1] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
        {"text": "Hi"},
    ]


@pytest.mark.parametrize("model", [LLAMA, NOVA, CLAUDE_3, PROFILE])
def test_no_other_model_gets_thinking(model: str) -> None:
    thought = (Thinking("Hm", signature="c2ln"), Thinking("", redacted="AAAA"))
    assert len(turns((Role.USER, (Text("a"),)), (Role.ASSISTANT, thought), model=model)) == 1


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": [1, 2.50]}', {"a": [1, 2.5]}),
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        ('["a"]', {"arguments": '["a"]'}),
        ('{"a":', {"arguments": '{"a":'}),
        ('{"a":1} x', {"arguments": '{"a":1} x'}),
        ("now", {"arguments": "now"}),
    ],
)
def test_arguments_are_an_object_whatever_the_model_wrote(
    arguments: str, given: dict[str, Any]
) -> None:
    (block,) = content(replace(CALL, arguments=arguments))
    assert block["toolUse"]["input"] == given


def test_arguments_that_are_an_object_stay_as_they_were_written() -> None:
    call = replace(CALL, arguments='{"n":1.10,"m":123456789012345678901234567890,"s":"\\u00e9"}')
    wording = write_request(Conversation((), (Message(Role.USER, (call,)),)), target(LLAMA))
    assert call.arguments.encode() in wording.rest


def test_arguments_nested_beyond_reason_are_text() -> None:
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    (block,) = content(replace(CALL, arguments=deep))
    assert block["toolUse"]["input"] == {"arguments": deep}


def test_ids_of_calls_are_such_as_are_allowed_and_still_belong_together() -> None:
    long, odd = "x" * 65, "call/1"
    ids = (long, odd, "call_0", "", "call_1")
    calls = tuple(replace(CALL, id=each) for each in ids)
    results = tuple(ToolResult(each, (Text("12:00"),)) for each in ids)
    said = turns((Role.USER, (Text("a"),)), (Role.ASSISTANT, calls), (Role.USER, results))
    called = [block["toolUse"]["toolUseId"] for block in said[1][1]]
    assert called == [block["toolResult"]["toolUseId"] for block in said[2][1]]
    assert called == ["call_0", "call_1", "call_2", "call_3", "call_4"]


def test_a_tool_is_specified() -> None:
    assert asked(tools=(CLOCK,))["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "clock",
                    "description": "Tells the time.",
                    "inputSchema": {"json": {"type": "object", "properties": {"zone": {}}}},
                }
            }
        ]
    }


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (None, {"type": "object", "properties": {}}),
        ("", {"type": "object", "properties": {}}),
        ("{}", {"type": "object"}),
        (' {"properties":{}}', {"type": "object", "properties": {}}),
        ('{"type":"string"}', {"type": "string"}),  # for Bedrock to refuse, as all below
        ("[]", []),
        ("{", "{"),
    ],
)
def test_a_schema_says_that_it_is_an_object(parameters: str | None, schema: object) -> None:
    (tool,) = asked(tools=(Tool("clock", " ", parameters),))["toolConfig"]["tools"]
    assert tool == {"toolSpec": {"name": "clock", "inputSchema": {"json": schema}}}


@pytest.mark.parametrize("model", [LLAMA, CLAUDE_4, CLAUDE_4_5, CLAUDE_4_7])
def test_no_schema_is_enforced(model: str) -> None:
    (tool,) = asked(model, tools=(replace(CLOCK, strict=True),))["toolConfig"]["tools"]
    assert "strict" not in tool["toolSpec"]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, None),
        (ToolChoice("auto"), None),
        (ToolChoice("any"), {"any": {}}),
        (ToolChoice("named", "clock"), {"tool": {"name": "clock"}}),
    ],
)
def test_the_choice_of_a_tool_is_told(
    choice: ToolChoice | None, told: dict[str, Any] | None
) -> None:
    config = asked(tools=(CLOCK,), tool_choice=choice)["toolConfig"]
    assert config.get("toolChoice") == told


def test_tools_that_may_not_be_called_are_left_out_unless_the_history_needs_them() -> None:
    none = ToolChoice("none")
    assert "toolConfig" not in asked(tools=(CLOCK,), tool_choice=none)
    config = asked(tools=(CLOCK,), tool_choice=none, messages=CALLED)["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["clock"]
    assert "toolChoice" not in config


def test_a_history_with_calls_has_tools_even_where_the_client_gives_none() -> None:
    assert asked(messages=CALLED)["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "clock",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                }
            }
        ]
    }


SCHEMA = '{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}'
MAP = '{"type":"object","additionalProperties":{"type":"string"}}'


@pytest.mark.parametrize("model", [LLAMA, CLAUDE_4_5, CLAUDE_4_6, CLAUDE_4_7])
def test_an_answer_is_held_to_its_schema_as_far_as_that_can_be(model: str) -> None:
    wanted = OutputFormat(SCHEMA, "verdict", "What you think.", strict=True)
    form = asked(model, output_format=wanted)["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    described = form["structure"]["jsonSchema"]
    assert json.loads(described.pop("schema")) == {
        "type": "object",
        "properties": {"n": {"type": "integer", "description": "{minimum: 1}"}},
        "additionalProperties": False,
    }
    assert described == {"name": "verdict", "description": "What you think."}


@pytest.mark.parametrize(
    ("model", "wanted", "named"),
    [
        (LLAMA, OutputFormat(), "one JSON object"),
        (CLAUDE_4_5, OutputFormat(MAP), MAP),
        (CLAUDE_3, OutputFormat(SCHEMA), SCHEMA),
        (CLAUDE_4_1, OutputFormat(SCHEMA), SCHEMA),
        (NOVA, OutputFormat(SCHEMA), SCHEMA),
    ],
)
def test_an_answer_that_cannot_be_held_to_a_schema_is_asked_for_in_words(
    model: str, wanted: OutputFormat, named: str
) -> None:
    request = asked(model, output_format=wanted, system=(Text("Be brief."),))
    assert "outputConfig" not in request
    said, instruction = request["system"]
    assert said == {"text": "Be brief."}
    assert named in instruction["text"]


@pytest.mark.parametrize(
    ("model", "ended"),
    [
        (LLAMA, [("assistant", [{"text": "Sure,"}])]),
        (CLAUDE_3, [("assistant", [{"text": "Sure,"}])]),
        (CLAUDE_4_5, [("assistant", [{"text": "Sure,"}])]),
        *(
            (model, [("assistant", [{"text": "Sure, "}]), ("user", [{"text": "Continue."}])])
            for model in (CLAUDE_4_6, CLAUDE_4_7)
        ),
    ],
)
def test_a_prefill_is_given_in_the_form_that_the_model_takes(model: str, ended: object) -> None:
    said = turns((Role.USER, (Text("Hi"),)), (Role.ASSISTANT, (Text("Sure, "),)), model=model)
    assert said[1:] == ended


def test_a_prefill_loses_its_space_before_a_cache_mark_too() -> None:
    prefill = (Text("a "), Text("Sure, ", CacheMark()))
    said = turns((Role.USER, (Text("Hi"),)), (Role.ASSISTANT, prefill), model=CLAUDE_4_5)
    assert said[1][1] == [{"text": "a "}, {"text": "Sure,"}, {"cachePoint": {"type": "default"}}]


def test_a_prefill_leaves_no_room_for_a_budget() -> None:
    prefilled = (*HELLO, Message(Role.ASSISTANT, (Text("Sure,"),)))
    request = asked(CLAUDE_4_5, messages=prefilled, reasoning=Reasoning("low"))
    assert "additionalModelRequestFields" not in request


@pytest.mark.parametrize(
    ("model", "fields", "told"),
    [
        (LLAMA, {"output_tokens_max": 100}, {"maxTokens": 100}),
        (LLAMA, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "topP": 0.9}),
        (LLAMA, {"temperature": 0.0}, {"temperature": 0.0}),
        (LLAMA, {"temperature": 1.7}, {"temperature": 1.0}),
        (LLAMA, {"stop": ("a", "", "b")}, {"stopSequences": ["a", "b"]}),
        (LLAMA, {"seed": 1, "presence_penalty": 1, "frequency_penalty": 1}, None),
        (LLAMA, {"user": "u", "parallel_calls": False}, None),
        (CLAUDE_4, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "topP": 0.9}),
        (CLAUDE_4_1, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}),
        (CLAUDE_4_1, {"top_p": 0.9}, {"topP": 0.9}),
        (CLAUDE_4_7, {"temperature": 0.5, "top_p": 0.9}, None),
    ],
)
def test_sampling_is_what_the_model_lets_be_set(
    model: str, fields: dict[str, Any], told: dict[str, Any] | None
) -> None:
    assert asked(model, **fields).get("inferenceConfig") == told


def test_no_more_is_asked_for_than_the_model_can_answer() -> None:
    assert asked(most=50, output_tokens_max=100)["inferenceConfig"] == {"maxTokens": 50}
    assert "inferenceConfig" not in asked(most=50)


def test_the_stop_sequence_that_is_met_is_asked_for() -> None:
    assert asked(stop=("a",))["additionalModelResponseFieldPaths"] == ["/stop_sequence"]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (LLAMA, None),
        (NOVA, None),
        (CLAUDE_3, {"top_k": 5}),
        (CLAUDE_4_6, {"top_k": 5}),
        (CLAUDE_4_7, None),
    ],
)
def test_top_k_is_one_of_claudes_own_fields(model: str, told: dict[str, Any] | None) -> None:
    assert asked(model, top_k=5).get("additionalModelRequestFields") == told


def enabled(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


ADAPTIVE = {"thinking": {"type": "adaptive"}}


@pytest.mark.parametrize(
    ("model", "reasoning", "limit", "told", "effort"),
    [
        (LLAMA, Reasoning("high"), None, None, None),
        (PROFILE, Reasoning("high"), None, None, None),
        (CLAUDE_3, Reasoning("high"), None, None, None),
        (CLAUDE_4, Reasoning("none"), None, None, None),
        (CLAUDE_4, Reasoning(shown=True), None, None, None),
        (CLAUDE_4, Reasoning("minimal"), None, enabled(1024), None),
        (CLAUDE_4, Reasoning("low"), None, enabled(2048), None),
        (CLAUDE_4, Reasoning("medium"), None, enabled(8192), None),
        (CLAUDE_4, Reasoning("high", shown=True), None, enabled(16_384), None),
        (CLAUDE_4, Reasoning("xhigh"), None, enabled(32_768), None),
        (CLAUDE_4, Reasoning("high"), 8000, enabled(4000), None),
        (CLAUDE_4, Reasoning("high"), 2000, None, None),
        (CLAUDE_4, Reasoning(budget_tokens=3000), 4000, enabled(3000), None),
        (CLAUDE_4, Reasoning(budget_tokens=4000), 4000, enabled(3999), None),
        (CLAUDE_4, Reasoning(budget_tokens=10), None, enabled(1024), None),
        (CLAUDE_4, Reasoning(budget_tokens=3000), 1024, None, None),
        (CLAUDE_4_6, Reasoning("minimal"), None, ADAPTIVE, "low"),
        (CLAUDE_4_6, Reasoning("medium"), 10, ADAPTIVE, "medium"),
        (CLAUDE_4_6, Reasoning("xhigh", shown=True), None, ADAPTIVE, "high"),
        (CLAUDE_4_6, Reasoning(budget_tokens=1024), None, ADAPTIVE, "low"),
        (CLAUDE_4_6, Reasoning(budget_tokens=8192), None, ADAPTIVE, "medium"),
        (CLAUDE_4_7, Reasoning(budget_tokens=60_000), None, ADAPTIVE, "xhigh"),
        (CLAUDE_4_7, Reasoning("xhigh"), None, ADAPTIVE, "xhigh"),
        (
            CLAUDE_4_7,
            Reasoning("high", shown=True),
            None,
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            "high",
        ),
        (
            CLAUDE_4_7,
            Reasoning("high", shown=False),
            None,
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            "high",
        ),
    ],
)
def test_thinking_is_asked_for_in_each_models_way(
    model: str,
    reasoning: Reasoning,
    limit: int | None,
    told: dict[str, Any] | None,
    effort: str | None,
) -> None:
    request = asked(model, reasoning=reasoning, output_tokens_max=limit)
    assert request.get("additionalModelRequestFields") == told
    assert request.get("outputConfig", {}).get("effort") == effort


def test_thinking_leaves_room_within_what_the_model_can_answer() -> None:
    request = asked(CLAUDE_4, most=4096, reasoning=Reasoning("high"))
    assert request["additionalModelRequestFields"] == enabled(2048)


def test_thinking_excludes_sampling() -> None:
    fields: dict[str, Any] = {"reasoning": Reasoning("low"), "temperature": 0.5, "top_k": 5}
    request = asked(CLAUDE_4, top_p=0.9, **fields)
    assert "inferenceConfig" not in request
    assert request["additionalModelRequestFields"] == enabled(2048)
    assert asked(CLAUDE_4, top_p=0.97, **fields)["inferenceConfig"] == {"topP": 0.97}


@pytest.mark.parametrize("model", [CLAUDE_4, CLAUDE_4_6])
@pytest.mark.parametrize("choice", [ToolChoice("any"), ToolChoice("named", "clock")])
def test_a_call_that_must_be_made_excludes_thinking(model: str, choice: ToolChoice) -> None:
    request = asked(model, tools=(CLOCK,), tool_choice=choice, reasoning=Reasoning("low"))
    assert "additionalModelRequestFields" not in request
    assert "outputConfig" not in request


def test_a_turn_that_began_without_thinking_goes_on_without() -> None:
    fields: dict[str, Any] = {"tools": (CLOCK,), "reasoning": Reasoning("low")}
    assert "additionalModelRequestFields" not in asked(CLAUDE_4, messages=CALLED, **fields)
    assert "additionalModelRequestFields" in asked(CLAUDE_4_6, messages=CALLED, **fields)
    thought = Message(Role.ASSISTANT, (Thinking("Hm", signature="c2ln"), CALL))
    with_thought = (CALLED[0], thought, CALLED[2])
    assert "additionalModelRequestFields" in asked(CLAUDE_4, messages=with_thought, **fields)
    later = (*CALLED, Message(Role.ASSISTANT, (Text("Noon."),)), *HELLO)
    assert "additionalModelRequestFields" in asked(CLAUDE_4, messages=later, **fields)


def test_what_converse_cannot_say_makes_its_targets_ineligible() -> None:
    lacking = lacks(target(LLAMA))
    assert set(Demand) - lacking == {Demand.AUDIO_INPUT, Demand.IMAGES_IN_RESULTS}
    assert lacking >= BOUND


@pytest.mark.parametrize("kind", [Image, Document])
def test_content_by_url_is_never_passed_off_as_something_else(
    kind: type[Image] | type[Document],
) -> None:
    with pytest.raises(UnreadableError, match="by URL"):
        content(kind(Linked("https://example.com/x")))


def test_text_that_is_not_unicode_is_refused() -> None:
    for part in (Text("\ud800"), replace(CALL, arguments='{"a":"\ud800"}')):
        with pytest.raises(UnreadableError, match="not Unicode"):
            content(part)


texts = st.builds(
    Text, st.text(max_size=5), st.none() | st.builds(CacheMark, st.sampled_from([None, "5m", "1h"]))
)
images = st.just(PICTURE)
documents = st.builds(
    Document, st.just(PAPER.source), st.none() | st.text(max_size=8), st.just(None)
)
ids = st.sampled_from(["call_0", "call_1", "a/b", "", "x" * 70])
calls = st.builds(
    ToolCall, ids, st.sampled_from(["clock", "date"]), st.text(max_size=5) | st.just('{"a":1}')
)
results = st.builds(
    ToolResult, ids, st.lists(texts | images | documents, max_size=3).map(tuple), st.booleans()
)
thoughts = st.builds(
    Thinking, st.text(max_size=3), st.sampled_from([None, "s"]), st.sampled_from([None, "AAAA"])
)
users = st.builds(
    Message,
    st.sampled_from([Role.USER, Role.SYSTEM]),
    st.lists(texts | images | documents | results, max_size=4).map(tuple),
)
assistants = st.builds(
    Message,
    st.just(Role.ASSISTANT),
    st.lists(texts | calls | thoughts, max_size=4).map(tuple),
)
tools = st.builds(
    Tool,
    st.sampled_from(["clock", "date"]),
    st.none() | st.text(max_size=3),
    st.sampled_from([None, "{}", '{"type":"object"}', CLOCK.parameters]),
    st.sampled_from([None, True, False]),
    st.none() | st.just(CacheMark()),
)
conversations = st.builds(
    Conversation,
    system=st.lists(texts, max_size=2).map(tuple),
    messages=st.lists(users | assistants, max_size=6).map(tuple),
    stream=st.booleans(),
    tools=st.lists(tools, max_size=2).map(tuple),
    tool_choice=st.none()
    | st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("named", "clock")]),
    output_format=st.none() | st.sampled_from([OutputFormat(), OutputFormat("{}")]),
    output_tokens_max=st.none() | st.integers(1, 5000),
    reasoning=st.none()
    | st.builds(
        Reasoning,
        st.sampled_from([None, "none", "low", "high"]),
        st.none() | st.integers(1, 9000),
        st.sampled_from([None, True, False]),
    ),
    stop=st.lists(st.text(max_size=2), max_size=2).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(0, 9),
)


@settings(
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    conversations,
    st.sampled_from([LLAMA, NOVA, CLAUDE_3, CLAUDE_4, CLAUDE_4_5, CLAUDE_4_6, CLAUDE_4_7, PROFILE]),
    st.sampled_from([None, 4096]),
)
def test_no_conversation_becomes_what_converse_refuses(
    conversation: Conversation, model: str, most: int | None
) -> None:
    request = written(conversation, model, most)
    check(request)
    thinking = request.get("additionalModelRequestFields", {}).get("thinking")
    if thinking and thinking["type"] == "enabled":
        limit = request.get("inferenceConfig", {}).get("maxTokens", most)
        assert 1024 <= thinking["budget_tokens"] < (limit or 2**53)
