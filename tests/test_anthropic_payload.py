"""What routing reads of an Anthropic message request, and how the router answers such clients."""

import json
from typing import Any

import pytest
from anthropic.types import ErrorResponse, MessageTokensCount, ModelInfo
from hostile import CANARY, anything, check_read_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects import anthropic
from extproc.dialects.conversation import Demand
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.text.tokens import Measure, measure, total
from extproc.vocabulary import ModelName, ProviderName, Refusal

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
WORDS = {"type": "text", "text": "Hello"}
BASE64 = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
PICTURE = {"type": "image", "source": BASE64}
LINKED_PICTURE = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
STORED_PICTURE = {"type": "image", "source": {"type": "file", "file_id": "f"}}
PDF = {"type": "document", "source": BASE64 | {"media_type": "application/pdf"}}
PLAIN = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "Hello"},
}
LINKED_PDF = {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}}
OF_BLOCKS = {"type": "document", "source": {"type": "content", "content": [WORDS, PICTURE]}}
OF_TEXT = {"type": "document", "source": {"type": "content", "content": "Hello"}}
SIGNED = {"type": "thinking", "thinking": "Hello", "signature": "s"}
UNSIGNED = {"type": "thinking", "thinking": "Hello", "signature": ""}
REDACTED = {"type": "redacted_thinking", "data": "x"}
CALL = {"type": "tool_use", "id": "1", "name": "clock", "input": {"a": 1}}
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
FORMAT = {"type": "json_schema", "schema": SCHEMA}
TOOL = {"name": "clock", "input_schema": {"type": "object"}}
SEARCH = {"type": "search_result", "source": "https://x.test", "title": "t", "content": [WORDS]}


def result(*content: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": "1", "content": [*content]}


def body_of(**fields: object) -> bytes:
    return json.dumps({"max_tokens": 9, "messages": HELLO} | fields).encode()


def read(**fields: object) -> Payload:
    payload = anthropic.read(body_of(**fields))
    assert isinstance(payload, Payload), payload
    return payload


def refusal_of(body: bytes) -> Refusal:
    refusal = anthropic.read(body)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def said(*contents: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


ON = {"type": "enabled", "budget_tokens": 2000}


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({}, set()),
        (said([WORDS]), set()),
        (said([PICTURE]), {Feature.VISION}),
        (said("Hello", [result(PICTURE)]), {Feature.VISION}),
        (said([result(OF_BLOCKS)]), {Feature.VISION, Feature.DOCUMENTS}),
        (said([PDF]), {Feature.DOCUMENTS}),
        (said([PLAIN]), {Feature.DOCUMENTS}),
        (said([{"type": "not-known-yet", "content": {"a": 1}}]), set()),
        ({"tools": [TOOL]}, {Feature.TOOLS}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"output_config": {"format": FORMAT}}, {Feature.STRUCTURED_OUTPUT}),
        ({"output_config": {"format": None}}, set()),
        ({"output_config": None}, set()),
        ({"output_format": FORMAT}, {Feature.STRUCTURED_OUTPUT}),
        ({"thinking": ON}, {Feature.REASONING}),
        ({"thinking": {"type": "adaptive"}}, {Feature.REASONING}),
        ({"thinking": {"type": "disabled"}}, set()),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, set()),
        ({"thinking": {"type": "between_tools"}}, set()),
        ({"output_config": {"effort": "low"}}, {Feature.REASONING}),
    ],
)
def test_features_are_what_the_request_cannot_do_without(
    fields: dict[str, object], features: set[Feature]
) -> None:
    assert read(**fields).features == features


@pytest.mark.parametrize(
    ("thinking", "config", "effort"),
    [
        (None, None, None),
        (None, {"effort": "medium"}, "medium"),
        (None, {"effort": "max"}, "xhigh"),
        (None, {"effort": "not-known-yet"}, None),
        ({"type": "adaptive"}, None, "high"),
        ({"type": "adaptive"}, {"effort": "low"}, "low"),
        ({"type": "enabled", "budget_tokens": 1024}, None, "low"),
        ({"type": "enabled", "budget_tokens": 4096}, None, "medium"),
        ({"type": "enabled", "budget_tokens": 16_384}, None, "high"),
        ({"type": "enabled", "budget_tokens": 10**30}, None, "xhigh"),
        ({"type": "enabled", "budget_tokens": 1024}, {"effort": "high"}, "high"),
        ({"type": "disabled"}, {"effort": "high"}, "none"),
    ],
)
def test_the_effort_is_the_one_written_or_that_of_the_budget(
    thinking: object, config: object, effort: str | None
) -> None:
    assert read(thinking=thinking, output_config=config).reasoning_effort == effort


@pytest.mark.parametrize(
    ("fields", "demands"),
    [
        ({}, set()),
        (said([WORDS, PICTURE, PDF, PLAIN, OF_BLOCKS, OF_TEXT, CALL, result(WORDS, PDF)]), set()),
        ({"tools": [TOOL, TOOL | {"type": "custom"}, TOOL | {"type": None}]}, set()),
        ({"tools": [{"type": "web_search_20250305", "name": "s"}]}, {Demand.HOSTED_TOOLS}),
        ({"tools": [TOOL, {"type": "bash_20250124", "name": "b"}]}, {Demand.HOSTED_TOOLS}),
        ({"mcp_servers": [{"url": "u"}]}, {Demand.HOSTED_TOOLS}),
        ({"mcp_servers": [], "container": None}, set()),
        ({"container": "c"}, {Demand.HOSTED_TOOLS}),
        (said([LINKED_PICTURE]), {Demand.LINKED_IMAGES}),
        (said([LINKED_PDF]), {Demand.LINKED_DOCUMENTS}),
        (said([STORED_PICTURE]), {Demand.STORED_FILES}),
        (said([result(PICTURE)]), {Demand.IMAGES_IN_RESULTS}),
        (said([SIGNED]), {Demand.BOUND_THINKING}),
        (said([REDACTED]), {Demand.BOUND_THINKING}),
        (said([UNSIGNED]), set()),
        (said([SEARCH]), {Demand.UNKNOWN_PARTS}),
        (said([result(SEARCH)]), {Demand.UNKNOWN_PARTS}),
        (said([result(CALL)]), {Demand.UNKNOWN_PARTS}),
        (said([{"type": "server_tool_use", "id": "1", "input": {}}]), {Demand.UNKNOWN_PARTS}),
        (said([{"type": "image", "source": {"type": "new"}}]), {Demand.UNKNOWN_PARTS}),
        (said([{"type": "image"}]), {Demand.UNKNOWN_PARTS}),
    ],
)
def test_demands_are_what_not_every_api_has_a_counterpart_for(
    fields: dict[str, object], demands: set[Demand]
) -> None:
    assert read(**fields).demands == demands


@pytest.mark.parametrize(
    ("blocks", "unsigned"),
    [
        ([WORDS, SIGNED, REDACTED], False),
        ([UNSIGNED], True),
        ([{"type": "thinking", "thinking": "x"}], True),
        ([SIGNED, WORDS, UNSIGNED], True),
    ],
)
def test_thinking_without_a_signature_is_told_of(blocks: list[object], *, unsigned: bool) -> None:
    messages = [*HELLO, {"role": "assistant", "content": blocks}, *HELLO]
    assert read(messages=messages).unsigned_thinking is unsigned


def measured(*texts: str) -> Measure:
    return total([Measure(), *(measure(text.encode()) for text in texts)])


@pytest.mark.parametrize(
    ("fields", "texts", "schemas"),
    [
        (said("Hello", "there"), ["Hello", "there"], []),
        (said([WORDS, PICTURE, WORDS]), ["Hello", "Hello"], []),
        (said([PLAIN]), ["Hello"], []),
        (said([OF_TEXT]), ["Hello"], []),
        (said([OF_BLOCKS]), ["Hello"], []),
        (said([result(WORDS)]), ["Hello"], []),
        (said([{"type": "tool_result", "tool_use_id": "1", "content": "Hello"}]), ["Hello"], []),
        (said([CALL]), ["clock", '{"a": 1}'], []),
        (said([SIGNED]), ["Hello"], []),
        (said("🐢"), ["🐢"], []),
        ({"system": "Be kind."}, ["Be kind.", "Hello"], []),
        ({"system": [WORDS]}, ["Hello", "Hello"], []),
        ({"system": None}, ["Hello"], []),
        ({"tools": [TOOL]}, ["Hello"], [json.dumps([TOOL])]),
        ({"output_config": {}, "tool_choice": 5}, ["Hello"], ["{}", "5"]),
        ({"service_tier": "not read by the model"}, ["Hello"], []),
    ],
)
def test_text_is_measured_as_the_model_will_read_it(
    fields: dict[str, object], texts: list[str], schemas: list[str]
) -> None:
    payload = read(**fields)
    assert (payload.text, payload.schemas) == (measured(*texts), measured(*schemas))


@pytest.mark.parametrize(
    ("turns", "last"),
    [
        ([("user", "one")], "one"),
        ([("user", "one"), ("assistant", "two")], "one"),
        ([("user", "one"), ("user", [result(WORDS)])], "one"),
        ([("user", "one"), ("user", [result(), {"type": "text", "text": "two"}])], "two"),
        ([("user", [WORDS, PICTURE, WORDS])], "Hello\nHello"),
        ([("user", "one"), ("user", [PICTURE])], ""),
        ([("assistant", "one"), ("User", "two")], ""),
    ],
)
def test_the_last_turn_is_what_the_user_said_last(
    turns: list[tuple[str, object]], last: str
) -> None:
    assert read(messages=[{"role": r, "content": c} for r, c in turns]).last_turn == last


def test_parts_are_counted_wherever_they_stand() -> None:
    payload = read(**said([PICTURE, PDF], [result(PICTURE, OF_BLOCKS)]))
    assert payload.parts == {Feature.VISION: 3, Feature.DOCUMENTS: 2}
    assert payload.messages == 2


def test_the_plain_fields_are_read() -> None:
    payload = read(model="claude-x", stream=True, max_tokens=7, metadata={"user_id": "u", "n": 1})
    assert (payload.requested_model, payload.streaming) == ("claude-x", True)
    assert payload.output_tokens_max == 7
    assert payload.metadata == {"user_id": "u"}


def test_the_rest_is_the_payload_without_its_model() -> None:
    body = b'{ "model": "m", "max_tokens":1, "messages":[{"role":"user","content":"Hi"}] }\n'
    payload = anthropic.read(body)
    assert isinstance(payload, Payload)
    assert payload.rest == body.replace(b'"model": "m",', b"")[1:]


def test_to_ask_for_no_tokens_counts_as_one() -> None:
    assert read(max_tokens=0).output_tokens_max == 1


def test_a_count_needs_no_output_limit_and_demands_one_who_counts() -> None:
    body = json.dumps({"messages": HELLO}).encode()
    counted = anthropic.read_count(body)
    assert isinstance(counted, Payload)
    assert counted.output_tokens_max is None
    assert counted.demands == {Demand.COUNT}
    refusal = refusal_of(body)
    assert (refusal.status, refusal.param) == (400, "max_tokens")
    assert refusal.message == "The field `max_tokens` is required."


def test_fields_nobody_here_knows_are_let_through() -> None:
    fields = {"temperature": "hot", "stop_sequences": 5, "betas": {}, "context_management": []}
    assert read(**fields).features == set()


WRONG: list[tuple[str, Any]] = [
    ("messages", None),
    ("messages", []),
    ("messages", CANARY),
    ("messages", [CANARY]),
    ("messages", [{"content": CANARY}]),
    ("messages", [{"role": "user"}]),
    ("messages", [{"role": [CANARY], "content": ""}]),
    ("messages", [{"role": "user", "content": {CANARY: CANARY}}]),
    ("messages", [{"role": "user", "content": [{"text": CANARY}]}]),
    ("messages", [{"role": "user", "content": [{"type": "text", "text": [CANARY]}]}]),
    ("messages", [{"role": "user", "content": [result(CANARY)]}]),
    ("messages", [{"role": "user", "content": [{"type": "image", "source": {"type": [CANARY]}}]}]),
    ("system", {CANARY: CANARY}),
    ("system", [CANARY]),
    ("model", 5),
    ("stream", CANARY),
    ("max_tokens", CANARY),
    ("max_tokens", None),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("tools", CANARY),
    ("tools", [CANARY]),
    ("tools", [{"type": [CANARY]}]),
    ("thinking", CANARY),
    ("thinking", {"budget_tokens": CANARY}),
    ("output_config", [CANARY]),
    ("output_config", {"effort": [CANARY]}),
    ("output_config", {"format": CANARY}),
    ("output_format", CANARY),
    ("metadata", CANARY),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_a_400_that_names_it_and_quotes_nothing(field: str, value: object) -> None:
    refusal = refusal_of(body_of(**({"betas": CANARY} | {field: value})))
    assert (refusal.status, refusal.kind, refusal.code, refusal.param) == (
        *(400, "invalid_request", "invalid_value"),
        field,
    )
    assert f"`{field}`" in refusal.message
    assert CANARY not in refusal.message


TWICE = [
    '{"role":"user","content":"a","role":"assistant"}',
    '{"role":"user","content":"a","content":"b"}',
    '{"role":"user","content":[{"type":"text","text":"a","type":"image"}]}',
    '{"role":"user","\\u0072ole":"assistant","content":"a"}',
    '{"role":"user","content":[{"type":"tool_result","content":"a","content":"b"}]}',
    '{"role":"user","content":[{"type":"tool_result","content":[{"type":"a","type":"b"}]}]}',
    '{"role":"user","content":[{"type":"image","source":{"type":"base64","type":"url"}}]}',
    '{"role":"user","content":[{"type":"tool_use","input":{"type":1},"type":"text"}]}',
]
SPARSE = [
    json.dumps({"role": "user", "content": [block]})
    for block in (
        *(WORDS, PICTURE, OF_BLOCKS, result(PICTURE, WORDS), SEARCH),
        WORDS | {"cache_control": {"type": "ephemeral"}},
        CALL | {"input": {"content": 1, "type": {"type": 2}, "role": 3}},
        CALL | {"caller": {"type": "direct"}},
        {"type": "text", "text": 'Say "role", "content": "type"'},
    )
]


@given(st.lists(st.sampled_from([*SPARSE, *TWICE]), min_size=1, max_size=4))
@settings(deadline=None, max_examples=200, database=None)
def test_a_role_content_or_type_that_stands_twice_is_a_400(messages: list[str]) -> None:
    found = anthropic.read(f'{{"max_tokens":1,"messages":[{",".join(messages)}]}}'.encode())
    assert isinstance(found, Refusal) == bool({*messages} & {*TWICE})


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("system", '[{"type":"text","text":"a","type":"image"}]'),
        ("tools", '[{"name":"a","type":"custom","type":"bash"}]'),
        ("thinking", '{"type":"enabled","type":"disabled"}'),
        ("output_config", '{"effort":"low","effort":"high"}'),
        ("metadata", '{"task_type":"chat","task_type":"code"}'),
    ],
)
def test_what_else_routing_reads_may_not_stand_twice(field: str, written: str) -> None:
    body = f'{{"max_tokens":1,"messages":{json.dumps(HELLO)},"{field}":{written}}}'
    refusal = refusal_of(body.encode())
    assert (refusal.status, refusal.param) == (400, field)


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n"])
def test_an_empty_body_is_a_400_that_says_what_to_send(body: bytes) -> None:
    assert refusal_of(body) == anthropic.EMPTY_BODY


VALUES = anything(
    names=[
        *("role", "content", "type", "text", "source", "data"),
        *("input", "id", "name", "effort", "format"),
    ],
    leaves=["tool_result", "image"],
)
FIELDS = sorted({field for field, _ in WRONG} | {"container", "tool_choice"})


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4))
@settings(deadline=None, max_examples=150, database=None)
def test_whatever_the_fields_hold_is_read_or_refused_without_a_quote(
    fields: dict[str, object],
) -> None:
    body = body_of(**fields)
    check_read_or_refused(anthropic.read(body), body)


def test_nesting_without_end_is_refused() -> None:
    for depth in (200, 900, 20_000):
        nested = '[{"type":"tool_result","content":' * depth
        body = f'{{"max_tokens":1,"messages":[{{"role":"user","content":{nested}'.encode()
        whole = body + b'""' + b"}]" * depth + b"}]}"
        assert isinstance(anthropic.read(whole), Payload | Refusal)
        assert isinstance(anthropic.read(body), Refusal)


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_a_refusal_is_rendered_as_anthropic_renders_errors(status: int, type_: str) -> None:
    rendered = json.loads(anthropic.render_refusal(Refusal("k", status, "code", "żółw\n")))
    assert rendered == {
        "type": "error",
        "error": {"type": type_, "message": "żółw\n"},
        "request_id": None,
    }
    if type_ != "request_too_large":  # the SDK has no class for it
        assert ErrorResponse.model_validate(rendered).error.message == "żółw\n"


def test_models_are_listed_as_anthropics_sdk_reads_them() -> None:
    names = [ModelName("auto"), ModelName("claude-x")]
    listed = json.loads(anthropic.render_models([(name, ProviderName("p")) for name in names]))
    assert [ModelInfo.model_validate(model).id for model in listed["data"]] == names
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, *names)
    one = json.loads(anthropic.render_model(names[0], ProviderName("p")))
    assert one == listed["data"][0]


def test_a_list_of_no_models_has_no_first_and_last() -> None:
    listed = json.loads(anthropic.render_models([]))
    assert listed == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_a_count_is_rendered_as_anthropics_sdk_reads_it() -> None:
    rendered = json.loads(anthropic.render_token_count(12))
    assert MessageTokensCount.model_validate(rendered).input_tokens == 12


def history(*blocks: object) -> list[object]:
    return [*HELLO, {"role": "assistant", "content": [*blocks]}, *HELLO]


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"messages": history(UNSIGNED, WORDS)}, {"messages": history(WORDS)}),
        ({"messages": history(SIGNED, UNSIGNED)}, {"messages": history(SIGNED)}),
        ({"messages": history(UNSIGNED)}, {"messages": [*HELLO, *HELLO]}),
        ({"messages": history(SIGNED, WORDS)}, {}),
        (
            {"thinking": ON, "messages": history(UNSIGNED, CALL)},
            {"thinking": {"type": "disabled"}, "messages": history(CALL)},
        ),
        (
            {"thinking": {"type": "adaptive"}, "messages": history(UNSIGNED, CALL)},
            {"messages": history(CALL)},
        ),
        ({"thinking": ON, "messages": history(UNSIGNED, WORDS)}, {"messages": history(WORDS)}),
        ({"messages": 5}, {}),
        ({"messages": [{"role": "assistant", "content": [UNSIGNED]}]}, {}),
    ],
)
def test_unsigned_thinking_is_taken_out_and_nothing_else(
    fields: dict[str, object], changed: dict[str, object]
) -> None:
    whole = {"max_tokens": 9, "tools": [{"type": "web_search_20250305"}]} | fields | {"x": 1e2}
    rest = json.dumps(whole).encode()[1:]
    assert json.loads(b"{" + anthropic.without_unsigned(rest)) == whole | changed


@pytest.mark.parametrize(
    "rest",
    [b"", b"}", b"\xff", b'"messages":[{}]}', b'"messages":[{"content":[5]}]}', b'"messages":' * 9],
)
def test_what_cannot_be_read_is_left_as_it_is(rest: bytes) -> None:
    assert anthropic.without_unsigned(rest) == rest
