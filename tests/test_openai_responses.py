"""What routing reads of a request to the responses API, and how it refuses one."""

import json
from typing import Any

import pytest
from hostile import CANARY, anything, check_read_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import openai_responses
from extproc.dialects.conversation import Demand
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.text.tokens import Measure, measure, total
from extproc.vocabulary import Refusal

WORDS = {"type": "input_text", "text": "Hello"}
PICTURE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AAAA"}
DOCUMENT = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,A"}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": '{"zone":"UTC"}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}


def body_of(**fields: object) -> bytes:
    return json.dumps({"input": "Hello"} | fields).encode()


def read(**fields: object) -> Payload:
    payload = openai_responses.read(body_of(**fields))
    assert isinstance(payload, Payload), payload
    return payload


def refusal_of(body: bytes) -> Refusal:
    refusal = openai_responses.read(body)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def said(*contents: object) -> dict[str, object]:
    return {"input": [{"role": "user", "content": content} for content in contents]}


def result_of(*parts: object) -> dict[str, object]:
    return {"input": [{"type": "function_call_output", "call_id": "c", "output": [*parts]}]}


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({}, set()),
        (said([WORDS]), set()),
        (said([PICTURE]), {Feature.VISION}),
        (said("Hello", [WORDS, DOCUMENT]), {Feature.DOCUMENTS}),
        (said([SOUND, PICTURE]), {Feature.AUDIO, Feature.VISION}),
        (result_of(PICTURE), {Feature.VISION}),
        (result_of(DOCUMENT), {Feature.DOCUMENTS}),
        ({"input": [{"type": "computer_call_output", "output": {}}]}, {Feature.VISION}),
        ({"instructions": [{"role": "user", "content": [PICTURE]}]}, {Feature.VISION}),
        ({"tools": [CLOCK]}, {Feature.TOOLS}),
        ({"tools": [{"type": "web_search"}]}, {Feature.TOOLS}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"text": {"format": {"type": "json_schema"}}}, {Feature.STRUCTURED_OUTPUT}),
        ({"text": {"format": {"type": "json_object"}}}, {Feature.STRUCTURED_OUTPUT}),
        ({"text": {"format": {"type": "text"}}}, set()),
        ({"text": {"format": None, "verbosity": "low"}}, set()),
        ({"text": None}, set()),
        ({"reasoning": {"effort": "low"}}, {Feature.REASONING}),
        ({"reasoning": {"effort": "none"}}, set()),
        ({"reasoning": {"effort": None, "summary": "auto"}}, set()),
        ({"reasoning": None}, set()),
    ],
)
def test_features_are_what_the_request_cannot_do_without(
    fields: dict[str, object], features: set[Feature]
) -> None:
    assert read(**fields).features == features


HOSTED_CALLS = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    {"type": "mcp_call", "id": "m", "arguments": "{}", "output": "x", "server_label": "s"},
    {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
    {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x"}]},
    {"type": "tool_search_call", "arguments": {"query": "x"}, "call_id": None},
]


@pytest.mark.parametrize(
    ("fields", "demands"),
    [
        ({}, set()),
        (said([WORDS, PICTURE, DOCUMENT, SOUND]), set()),
        ({"store": True}, set()),
        ({"store": False, "include": ["reasoning.encrypted_content"]}, set()),
        ({"tools": [CLOCK]}, set()),
        ({"tools": [CLOCK, {"type": "mcp", "server_label": "s"}]}, {Demand.HOSTED_TOOLS}),
        ({"tools": [{"type": "brand_new"}]}, {Demand.HOSTED_TOOLS}),
        ({"tools": [{"type": "custom", "name": "sql"}]}, {Demand.CUSTOM_TOOLS}),
        ({"tool_choice": {"type": "function", "name": "clock"}}, set()),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, set()),
        ({"tool_choice": {"type": "web_search_preview"}}, {Demand.HOSTED_TOOLS}),
        ({"tool_choice": {"type": "custom", "name": "sql"}}, {Demand.CUSTOM_TOOLS}),
        ({"tool_choice": "required"}, set()),
        *[({"input": [item]}, {Demand.HOSTED_TOOLS}) for item in HOSTED_CALLS],
        ({"input": [{"type": "custom_tool_call", "input": "x"}]}, {Demand.CUSTOM_TOOLS}),
        ({"input": [{"type": "custom_tool_call_output", "output": "x"}]}, {Demand.CUSTOM_TOOLS}),
        ({"previous_response_id": "resp_1"}, {Demand.STORED_STATE}),
        ({"previous_response_id": None, "conversation": None, "prompt": None}, set()),
        ({"conversation": {"id": "conv_1"}}, {Demand.STORED_STATE}),
        ({"prompt": {"id": "pmpt_1"}}, {Demand.STORED_STATE}),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, {Demand.STORED_STATE}),
        ({"input": [{"type": None, "id": "msg_1"}]}, {Demand.STORED_STATE}),
        ({"input": [{"id": "msg_1"}]}, {Demand.STORED_STATE}),
        ({"background": True}, {Demand.BACKGROUND}),
        ({"background": False}, set()),
        (said([{"type": "input_image", "file_id": "file-1"}]), {Demand.STORED_FILES}),
        (said([{"type": "input_file", "file_id": "file-1"}]), {Demand.STORED_FILES}),
        (said([PICTURE | {"file_id": None}]), set()),
        (said([{"type": "input_image", "image_url": "https://x/a.png"}]), {Demand.LINKED_IMAGES}),
        (said([{"type": "input_file", "file_url": "https://x/a.pdf"}]), {Demand.LINKED_DOCUMENTS}),
        ({"input": [THOUGHT]}, set()),
        ({"input": [THOUGHT | {"encrypted_content": None}]}, set()),
        ({"input": [THOUGHT | {"encrypted_content": "gAAA"}]}, {Demand.ENCRYPTED_REASONING}),
        (
            {"input": [{"type": "compaction", "encrypted_content": "g"}]},
            {Demand.ENCRYPTED_REASONING},
        ),
        (result_of(WORDS), set()),
        (result_of(WORDS, PICTURE), {Demand.IMAGES_IN_RESULTS}),
        (result_of(DOCUMENT), {Demand.IMAGES_IN_RESULTS}),
        (
            result_of({"type": "input_image", "image_url": "https://x/a.png"}),
            {Demand.IMAGES_IN_RESULTS, Demand.LINKED_IMAGES},
        ),
        ({"top_logprobs": 3}, {Demand.LOGPROBS}),
        ({"top_logprobs": 0}, set()),
        ({"include": ["message.output_text.logprobs"]}, {Demand.LOGPROBS}),
        ({"input": [{"type": "brand_new"}]}, {Demand.UNKNOWN_PARTS}),
        (said([{"type": "brand_new"}]), {Demand.UNKNOWN_PARTS}),
        (result_of({"type": "brand_new"}), {Demand.UNKNOWN_PARTS}),
        ({"input": [{"role": "critic", "content": "x"}]}, set()),
        ({"input": [{"role": "critic", "content": [{"type": "input_text", "text": "x"}]}]}, set()),
        ({"input": [{"role": "developer", "content": [PICTURE]}]}, {Demand.UNKNOWN_PARTS}),
        ({"input": [{"role": "assistant", "content": [SOUND]}]}, {Demand.UNKNOWN_PARTS}),
        ({"text": {"format": {"type": "grammar"}}}, {Demand.UNKNOWN_PARTS}),
    ],
)
def test_demands_are_what_not_every_api_has_a_counterpart_for(
    fields: dict[str, object], demands: set[Demand]
) -> None:
    assert read(**fields).demands == demands


def measured(*texts: str) -> Measure:
    return total([Measure(), *(measure(text.encode()) for text in texts)])


@pytest.mark.parametrize(
    ("fields", "texts", "schemas"),
    [
        ({}, ["Hello"], []),
        ({"instructions": "Be brief."}, ["Be brief.", "Hello"], []),
        ({"instructions": [{"role": "system", "content": "Be"}]}, ["Be", "Hello"], []),
        (said("Hello", [WORDS, PICTURE, WORDS]), ["Hello", "Hello", "Hello"], []),
        (said(None, []), [], []),
        (said("żółw"), ["żółw"], []),
        ({"input": [CALL]}, ['"clock"', '"{\\"zone\\":\\"UTC\\"}"'], []),
        ({"input": [RESULT]}, ["noon"], []),
        (result_of(WORDS, PICTURE), ["Hello"], []),
        ({"input": [RESULT | {"output": None}]}, [], []),
        ({"input": [THOUGHT]}, ["Hm."], []),
        (
            {"input": [THOUGHT | {"content": [{"type": "reasoning_text", "text": "Hm?"}]}]},
            ["Hm.", "Hm?"],
            [],
        ),
        (
            {"input": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]},
            ["No."],
            [],
        ),
        ({"input": [HOSTED_CALLS[1]]}, [json.dumps(HOSTED_CALLS[1])], []),
        ({"input": [{"type": "image_generation_call", "result": "AAAA"}]}, [], []),
        ({"tools": [CLOCK]}, ["Hello"], [json.dumps([CLOCK])]),
        (
            {"text": {"format": {"type": "json_schema", "schema": {}}, "verbosity": "low"}},
            ["Hello"],
            [json.dumps({"type": "json_schema", "schema": {}})],
        ),
        ({"user": "not read by the model"}, ["Hello"], []),
    ],
)
def test_text_is_measured_as_the_model_will_read_it(
    fields: dict[str, object], texts: list[str], schemas: list[str]
) -> None:
    payload = read(**fields)
    assert (payload.text, payload.schemas) == (measured(*texts), measured(*schemas))


@pytest.mark.parametrize(
    ("fields", "messages", "parts", "last_turn"),
    [
        ({}, 1, {}, "Hello"),
        ({"instructions": "Be brief."}, 2, {}, "Hello"),
        (said("one", "two"), 2, {}, "two"),
        (said("one", [WORDS, PICTURE, WORDS]), 2, {Feature.VISION: 1}, "Hello\nHello"),
        (said([PICTURE, PICTURE, DOCUMENT]), 1, {Feature.VISION: 2, Feature.DOCUMENTS: 1}, ""),
        ({"input": [*HOSTED_CALLS[:2], CALL, RESULT]}, 4, {}, ""),
        ({"input": [{"role": "user", "content": "one"}, CALL, RESULT]}, 3, {}, "one"),
        ({"previous_response_id": "r", "input": []}, 0, {}, ""),
    ],
)
def test_messages_parts_and_the_last_turn_are_those_of_the_items(
    fields: dict[str, object], messages: int, parts: dict[Feature, int], last_turn: str
) -> None:
    payload = read(**fields)
    assert (payload.messages, payload.parts, payload.last_turn) == (messages, parts, last_turn)


def test_the_fields_that_any_dialect_has_are_read() -> None:
    payload = read(
        model="gpt-5",
        stream=True,
        max_output_tokens=7,
        reasoning={"effort": "high"},
        metadata={"task_type": "chat", "n": 1},
    )
    assert payload.requested_model == "gpt-5"
    assert payload.streaming
    assert payload.output_tokens_max == 7
    assert payload.reasoning_effort == "high"
    assert payload.metadata == {"task_type": "chat"}
    assert not read().streaming


def test_the_rest_is_the_payload_without_its_model() -> None:
    body = b'{ "model": "m", "input": "Hi" , "later":[1e2 ]}\n'
    payload = openai_responses.read(body)
    assert isinstance(payload, Payload)
    assert payload.rest == b'  "input": "Hi" , "later":[1e2 ]}\n'


OURS = THOUGHT | {"id": "rs_01ABC_0"}


@pytest.mark.parametrize(
    ("items", "unsigned"),
    [
        ([THOUGHT], False),
        ([OURS], True),
        ([OURS | {"encrypted_content": None}], True),
        ([OURS | {"encrypted_content": "gAAA"}], False),
        ([{"type": "item_reference", "id": "rs_01ABC_0"}], False),
    ],
)
def test_thinking_that_a_translated_answer_told_is_known_by_its_id(
    items: list[object], *, unsigned: bool
) -> None:
    assert read(input=items).unsigned_thinking is unsigned


def test_thinking_of_others_is_taken_out_of_a_request_and_nothing_else_is() -> None:
    rest = read(input=[*message(), OURS, CALL, THOUGHT, OURS, RESULT], user="u").rest
    kept = openai_responses.without_foreign_thinking(rest)
    assert json.loads(b"{" + kept) == json.loads(
        body_of(input=[*message(), CALL, THOUGHT, RESULT], user="u")
    )
    unchanged = read(model="m").rest
    assert openai_responses.without_foreign_thinking(unchanged) == unchanged


def test_no_depth_of_nesting_is_too_much_for_a_refusal() -> None:
    for depth in range(800, 1000):
        nested = b"[" * depth + b"]" * depth
        for body in (
            b'{"input":[{"type":"x","a":%b}]}' % nested,
            b'{"input":"a","tools":[{"type":"f","type":"f","a":%b}]}' % nested,
        ):
            found = openai_responses.read(body)
            assert isinstance(found, Payload) or found.status == 400
            assert openai_responses.envelope(body, "abc", 1).answer_id == "abc"


@pytest.mark.parametrize("stored", ["previous_response_id", "conversation", "prompt"])
def test_input_may_be_left_out_only_where_something_stored_stands_for_it(stored: str) -> None:
    body = f'{{"{stored}":{{"id":"x"}}}}'.encode()
    assert isinstance(openai_responses.read(body), Payload)
    assert refusal_of(b'{"model":"m"}').message == "The field `input` is required."
    assert refusal_of(b'{"input":[]}').param == "input"


def message(**fields: object) -> list[object]:
    return [{"role": "user", "content": "Hello"} | fields]


WRONG: list[tuple[str, Any]] = [
    ("input", None),
    ("input", []),
    ("input", 5),
    ("input", {CANARY: CANARY}),
    ("input", [CANARY]),
    ("input", [None]),
    ("input", [{CANARY: CANARY}]),
    ("input", [{"content": CANARY}]),
    ("input", [{"type": "message", "content": CANARY}]),
    ("input", [{"type": [CANARY]}]),
    ("input", message(role=[CANARY])),
    ("input", message(content={CANARY: CANARY})),
    ("input", message(content=[CANARY])),
    ("input", message(content=[{"text": CANARY}])),
    ("input", message(content=[{"type": "input_text", "text": [CANARY]}])),
    ("input", [{"type": "function_call_output", "output": {CANARY: CANARY}}]),
    ("input", [{"type": "function_call_output", "output": [CANARY]}]),
    ("input", [{"type": "reasoning", "summary": CANARY}]),
    ("instructions", 5),
    ("instructions", [CANARY]),
    ("model", [CANARY]),
    ("model", f"{CANARY}\n"),
    ("stream", CANARY),
    ("max_output_tokens", CANARY),
    ("max_output_tokens", 0),
    ("tools", CANARY),
    ("tools", [CANARY]),
    ("tools", [{CANARY: CANARY}]),
    ("tools", [{"type": [CANARY]}]),
    ("tool_choice", {"type": [CANARY]}),
    ("text", CANARY),
    ("text", {"format": CANARY}),
    ("text", {"format": {"type": [CANARY]}}),
    ("reasoning", CANARY),
    ("reasoning", {"effort": [CANARY]}),
    ("metadata", CANARY),
    ("background", CANARY),
    ("include", CANARY),
    ("top_logprobs", CANARY),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_a_400_that_names_it_and_quotes_nothing(field: str, value: object) -> None:
    refusal = refusal_of(body_of(**({"user": CANARY} | {field: value})))
    assert (refusal.status, refusal.kind, refusal.code, refusal.param) == (
        *(400, "invalid_request", "invalid_value"),
        field,
    )
    assert f"`{field}`" in refusal.message
    assert CANARY not in refusal.message


TWICE = [
    '{"role":"user","content":"a","role":"system"}',
    '{"role":"user","content":"a","content":"b"}',
    '{"role":"user","content":null,"content":"b"}',
    '{"type":"message","role":"user","content":"a","type":"function_call"}',
    '{"role":"user","content":[{"type":"input_text","text":"a","type":"input_image"}]}',
    '{"role":"user","\\u0072ole":"system","content":"a"}',
    '{"role":"user","content":[{"type":"input_text","t\\u0079pe":"input_image"}]}',
    '{"type":"function_call_output","output":[{"type":"input_text","type":"input_image"}]}',
    '{"type":"reasoning","summary":[{"type":"a","type":"b"}]}',
    '{"type":"web_search_call","action":{"type":"a","type":"b"}}',
    '{ "role" : "user" , "content" : "a" , "content" : "b" }',
]
SPARSE = [
    '{"id":"msg_1"}',
    '{"role":"assistant"}',
    '{"role":"user","content":[]}',
    '{"type":"message","role":"user","content":"\\"type\\""}',
    '{"type":"function_call","name":"type","arguments":"{\\"type\\":1,\\"type\\":2}"}',
    '{"type":"function_call_output","output":"a"}',
    '{"type":"reasoning","summary":[{"type":"summary_text","text":"a"}]}',
    '{"role":"assistant","content":[{"type":"output_text","annotations":[{"type":"x"}]}]}',
]


@given(st.lists(st.sampled_from([*SPARSE, *TWICE]), min_size=1, max_size=5))
@settings(deadline=None, max_examples=150, database=None)
def test_a_role_content_or_type_that_stands_twice_is_a_400(items: list[str]) -> None:
    for field in ("input", "instructions"):
        found = openai_responses.read(f'{{"{field}":[{",".join(items)}],"prompt":1}}'.encode())
        assert isinstance(found, Refusal) == bool({*items} & {*TWICE})
        if isinstance(found, Refusal):
            assert (found.status, found.param) == (400, field)
            assert "more than once" in found.message


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("text", '{"format":{"type":"text"},"format":{"type":"json_schema"}}'),
        ("text", '{"format":{"type":"text","type":"json_schema"}}'),
        ("reasoning", '{"effort":"none","effort":"high"}'),
        ("metadata", '{"task_type":"chat","task\\u005ftype":"code"}'),
        ("tools", '[{"type":"function","name":"a","type":"web_search"}]'),
        ("tools", '[{"type":"function","name":"a","t\\u0079pe":"web_search"}]'),
        ("tools", '[{"type":"function","parameters":{"type":1}},{"type":"a","type":"b"}]'),
        ("tool_choice", '{"type":"function","type":"web_search"}'),
    ],
)
def test_what_else_routing_reads_may_not_stand_twice(field: str, written: str) -> None:
    refusal = refusal_of(f'{{"input":"Hello","{field}":{written}}}'.encode())
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_value", field)
    assert "stands twice" in refusal.message


def test_types_inside_of_schemas_are_no_repetition() -> None:
    schema = {"type": "object", "properties": {"type": {"type": "string"}, "\u00f3": {"type": "x"}}}
    tools = [CLOCK | {"parameters": schema, "description": '"type":"type"'}, CLOCK]
    assert read(tools=tools).demands == set()


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_an_empty_body_is_a_400_that_says_what_to_send(body: bytes) -> None:
    assert refusal_of(body) == openai_responses.EMPTY_BODY
    assert "`input`" in openai_responses.EMPTY_BODY.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":"canary-8d2f',
        b'["canary-8d2f"]',
        b'{"input":"canary-8d2f\xff"}',
        b'{"input":"canary-8d2f\\ud800"}',
        b'{"model":"canary-8d2f","model":"canary-8d2f","input":"a"}',
        b'{"input":["canary-8d2f",' + b"[" * 10_000,
    ],
)
def test_a_body_that_is_no_payload_is_a_400_that_quotes_nothing(body: bytes) -> None:
    refusal = refusal_of(body)
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_body", None)
    assert CANARY not in refusal.message


FIELDS = sorted({field for field, _ in WRONG} | {"prompt", "conversation"})
VALUES = anything(
    names=["role", "content", "type", "text", "output", "summary", "format", "id"],
    leaves=["message", "user", "function_call_output", "custom"],
)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
@settings(deadline=None, max_examples=100, database=None)
def test_whatever_the_fields_hold_is_read_or_refused_without_a_quote(
    fields: dict[str, object],
) -> None:
    body = body_of(**fields)
    check_read_or_refused(openai_responses.read(body), body)
