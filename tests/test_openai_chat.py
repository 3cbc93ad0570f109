"""What routing reads of a chat completion, how it refuses one, and how the router answers."""

import json
from typing import Any

import pytest
from configs import HELLO, body_of
from hostile import CANARY, anything, check_read_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Model

from extproc.dialects import openai_chat
from extproc.dialects.conversation import Demand
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.text.tokens import Measure, measure, total
from extproc.vocabulary import ModelName, ProviderName, Refusal

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
DOCUMENT = {"type": "file", "file": {"file_id": "f"}}
WORDS = {"type": "text", "text": "Hello"}
TOOL = {"type": "function", "function": {"name": "clock"}}


def read(**fields: object) -> Payload:
    payload = openai_chat.read(body_of(**fields))
    assert isinstance(payload, Payload), payload
    return payload


def refusal_of(body: bytes) -> Refusal:
    refusal = openai_chat.read(body)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def said(*contents: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({}, set()),
        (said([WORDS]), set()),
        (said([PICTURE]), {Feature.VISION}),
        (said("Hello", [WORDS, PICTURE]), {Feature.VISION}),
        (said([SOUND]), {Feature.AUDIO}),
        (said([DOCUMENT]), {Feature.DOCUMENTS}),
        (said([PICTURE, SOUND], [DOCUMENT]), {Feature.VISION, Feature.AUDIO, Feature.DOCUMENTS}),
        (said([{"type": "not-known-yet"}]), set()),
        (said([{"type": "refusal", "refusal": "No."}]), set()),
        ({"tools": [TOOL]}, {Feature.TOOLS}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"functions": [{"name": "clock"}]}, {Feature.TOOLS}),
        ({"response_format": {"type": "json_schema"}}, {Feature.STRUCTURED_OUTPUT}),
        ({"response_format": {"type": "json_object"}}, {Feature.STRUCTURED_OUTPUT}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": None}, set()),
        ({"modalities": ["text", "audio"]}, {Feature.AUDIO}),
        ({"modalities": ["text"]}, set()),
        ({"reasoning_effort": "low"}, {Feature.REASONING}),
        ({"reasoning_effort": "none"}, set()),
        ({"reasoning_effort": None}, set()),
    ],
)
def test_features_are_what_the_request_cannot_do_without(
    fields: dict[str, object], features: set[Feature]
) -> None:
    assert read(**fields).features == features


LINK = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def called(*kinds: str) -> dict[str, object]:
    calls = [{"id": "1", "type": kind, kind: {"name": "f"}} for kind in kinds]
    return {"messages": [*HELLO, {"role": "assistant", "tool_calls": calls}]}


@pytest.mark.parametrize(
    ("fields", "demands"),
    [
        ({}, set()),
        ({"n": 1, "logprobs": False, "top_logprobs": None, "modalities": ["text"]}, set()),
        ({"n": [], "logprobs": "x", "top_logprobs": {}, "modalities": ["text"]}, set()),
        ({"n": 2}, {Demand.SEVERAL_ANSWERS}),
        ({"n": 2.0}, {Demand.SEVERAL_ANSWERS}),
        ({"logprobs": True}, {Demand.LOGPROBS}),
        ({"top_logprobs": 3}, {Demand.LOGPROBS}),
        ({"modalities": ["text", "audio"]}, {Demand.AUDIO_OUTPUT}),
        ({"tools": [TOOL]}, set()),
        ({"tools": [TOOL, {"type": "custom", "custom": {"name": "c"}}]}, {Demand.CUSTOM_TOOLS}),
        ({"tools": [TOOL, {"type": "web_search"}]}, {Demand.HOSTED_TOOLS}),
        ({"tools": [1, {"type": 2}, "custom"]}, set()),
        ({"web_search_options": {}}, {Demand.HOSTED_TOOLS}),
        ({"web_search_options": None, "moderation": None}, set()),
        ({"moderation": {"model": "m"}}, {Demand.HOSTED_TOOLS}),
        (said([SOUND]), {Demand.AUDIO_INPUT}),
        (said([WORDS, PICTURE]), set()),
        (said([LINK], [PICTURE]), {Demand.LINKED_IMAGES}),
        (said([{"type": "image_url", "image_url": {"url": "DATA:image/png;base64,"}}]), set()),
        (said([{"type": "image_url", "image_url": "http://example.org"}]), {Demand.LINKED_IMAGES}),
        (said([{"type": "image_url", "image_url": "data:,"}]), set()),
        (said([{"type": "image_url", "image_url": 5}, {"type": "image_url"}]), set()),
        (said([{"type": "image_url", "image_url": {"url": 5}}]), set()),
        (said([{"type": "text", "text": "x", "image_url": {"url": "http://x"}}]), set()),
        (said([DOCUMENT]), {Demand.STORED_FILES}),
        (said([{"type": "file", "file": {"file_data": "AAAA", "file_id": None}}]), set()),
        (said([{"type": "file", "file": {"file_data": "https://x"}}]), {Demand.LINKED_DOCUMENTS}),
        (said([{"type": "file", "file": 5}, {"type": "file"}]), set()),
        (said([{"type": "refusal", "refusal": "No."}]), set()),
        (said([{"type": "video_url"}]), {Demand.UNKNOWN_PARTS}),
        (called("function"), set()),
        (called("function", "custom"), {Demand.CUSTOM_TOOLS}),
        (
            {"messages": [*HELLO, {"role": "assistant", "audio": {"id": "audio_1"}}]},
            {Demand.STORED_STATE},
        ),
        ({"messages": [*HELLO, {"role": "assistant", "audio": None}]}, set()),
        ({"messages": [{"role": "tool", "content": [PICTURE]}]}, {Demand.IMAGES_IN_RESULTS}),
        ({"messages": [{"role": "tool", "content": [WORDS]}]}, set()),
    ],
)
def test_demands_are_what_not_every_api_has(
    fields: dict[str, object], demands: set[Demand]
) -> None:
    assert read(**fields).demands == demands


def test_a_link_is_known_however_it_is_escaped() -> None:
    for url, demands in [
        (r"https:\/\/example.org", {Demand.LINKED_IMAGES}),
        (r"\u0068ttps://example.org", {Demand.LINKED_IMAGES}),
        (r"\u0064ata:image/png;base64,", set()),
    ]:
        part = f'{{"type":"image_url","image_url":{{"\\u0075rl":"{url}"}}}}'
        body = f'{{"messages":[{{"role":"user","content":[{part}]}}]}}'.encode()
        payload = openai_chat.read(body)
        assert isinstance(payload, Payload)
        assert payload.demands == demands


@pytest.mark.parametrize(
    ("fields", "streaming"),
    [({}, False), ({"stream": None}, False), ({"stream": False}, False), ({"stream": True}, True)],
)
def test_a_request_streams_when_it_says_so(fields: dict[str, object], *, streaming: bool) -> None:
    assert read(**fields).streaming is streaming


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": None, "max_completion_tokens": None}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 1}, 1),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": None}, 7),
    ],
)
def test_the_output_limit_is_the_newer_field_else_the_older(
    fields: dict[str, object], limit: int | None
) -> None:
    assert read(**fields).output_tokens_max == limit


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("max_completion_tokens", "-1"),
        ("max_completion_tokens", "-99999999999999999999999"),
        ("max_completion_tokens", "0"),
        ("max_tokens", "-1"),
        ("max_tokens", "0"),
    ],
)
def test_an_output_limit_below_one_is_refused(field: str, written: str) -> None:
    refusal = refusal_of(f'{{"messages":{json.dumps(HELLO)},"{field}":{written}}}'.encode())
    assert (refusal.status, refusal.param) == (400, field)
    assert f"`{field}` is below 1" in refusal.message


@pytest.mark.parametrize(
    ("fields", "requested"),
    [
        ({}, None),
        ({"model": None}, None),
        ({"model": "auto"}, "auto"),
        ({"model": "org/Model-7B:free@1"}, "org/Model-7B:free@1"),
        ({"model": "żółw"}, "żółw"),
        ({"model": "m" * 256}, "m" * 256),
    ],
)
def test_the_requested_model_is_what_the_client_wrote(
    fields: dict[str, object], requested: str | None
) -> None:
    assert read(**fields).requested_model == requested


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("m" * 257, "longer than 256"),
        ("a\nb", "control"),
        ("a\x00", "control"),
        ("\x7f", "control"),
    ],
)
def test_a_model_name_that_is_none_is_refused_without_repeating_it(model: str, what: str) -> None:
    refusal = refusal_of(body_of(model=model))
    assert (refusal.status, refusal.param) == (400, "model")
    assert what in refusal.message
    assert model not in refusal.message


def test_the_rest_is_the_payload_without_its_model() -> None:
    body = b'{ "model": "m", "messages": [{"role":"user","content":"Hi"}] , "later":[1e2 ]}\n'
    payload = openai_chat.read(body)
    assert isinstance(payload, Payload)
    assert payload.rest == b'  "messages": [{"role":"user","content":"Hi"}] , "later":[1e2 ]}\n'


def measured(*texts: str) -> Measure:
    return total([Measure(), *(measure(text.encode()) for text in texts)])


@pytest.mark.parametrize(
    ("fields", "texts", "schemas"),
    [
        (said("Hello"), ["Hello"], []),
        (said("Hello", "there"), ["Hello", "there"], []),
        (said([WORDS, PICTURE, WORDS]), ["Hello", "Hello"], []),
        (said(None), [], []),
        (said([]), [], []),
        (said("żółw"), ["żółw"], []),
        (said("日本"), ["日本"], []),
        (said("🐢"), ["🐢"], []),
        ({"tools": [1]}, ["Hello"], ["[1]"]),
        ({"functions": [1, 2]}, ["Hello"], ["[1, 2]"]),
        ({"response_format": {}}, ["Hello"], ["{}"]),
        ({"tools": [1], "functions": [2]}, ["Hello"], ["[1]", "[2]"]),
        ({"user": "not read by the model"}, ["Hello"], []),
    ],
)
def test_text_is_measured_as_the_model_will_read_it(
    fields: dict[str, object], texts: list[str], schemas: list[str]
) -> None:
    payload = read(**fields)
    assert (payload.text, payload.schemas) == (measured(*texts), measured(*schemas))


def test_the_arguments_of_earlier_tool_calls_are_text_too() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x " * 5000}}
    asked = read(messages=[*HELLO, {"role": "assistant", "tool_calls": [call]}])
    assert asked.text == measured("Hello", json.dumps(call))
    assert asked.text.words > 5000


@pytest.mark.parametrize(
    ("contents", "parts"),
    [
        (["Hello"], {}),
        ([[WORDS]], {}),
        ([[PICTURE]], {Feature.VISION: 1}),
        ([[PICTURE, PICTURE], "Hello", [PICTURE]], {Feature.VISION: 3}),
        ([[SOUND, DOCUMENT], [DOCUMENT]], {Feature.AUDIO: 1, Feature.DOCUMENTS: 2}),
    ],
)
def test_what_is_not_text_is_counted(contents: list[object], parts: dict[Feature, int]) -> None:
    payload = read(**said(*contents))
    assert payload.parts == parts
    assert payload.messages == len(contents)


@pytest.mark.parametrize(
    ("turns", "last"),
    [
        ([("user", "one")], "one"),
        ([("user", "one"), ("user", "two")], "two"),
        ([("user", "one"), ("assistant", "two"), ("tool", "three")], "one"),
        ([("user", [WORDS, PICTURE, WORDS])], "Hello\nHello"),
        ([("user", "one"), ("user", [PICTURE])], ""),
        ([("user", "one"), ("user", None)], ""),
        ([("system", "one"), ("assistant", "two"), ("User", "three")], ""),
    ],
)
def test_the_last_turn_is_what_the_user_said_last(
    turns: list[tuple[str, object]], last: str
) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    assert read(messages=messages).last_turn == last


def test_metadata_are_the_texts_among_the_values() -> None:
    metadata = {"task_type": "x", "żółw": "🐢", "n": 1, "b": True, "o": {"a": "b"}, "l": ["a"]}
    assert read(metadata=metadata).metadata == {"task_type": "x", "żółw": "🐢"}
    assert read(metadata=None).metadata == {}
    assert read().metadata == {}


def test_metadata_have_at_most_64_fields() -> None:
    assert len(read(metadata={str(i): "" for i in range(64)}).metadata) == 64
    refusal = refusal_of(body_of(metadata={str(i): CANARY for i in range(65)}))
    assert (refusal.status, refusal.param) == (400, "metadata")
    assert "more than 64 fields" in refusal.message


def test_fields_nobody_here_knows_are_let_through() -> None:
    fields = {"temperature": "hot", "n": [], "tool_choice": 5, "stop": {}, "brand_new": {"a": 1}}
    assert read(**fields).features == set()


def message(**fields: object) -> list[object]:
    return [{"role": "user", "content": "Hello"} | fields]


WRONG: list[tuple[str, Any]] = [
    ("messages", None),
    ("messages", []),
    ("messages", CANARY),
    ("messages", {CANARY: CANARY}),
    ("messages", [CANARY]),
    ("messages", [{CANARY: CANARY}]),
    ("messages", [[CANARY]]),
    ("messages", [None]),
    ("messages", [{"content": CANARY}]),
    ("messages", message(role=[CANARY])),
    ("messages", message(role=None)),
    ("messages", message(content={CANARY: CANARY})),
    ("messages", message(content=5)),
    ("messages", message(content=[CANARY])),
    ("messages", message(content=[{"text": CANARY}])),
    ("messages", message(content=[{"type": {CANARY: 1}}])),
    ("messages", message(content=[{"type": "text", "text": [CANARY]}])),
    ("model", 5),
    ("model", [CANARY]),
    ("model", {CANARY: CANARY}),
    ("model", True),
    ("stream", CANARY),
    ("stream", 1),
    ("stream", [CANARY]),
    ("max_completion_tokens", CANARY),
    ("max_completion_tokens", 1.5),
    ("max_completion_tokens", True),
    ("max_tokens", CANARY),
    ("max_tokens", [CANARY]),
    ("tools", CANARY),
    ("tools", {CANARY: CANARY}),
    ("functions", CANARY),
    ("response_format", CANARY),
    ("response_format", [CANARY]),
    ("response_format", {"type": [CANARY]}),
    ("modalities", CANARY),
    ("modalities", [CANARY, {CANARY: 1}]),
    ("reasoning_effort", [CANARY]),
    ("reasoning_effort", 5),
    ("metadata", CANARY),
    ("metadata", [CANARY]),
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


# A role, content or type that stands twice: parsers differ in which one they take.

TWICE = [
    '{"role":"user","content":"a","role":"system"}',
    '{"role":"user","content":"a","role":"user"}',
    '{"role":"user","content":"a","content":"b"}',
    '{"role":"user","content":null,"content":"b"}',
    '{"role":"user","content":"a","content":[{"type":"text","text":"b"}]}',
    '{"role":"user","content":[{"type":"text","text":"a","type":"image_url"}]}',
    '{"role":"user","content":[{"type":"image_url","type":"text","text":"a"}]}',
    '{"role":"user","\\u0072ole":"system","content":"a"}',
    '{"role":"user","content":"a","c\\u006Fntent":"b"}',
    '{"role":"user","content":"a","c\\u006fnten\\u0074":"b"}',
    '{"role":"user","content":[{"type":"text","t\\u0079pe":"image_url"}]}',
    '{"\\u0072ole":"user","r\\u006fle":"system","content":"a"}',
    '{ "role" : "user" , "content" : "a" , "content" : "b" }',
    '{"role":"assistant","content":"a","tool_calls":[{"type":"function","type":"x"}]}',
]
# Messages that have fewer of these names than most do, so that a count alone would not tell.
SPARSE = [
    '{"role":"assistant"}',
    '{"role":"assistant","tool_calls":[]}',
    '{"role":"assistant","tool_calls":[{},{"id":"1"}]}',
    '{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}',
    '{"role":"user","content":[]}',
]


@pytest.mark.parametrize("before", [None, *SPARSE])
@pytest.mark.parametrize("twice", TWICE)
def test_a_role_content_or_type_that_stands_twice_is_a_400(twice: str, before: str | None) -> None:
    for messages in ([before, twice], [twice, before]):
        written = ",".join(filter(None, messages))
        refusal = refusal_of(f'{{"messages":[{written}]}}'.encode())
        assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_value", "messages")
        assert "more than once" in refusal.message


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("response_format", '{"type":"text","type":"json_schema"}'),
        ("response_format", '{"type":"text","t\\u0079pe":"json_schema"}'),
        ("metadata", '{"task_type":"chat","task_type":"code"}'),
        ("metadata", '{"task_type":"chat","task\\u005ftype":"code"}'),
    ],
)
def test_what_else_routing_reads_may_not_stand_twice(field: str, written: str) -> None:
    refusal = refusal_of(f'{{"messages":{json.dumps(HELLO)},"{field}":{written}}}'.encode())
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_value", field)
    assert "stands twice" in refusal.message


NAMING = 'Say "role", "content": "type"; {"role":"x","role":"y"} \\u0072ole'


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": NAMING},
        {"role": "user", "content": "role"},
        {"role": "content", "content": "type", "name": "role"},
        {"role": "user", "content": [{"type": "text", "text": NAMING}, {"type": "type"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "type", "arguments": NAMING}},
                {"id": "2", "type": "custom", "custom": {"type": {"type": "type"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "u"}, "cache_control": {"type": "e"}},
            ],
        },
        {"role": "tool", "content": json.dumps({"role": {"content": [{"type": "x"}] * 9}})},
        {"role": "user", "content": "a", "extra": {"role": 1, "content": {"role": 2}, "type": 3}},
        {"role": "user", "content": "Ala ma kota, \u00f3w \u0142ad"},
    ],
)
def test_names_inside_of_texts_and_of_other_objects_are_no_repetition(
    message: dict[str, object],
) -> None:
    for messages in ([message], [*HELLO, message], [message] * 3):
        for ascii_only in (True, False):
            written = json.dumps({"messages": messages}, ensure_ascii=ascii_only).encode()
            assert isinstance(openai_chat.read(written), Payload)
            spaced = json.dumps({"messages": messages}, separators=(" ,\n", " :\t"))
            assert isinstance(openai_chat.read(spaced.encode()), Payload)


def test_letters_written_as_escapes_are_read_all_the_same() -> None:
    for hostile in ('"n":' + "1" * 5000, '"n":1e999', '"n":-0', '"n":' + "[" * 500 + "]" * 500):
        message = f'{{"\\u0072ole":"user","content":"\\u0041",{hostile}}}'
        payload = openai_chat.read(f'{{"messages":[{message}]}}'.encode())
        assert isinstance(payload, Payload)
        assert payload.last_turn == "A"


@given(st.lists(st.sampled_from([*SPARSE, *TWICE, json.dumps(HELLO[0])]), min_size=1, max_size=5))
@settings(deadline=None, max_examples=200, database=None)
def test_the_quick_look_at_names_agrees_with_a_thorough_one(messages: list[str]) -> None:
    found = openai_chat.read(f'{{"messages":[{",".join(messages)}]}}'.encode())
    assert isinstance(found, Refusal) == bool({*messages} & {*TWICE})


def test_a_message_says_where_in_the_field_the_mistake_is() -> None:
    wrong = [*HELLO, {"role": "user", "content": [{"type": "text", "text": 5}]}]
    assert "`messages[1].content[0].text`" in refusal_of(body_of(messages=wrong)).message


def test_a_payload_without_messages_is_a_400_that_asks_for_them() -> None:
    refusal = refusal_of(b'{"model":"gpt-4o"}')
    assert (refusal.status, refusal.param) == (400, "messages")
    assert refusal.message == "The field `messages` is required."


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_an_empty_body_is_a_400_that_says_what_to_send(body: bytes) -> None:
    refusal = refusal_of(body)
    assert refusal == openai_chat.EMPTY_BODY
    assert "`messages`" in refusal.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":"canary-8d2f',
        b'["canary-8d2f"]',
        b'"canary-8d2f"',
        b'{"messages":[{"role":"user","content":"canary-8d2f"}],}',
        b'{"messages":[{"role":"user","content":"canary-8d2f\xff"}]}',
        b'{"messages":[{"role":"user","content":"canary-8d2f\\ud800"}]}',
        b'{"messages":[{"role":"user","content":"canary-8d2f\n"}]}',
        b'{"model":"canary-8d2f","model":"canary-8d2f","messages":[]}',
        b'{"messages":["canary-8d2f",' + b"[" * 10_000,
    ],
)
def test_a_body_that_is_no_payload_is_a_400_that_quotes_nothing(body: bytes) -> None:
    refusal = refusal_of(body)
    assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_body", None)
    assert CANARY not in refusal.message


FIELDS = sorted({field for field, _ in WRONG} | {"metadata", "audio", "tool_choice"})
VALUES = anything(
    names=["role", "content", "type", "text", "name", CANARY], leaves=[f"{CANARY}\n", "auto"]
)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
@settings(deadline=None, max_examples=100, database=None)
def test_whatever_the_fields_hold_is_read_or_refused_without_a_quote(
    fields: dict[str, object],
) -> None:
    body = body_of(**fields)
    check_read_or_refused(openai_chat.read(body), body)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (
            Refusal("unknown_model", 404, "model_not_found", 'No "x" here.', "model"),
            {
                "message": 'No "x" here.',
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            },
        ),
        (
            Refusal("rate_limited", 429, "rate_limit_exceeded", "Slow."),
            {
                "message": "Slow.",
                "type": "requests",
                "param": None,
                "code": "rate_limit_exceeded",
            },
        ),
        (
            Refusal("permission", 402, "insufficient_quota", "Pay."),
            {
                "message": "Pay.",
                "type": "insufficient_quota",
                "param": None,
                "code": "insufficient_quota",
            },
        ),
        (
            Refusal("internal", 500, "router_error", "Broken."),
            {"message": "Broken.", "type": "server_error", "param": None, "code": "router_error"},
        ),
        (
            Refusal("busy", 503, "busy", "żółw\n"),
            {"message": "żółw\n", "type": "server_error", "param": None, "code": "busy"},
        ),
    ],
)
def test_a_refusal_is_rendered_as_openai_renders_errors(
    refusal: Refusal, error: dict[str, object]
) -> None:
    assert json.loads(openai_chat.render_refusal(refusal)) == {"error": error}


def test_models_are_listed_as_openais_sdk_reads_them() -> None:
    listed = json.loads(
        openai_chat.render_models(
            [
                (ModelName("auto"), ProviderName("router")),
                (ModelName("gpt-4o"), ProviderName("openai")),
            ]
        )
    )
    assert listed["object"] == "list"
    models = [Model.model_validate(model, strict=True) for model in listed["data"]]
    assert [(model.id, model.owned_by, model.object) for model in models] == [
        ("auto", "router", "model"),
        ("gpt-4o", "openai", "model"),
    ]


def test_one_model_is_rendered_as_in_the_list() -> None:
    name, owner = ModelName("gpt-4o"), ProviderName("openai")
    one = json.loads(openai_chat.render_model(name, owner))
    assert one == json.loads(openai_chat.render_models([(name, owner)]))["data"][0]
    assert Model.model_validate(one, strict=True).id == "gpt-4o"
