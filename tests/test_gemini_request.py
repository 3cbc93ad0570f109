"""How a conversation is written for Gemini, and what is said where the API has no counterpart."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from configs import target
from hypothesis import given, settings
from hypothesis import strategies as st

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
)
from extproc.dialects.gemini import LACKS, write_request
from extproc.dialects.gemini.contents import UNSIGNED
from extproc.vocabulary import UpstreamModel

OLD, NEW = "gemini-2.5-flash", "gemini-3.1-pro-preview"
PICTURE = Image(Inline("image/png", "AAAA"))
CALL = ToolCall("c1", "clock", '{"zone": "UTC"}')
CLOCK = Tool("clock")


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def assistant(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


HELLO = user(Text("Hello"))


def asking(*messages: Message, **fields: object) -> Conversation:
    given: dict[str, Any] = fields
    return Conversation((), messages or (HELLO,), **given)


def body_of(conversation: Conversation, model: str = OLD) -> dict[str, Any]:
    wording = write_request(conversation, target(model))
    assert wording.prefix == "{"
    body = json.loads(wording.prefix.encode() + wording.rest)
    assert isinstance(body, dict)
    return body


def contents_of(*messages: Message, model: str = OLD) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = body_of(asking(*messages), model)["contents"]
    return written


def parts_of(*parts: Part) -> object:
    [turn] = contents_of(user(*parts))
    assert turn["role"] == "user"
    return turn["parts"]


def config_of(model: str = OLD, **fields: object) -> dict[str, object]:
    config: dict[str, object] = body_of(asking(**fields), model).get("generationConfig", {})
    return config


@pytest.mark.parametrize(
    ("model", "stream", "endpoint"),
    [
        ("gemini-2.5-pro", False, "/models/gemini-2.5-pro:generateContent"),
        ("gemini-2.5-pro", True, "/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        ("models/gemini-2.5-pro", False, "/models/gemini-2.5-pro:generateContent"),
        ("tunedModels/mine", False, "/tunedModels/mine:generateContent"),
        ("a b/c:d?e#f%", False, "/models/a%20b%2Fc%3Ad%3Fe%23f%25:generateContent"),
        ("żółw", False, "/models/%C5%BC%C3%B3%C5%82w:generateContent"),
    ],
)
def test_the_model_stands_in_the_path(model: str, *, stream: bool, endpoint: str) -> None:
    assert write_request(asking(stream=stream), target(model)).endpoint == endpoint


def test_a_simple_request_says_no_more_than_the_turns() -> None:
    assert body_of(asking()) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_models_of_one_generation_get_the_same_bytes() -> None:
    asked = asking(HELLO, assistant(CALL), user(ToolResult("c1", ())), seed=1)
    assert (
        write_request(asked, target("gemini-3.1-pro-preview")).rest
        == write_request(asked, target("gemini-3-flash-preview")).rest
    )


def test_the_system_prompt_is_the_system_instruction_without_empty_parts() -> None:
    system = (Text("Be brief."), Text(""), Text("Be kind.", CacheMark("1h")))
    body = body_of(Conversation(system, (HELLO,)))
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert "systemInstruction" not in body_of(Conversation((Text(""),), (HELLO,)))


def test_turns_alternate_and_a_later_system_message_is_the_users() -> None:
    assert contents_of(
        user(Text("a")),
        user(Text("b")),
        Message(Role.SYSTEM, (Text("c"),)),
        assistant(Text("d")),
        assistant(Thinking("hidden", "sig"), Text("e")),
        user(Text("f")),
    ) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
        {"role": "model", "parts": [{"text": "d"}, {"text": "e"}]},
        {"role": "user", "parts": [{"text": "f"}]},
    ]


@pytest.mark.parametrize(
    "messages",
    [(), (user(),), (user(Text("")),), (assistant(Thinking("hm"), Text("")),)],
)
def test_a_conversation_that_says_nothing_is_the_least_that_the_api_takes(
    messages: tuple[Message, ...],
) -> None:
    body = body_of(Conversation((), messages))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "."}]}]


def test_a_turn_that_says_nothing_is_left_out_and_its_neighbours_become_one() -> None:
    assert contents_of(user(Text("a")), assistant(Thinking("hm")), user(Text("b"))) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}
    ]


def test_the_user_always_begins() -> None:
    first, second = contents_of(assistant(Text("Welcome")))
    assert (first["role"], first["parts"]) == ("user", [{"text": "."}])
    assert (second["role"], second["parts"]) == ("model", [{"text": "Welcome"}])


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (Text("Hi", CacheMark()), {"text": "Hi"}),
        (Text(" "), {"text": " "}),
        (PICTURE, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
        (
            Image(Inline("image/jpg", "AAAA"), detail="high"),
            {"inlineData": {"mimeType": "image/jpeg", "data": "AAAA"}},
        ),
        (
            Document(Inline("application/pdf", "AAAA"), "a.pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        ),
        (Document(Inline("text/plain", encoded("żółw"))), {"text": "żółw"}),
        (Document(Inline("text/plain", "")), {"text": "."}),
        (
            Document(Inline("text/plain", "/w==")),
            {"inlineData": {"mimeType": "text/plain", "data": "/w=="}},
        ),
        (
            Document(Inline("text/plain", "no base64")),
            {"inlineData": {"mimeType": "text/plain", "data": "no base64"}},
        ),
        (Audio("wav", "AAAA"), {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}),
        (Audio("mpeg", "AAAA"), {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}),
        (
            Image(Linked("https://a.test/b.PNG?c.pdf#d.gif")),
            {
                "fileData": {
                    "mimeType": "image/png",
                    "fileUri": "https://a.test/b.PNG?c.pdf#d.gif",
                }
            },
        ),
        (
            Document(Linked("https://a.test/b.pdf")),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.test/b.pdf"}},
        ),
        (Image(Linked("https://a.png/b")), {"fileData": {"fileUri": "https://a.png/b"}}),
        (Image(Linked("http://[")), {"fileData": {"fileUri": "http://["}}),
        (Image(Linked("")), {"fileData": {"fileUri": ""}}),
    ],
)
def test_each_part_has_its_field(part: Part, written: object) -> None:
    assert parts_of(part) == [written]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ('{"zone": "UTC"}', {"zone": "UTC"}),
        ("{}", {}),
        ("", {}),
        (" ", {}),
        ('["no object"]', {"arguments": '["no object"]'}),
        ('{"broken', {"arguments": '{"broken'}),
        ('{"a":' + "[" * 5000, {"arguments": '{"a":' + "[" * 5000}),
    ],
)
def test_arguments_are_an_object_as_it_was_or_one_around_what_is_none(
    arguments: str, args: object
) -> None:
    turns = contents_of(HELLO, assistant(ToolCall("c1", "clock", arguments)))
    assert turns[1] == {
        "role": "model",
        "parts": [{"functionCall": {"id": "c1", "name": "clock", "args": args}}],
    }


def test_arguments_and_schemas_keep_their_bytes() -> None:
    asked = asking(
        HELLO,
        assistant(ToolCall("c1", "f", '{ "n": 1.50e2 }')),
        tools=(Tool("f", parameters='{"type": "object", "$defs": {}}'),),
        output_format=OutputFormat('{"const": 1.0 }'),
    )
    rest = write_request(asked, target(NEW)).rest
    for written in (b'{ "n": 1.50e2 }', b'{"type": "object", "$defs": {}}', b'{"const": 1.0 }'):
        assert written in rest


def result_of(result: ToolResult, model: str = OLD) -> list[object]:
    turns = contents_of(HELLO, assistant(CALL), user(result), model=model)
    return [*turns[2]["parts"]]


@pytest.mark.parametrize(
    ("result", "response"),
    [
        (ToolResult("c1", (Text("noon"),)), {"result": "noon"}),
        (ToolResult("c1", (Text('{"h": '), Text("12}"))), {"h": 12}),
        (ToolResult("c1", (Text("[12]"),)), {"result": "[12]"}),
        (ToolResult("c1", ()), {"result": ""}),
        (ToolResult("c1", (Text("boom"),), failed=True), {"error": "boom"}),
        (ToolResult("c1", (Text('{"h": 12}'),), failed=True), {"error": '{"h": 12}'}),
        # A Struct's numbers are doubles: this one would be rounded.
        (
            ToolResult("c1", (Text('{"id": 9007199254740993}'),)),
            {"result": '{"id": 9007199254740993}'},
        ),
        (
            ToolResult("c1", (Document(Inline("text/markdown", encoded("# Noon"))),)),
            {"result": "# Noon"},
        ),
    ],
)
def test_a_result_is_an_object_named_after_its_call(result: ToolResult, response: object) -> None:
    [part] = result_of(result)
    assert part == {"functionResponse": {"id": "c1", "name": "clock", "response": response}}


def test_media_in_results_stand_in_the_response_since_gemini_3_and_beside_it_before() -> None:
    linked = Image(Linked("https://a.test/b.png"))
    result = ToolResult("c1", (Text("see"), PICTURE, linked))
    inline = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    file = {"fileData": {"mimeType": "image/png", "fileUri": "https://a.test/b.png"}}
    response = {"id": "c1", "name": "clock", "response": {"result": "see"}}
    assert result_of(result, OLD) == [{"functionResponse": response}, inline, file]
    assert result_of(result, NEW) == [{"functionResponse": response | {"parts": [inline]}}, file]


def test_responses_come_first_in_the_order_of_their_calls() -> None:
    other = ToolCall("c2", "date", "{}")
    turns = contents_of(
        HELLO,
        assistant(Text("Wait."), CALL, other),
        user(Text("Quick!"), ToolResult("c2", (Text("May"), PICTURE))),
        user(ToolResult("c1", (Text("noon"),))),
    )
    assert [next(iter(part)) for part in turns[1]["parts"]] == [
        *("text", "functionCall", "functionCall")
    ]
    assert [next(iter(part)) for part in turns[2]["parts"]] == [
        *("functionResponse", "functionResponse", "inlineData", "text")
    ]
    names = [part["functionResponse"]["name"] for part in turns[2]["parts"][:2]]
    assert names == ["clock", "date"]


def test_a_result_without_its_call_just_before_becomes_text() -> None:
    late = ToolResult("c1", (Text("noon"), Text("")))
    assert contents_of(user(late))[0]["parts"] == [{"text": "noon"}]
    turns = contents_of(
        HELLO, assistant(CALL), user(late, replace(late)), assistant(Text("ok")), user(late)
    )
    assert [next(iter(part)) for part in turns[2]["parts"]] == ["functionResponse", "text"]
    assert turns[4]["parts"] == [{"text": "noon"}]
    assert contents_of(user(ToolResult("none", ())))[0]["parts"] == [{"text": "."}]


@pytest.mark.parametrize("after", [(), (user(Text("Never mind.")),), (user(), HELLO)])
def test_a_call_without_a_result_gets_a_response_that_says_so(after: tuple[Message, ...]) -> None:
    turns = contents_of(HELLO, assistant(CALL), *after)
    response = turns[2]["parts"][0]["functionResponse"]
    assert (response["id"], response["name"], list(response["response"])) == (
        *("c1", "clock"),
        ["error"],
    )


def test_of_two_calls_with_one_id_only_the_first_is_written() -> None:
    turns = contents_of(HELLO, assistant(CALL, replace(CALL, name="date")))
    assert [part["functionCall"]["name"] for part in turns[1]["parts"]] == ["clock"]


def test_a_call_without_an_id_is_answered_without_one() -> None:
    turns = contents_of(HELLO, assistant(replace(CALL, id="")), user(ToolResult("", ())))
    assert "id" not in turns[1]["parts"][0]["functionCall"]
    assert "id" not in turns[2]["parts"][0]["functionResponse"]


@pytest.mark.parametrize(
    ("model", "signatures", "written"),
    [
        (OLD, ("sig", None), ["sig", None]),
        (OLD, (None, None), [None, None]),
        (NEW, ("sig", None), ["sig", None]),
        (NEW, (None, None), [UNSIGNED, None]),
        (NEW, (None, "sig"), [UNSIGNED, "sig"]),
        ("gemini-3-flash-preview", (None, None), [UNSIGNED, None]),
        ("gemini-10-ultra", (None, None), [UNSIGNED, None]),
        ("gemini-flash-latest", (None, None), [UNSIGNED, None]),
        ("models/gemini-3.8-flash", (None, None), [UNSIGNED, None]),
        ("gemini-2.0-flash", (None, None), [None, None]),
        ("gemma-4-31b-it", (None, None), [None, None]),
    ],
)
def test_since_gemini_3_the_first_of_the_calls_is_signed_if_need_be_with_the_stand_in(
    model: str, signatures: tuple[str | None, ...], written: list[str | None]
) -> None:
    calls = [replace(CALL, id=f"c{n}", signature=s) for n, s in enumerate(signatures)]
    parts = contents_of(HELLO, assistant(Text("Wait."), *calls), model=model)[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts[1:]] == written


def test_tools_are_declared_with_their_whole_schema() -> None:
    schema = '{"type":"object","additionalProperties":false,"$ref":"#/x"}'
    tools = (Tool("clock", "Tells the time.", schema, strict=True, cache=CacheMark()), Tool("date"))
    assert body_of(asking(tools=tools))["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "clock",
                    "description": "Tells the time.",
                    "parametersJsonSchema": json.loads(schema),
                },
                {"name": "date"},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("any"), {"mode": "ANY"}),
        (ToolChoice("named", "clock"), {"mode": "ANY", "allowedFunctionNames": ["clock"]}),
    ],
)
def test_the_choice_of_tools_is_a_mode(choice: ToolChoice, calling: object) -> None:
    body = body_of(asking(tools=(CLOCK,), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": calling}
    assert "toolConfig" not in body_of(asking(tool_choice=choice))


@pytest.mark.parametrize(
    ("fields", "config"),
    [
        (
            {"temperature": 0.0, "top_p": 0.5, "top_k": 3},
            {"temperature": 0, "topP": 0.5, "topK": 3},
        ),
        ({"output_tokens_max": 9}, {"maxOutputTokens": 9}),
        ({"output_tokens_max": 2**53}, {"maxOutputTokens": 2**31 - 1}),
        ({"presence_penalty": 0.5}, {"presencePenalty": 0.5}),
        ({"frequency_penalty": -0.5}, {"frequencyPenalty": -0.5}),
        ({"presence_penalty": 0.0, "frequency_penalty": 0.0}, {}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": -5}, {"seed": -5}),
        ({"seed": 2**31 - 1}, {"seed": 2**31 - 1}),
        ({"seed": 2**31}, {"seed": 1}),
        ({"seed": -(2**31)}, {"seed": 2**31 - 2}),
        ({"stop": ("a", "", "b")}, {"stopSequences": ["a", "b"]}),
        ({"stop": tuple("abcdef")}, {"stopSequences": [*"abcde"]}),
        ({"stop": ("",)}, {}),
        ({"output_format": OutputFormat()}, {"responseMimeType": "application/json"}),
        (
            {"output_format": OutputFormat('{"type":"object"}', "n", "d", strict=True)},
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        ),
        ({"parallel_calls": False, "user": "u"}, {}),
    ],
)
def test_settings_have_their_fields_or_are_dropped_by_rule(
    fields: dict[str, Any], config: object
) -> None:
    assert config_of(**fields) == config


@pytest.mark.parametrize("wanted", [OutputFormat(), OutputFormat('{"type":"object"}')])
def test_json_beside_tools_is_asked_for_in_words_of_models_that_refuse_it(
    wanted: OutputFormat,
) -> None:
    asked = replace(asking(tools=(CLOCK,), output_format=wanted), system=(Text("Be brief."),))
    old, new = body_of(asked, OLD), body_of(asked, NEW)
    assert "generationConfig" not in old
    said, instruction = old["systemInstruction"]["parts"]
    assert said == {"text": "Be brief."}
    assert (wanted.schema or "one JSON object") in instruction["text"]
    assert new["generationConfig"]["responseMimeType"] == "application/json"
    assert new["systemInstruction"] == {"parts": [said]}


def test_no_more_tokens_are_asked_for_than_the_model_has() -> None:
    small = target(OLD)
    small = replace(small, model=replace(small.model, output_tokens_max=100))
    for asked, written in ((50, 50), (500, 100)):
        rest = write_request(asking(output_tokens_max=asked), small).rest
        assert json.loads(b"{" + rest)["generationConfig"] == {"maxOutputTokens": written}
    assert b"generationConfig" not in write_request(asking(), small).rest


@pytest.mark.parametrize(
    ("model", "sampled"),
    [
        ("gemini-2.5-pro", True),
        ("gemini-3-pro-preview", True),
        ("gemini-3.5-flash", True),
        ("gemini-3.5-flash-lite", False),
        ("gemini-3.6-flash", False),
        ("gemini-4-pro", False),
        ("gemini-pro-latest", False),
        ("gemma-3-27b-it", True),
    ],
)
def test_models_that_ignore_how_to_sample_are_not_told(model: str, *, sampled: bool) -> None:
    config = config_of(model, temperature=1.0, top_p=0.5, top_k=1, seed=1)
    assert set(config) == {"seed"} | ({"temperature", "topP", "topK"} if sampled else set())


def thinking_of(model: str, reasoning: Reasoning) -> object:
    return config_of(model, reasoning=reasoning).get("thinkingConfig")


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32_768, "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-flash-lite", "xhigh", {"thinkingBudget": 24_576, "includeThoughts": True}),
        ("gemini-2.5-flash-image", "high", None),
        ("gemini-2.0-flash", "high", None),
        ("gemma-4-31b-it", "high", None),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3-pro-image-preview", "high", None),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3.5-flash-lite", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3.8-flash", "none", {"thinkingLevel": "low"}),
        ("gemini-3.8-flash", "xhigh", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.8-flash", "unheard-of", None),
        ("gemini-3.8-flash", None, None),
    ],
)
def test_an_effort_is_a_budget_or_a_level_that_the_model_takes(
    model: str, effort: str | None, config: object
) -> None:
    assert thinking_of(model, Reasoning(effort)) == config


@pytest.mark.parametrize(
    ("model", "budget", "config"),
    [
        ("gemini-2.5-flash", 0, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", -7, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", 0, {"thinkingBudget": 128}),
        ("gemini-2.5-pro", 5000, {"thinkingBudget": 5000, "includeThoughts": True}),
        ("gemini-2.5-flash", 10**30, {"thinkingBudget": 24_576, "includeThoughts": True}),
        ("gemini-2.5-flash-lite", 1, {"thinkingBudget": 512, "includeThoughts": True}),
        ("gemini-3.8-flash", 0, {"thinkingLevel": "low"}),
        ("gemini-3.8-flash", 1024, {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3.8-flash", 1025, {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3.8-flash", 8193, {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3.8-flash", 10**30, {"thinkingLevel": "high", "includeThoughts": True}),
    ],
)
def test_a_budget_is_kept_within_the_models_bounds_or_becomes_a_level(
    model: str, budget: int, config: object
) -> None:
    assert thinking_of(model, Reasoning("medium", budget)) == config


@pytest.mark.parametrize(
    ("reasoning", "config"),
    [
        (Reasoning("high", shown=False), {"thinkingLevel": "high"}),
        (Reasoning("high", shown=True), {"thinkingLevel": "high", "includeThoughts": True}),
        (Reasoning("none", shown=True), {"thinkingLevel": "low"}),
        (Reasoning(shown=True), {"includeThoughts": True}),
        (Reasoning(shown=False), None),
    ],
)
def test_thoughts_are_shown_where_some_are_asked_for_and_not_hidden(
    reasoning: Reasoning, config: object
) -> None:
    assert thinking_of("gemini-3.8-flash", reasoning) == config


def test_what_is_written_here_is_not_among_what_the_api_lacks() -> None:
    assert {*Demand} - LACKS == {
        Demand.AUDIO_INPUT,
        Demand.LINKED_IMAGES,
        Demand.LINKED_DOCUMENTS,
        Demand.IMAGES_IN_RESULTS,
    }
    assert BOUND <= LACKS


# Whatever a conversation is, its request obeys the rules that the API states.

PART_FIELDS = {"text", "inlineData", "fileData", "functionCall", "functionResponse"}


def check(body: dict[str, Any], *, signed: bool) -> None:
    turns = body["contents"]
    assert turns
    assert turns[0]["role"] == "user"
    assert [turn["role"] for turn in turns] == [("user", "model")[n % 2] for n in range(len(turns))]
    called: list[tuple[str | None, str]] = []
    for turn in turns:
        assert turn["parts"]
        answered = []
        for part in turn["parts"]:
            assert len(PART_FIELDS & set(part)) == 1
            assert part.get("text") != ""
            if "functionResponse" in part:
                response = part["functionResponse"]
                assert isinstance(response["response"], dict)
                answered.append((response.get("id"), response["name"]))
        assert answered == called
        calls = [part for part in turn["parts"] if "functionCall" in part]
        assert not calls or turn["role"] == "model"
        assert all(isinstance(part["functionCall"]["args"], dict) for part in calls)
        assert not (calls and signed) or calls[0]["thoughtSignature"]
        called = [(p["functionCall"].get("id"), p["functionCall"]["name"]) for p in calls]
    assert not called
    for part in body.get("systemInstruction", {"parts": [{"text": "."}]})["parts"]:
        assert part["text"]
    config = body.get("generationConfig", {})
    assert 1 <= len(config.get("stopSequences", "?")) <= 5
    assert abs(config.get("seed", 0)) < 2**31
    assert not {"thinkingBudget", "thinkingLevel"} <= set(config.get("thinkingConfig", ()))
    assert "responseJsonSchema" not in config or "responseMimeType" in config


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    "part",
    [
        Image(Inline("image/gif", "AAAA")),
        Image(Inline("image/svg+xml", "AAAA")),
        Document(Inline(DOCX, "AAAA")),
    ],
)
def test_media_that_gemini_does_not_take_are_not_sent(part: Part) -> None:
    with pytest.raises(NotTakenError, match=r"of type .*, which the API `gemini` does not take"):
        parts_of(part)


@pytest.mark.parametrize(
    ("part", "media_type"),
    [
        (Image(Inline("image/jpg", "AAAA")), "image/jpeg"),
        (Image(Inline("image/HEIC", "AAAA")), "image/heic"),
        (Document(Inline("application/pdf", "AAAA")), "application/pdf"),
        (Document(Inline("image/png", "AAAA")), "image/png"),
        (Document(Inline("video/mp4", "AAAA")), "video/mp4"),
    ],
)
def test_media_that_gemini_takes_are_named_as_it_does(part: Part, media_type: str) -> None:
    assert parts_of(part) == [{"inlineData": {"mimeType": media_type, "data": "AAAA"}}]


words = st.sampled_from(["", " ", "Hello", "żółw 🐢", '{"a": 1}', "{", "\x00", "1" * 20])
ids = st.sampled_from(["", "c1", "c2", "c3"])
sources = st.one_of(
    st.builds(Inline, st.sampled_from(["image/png", "text/plain", "application/pdf"]), words),
    st.builds(Linked, words),
)
pictures = st.builds(Inline, st.just("image/png"), words) | st.builds(Linked, words)
shown = st.one_of(st.builds(Text, words), st.builds(Image, pictures), st.builds(Document, sources))
parts = st.one_of(
    shown,
    st.builds(Audio, words, words),
    st.builds(Thinking, words, st.none() | words),
    st.builds(ToolCall, ids, st.sampled_from(["f", "g"]), words, st.none() | st.just("c2ln")),
    st.builds(ToolResult, ids, st.lists(shown, max_size=3).map(tuple), st.booleans()),
)
messages = st.builds(Message, st.sampled_from(Role), st.lists(parts, max_size=4).map(tuple))
efforts = st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh"])
whole = st.none() | st.integers()
conversations = st.builds(
    Conversation,
    system=st.lists(st.builds(Text, words), max_size=2).map(tuple),
    messages=st.lists(messages, max_size=7).map(tuple),
    stream=st.booleans(),
    tools=st.sampled_from([(), (CLOCK,)]),
    tool_choice=st.sampled_from([None, ToolChoice("any"), ToolChoice("named", "clock")]),
    output_format=st.sampled_from([None, OutputFormat(), OutputFormat("true")]),
    output_tokens_max=st.none() | st.integers(min_value=1),
    reasoning=st.none() | st.builds(Reasoning, efforts, whole, st.none() | st.booleans()),
    stop=st.lists(words, max_size=9).map(tuple),
    temperature=st.none() | st.floats(),
    seed=whole,
)


@given(conversations, st.sampled_from([OLD, NEW, "gemini-2.5-pro", "gemini-3.8-flash", "x"]))
@settings(deadline=None, max_examples=300, database=None)
def test_whatever_was_said_is_written_by_the_rules_of_the_api(
    conversation: Conversation, model: str
) -> None:
    wording = write_request(conversation, target(UpstreamModel(model)))
    check(json.loads(b"{" + wording.rest), signed=model.startswith("gemini-3"))
