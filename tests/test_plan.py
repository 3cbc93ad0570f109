"""What Envoy is told of a decision: which body each target is sent, where, and with what beside."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from configs import CHAT, HELLO, body_of, snapshot_of

from extproc.dialects import anthropic, surface_of
from extproc.dialects.conversation import UnreadableError
from extproc.dialects.payload import model_prefix
from extproc.dialects.registry import CLIENTS, PROVIDERS
from extproc.exchange import read_and_decide
from extproc.plan import Forward, Step, forward
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import Reason, Surface, Target, TargetId

NOW, DRAW = 1_767_225_600.0, 7
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
RESPONSES, EMBEDDINGS = "/v1/responses", "/v1/embeddings"

# Each model is at one place but for those of OpenAI, which may stand in one chain.
WORLD = """
providers:
  openai: { baseUrl: http://openai.test/v1 }
  plain:  { baseUrl: http://plain.test/v1 }
  azure:  { baseUrl: http://azure.test, apiVersion: "2024-06-01 preview" }
  azure1: { preset: azure, baseUrl: http://azure.test/openai/v1 }
  claude: { api: anthropic, baseUrl: http://claude.test }
  google: { baseUrl: http://google.test/v1beta }
  bedrock: { baseUrl: http://bedrock.test }
models:
  gpt:     { targets: [{provider: openai, upstreamModel: gpt-4o}], contextWindow: 90000 }
  llama:   { targets: [{provider: plain, upstreamModel: "org/l\\"7\\""}], contextWindow: 90000 }
  deployed: { targets: [{provider: azure, upstreamModel: our/gpt 4}], contextWindow: 90000 }
  hosted:  { targets: [{provider: azure1, upstreamModel: gpt-4o}], contextWindow: 90000 }
  sonnet:  { targets: [{provider: claude, upstreamModel: claude-sonnet-4-5}],
             contextWindow: 90000, maxOutputTokens: 4000 }
  haiku:   { targets: [{provider: claude, upstreamModel: claude-haiku-4-5}],
             contextWindow: 90000, maxOutputTokens: 4000 }
  flash:   { targets: [{provider: google, upstreamModel: gemini-2.5-flash}], contextWindow: 90000 }
  flash2:  { targets: [{provider: google, upstreamModel: gemini-2.0-flash}], contextWindow: 90000 }
  nova:    { targets: [{provider: bedrock, upstreamModel: "amazon.nova-pro-v1:0"}],
             contextWindow: 90000 }
boundHistory: strip
maxAttempts: 4
unknownCapability: allow
routes:
"""
NAMES = ("gpt", "llama", "deployed", "hosted", "sonnet", "haiku", "flash", "flash2", "nova")


@cache
def world(*models: str) -> Snapshot:
    """The world, and one route to these models in their order."""
    return snapshot_of(
        f"{WORLD}  - {{match: {{default: true}}, candidates: [{', '.join(models)}]}}\n"
    )


def forwarded(
    body: bytes, *models: str, path: str = CHAT, headers: Mapping[str, str] | None = None
) -> Forward:
    snapshot, surface = world(*models), surface_of(path)
    assert surface
    decision, request = read_and_decide(
        *(path, headers or {}, body, snapshot, EMPTY_VIEW), now=NOW, draw=DRAW, surface=surface
    )
    assert request, decision.refusal
    assert [c.target.model.name for c in decision.chain] == [*models], decision.rejected
    return forward(decision, request, body, snapshot)


def target(name: str) -> Target:
    return world(name).models[name][0]


def gets(sent: Forward, step: Step) -> bytes:
    """The body that Envoy sends at this step, as `rewrite.lua` makes it."""
    if step.carried:
        return sent.bodies[step.target]
    if step.prefix is not None:
        return step.prefix.encode() + sent.body[sent.plan.prefix_bytes :]
    return sent.body


def all_get(sent: Forward) -> dict[str, bytes]:
    return {step.target: gets(sent, step) for step in sent.chain}


ASKED = {
    CHAT: b'{ "messages":[{"role":"user","content":"Hell\\u00f3"}] ,"later":[1e2 ]}\n',
    RESPONSES: b'{ "input":"Hell\\u00f3" ,"later":[1e2 ]}\n',
    EMBEDDINGS: b'{ "input":"Hell\\u00f3" ,"later":[1e2 ]}\n',
    MESSAGES: b'{ "max_tokens":9,"messages":[{"role":"user","content":"Hell\\u00f3"}] ,"x":1e2 }',
    COUNT: b'{ "messages":[{"role":"user","content":"Hell\\u00f3"}] ,"later":[1e2 ]}\n',
}

NATIVE = {
    (CHAT, "gpt"): "/chat/completions",
    (CHAT, "llama"): "/chat/completions",
    (CHAT, "hosted"): "/chat/completions",
    (CHAT, "deployed"): (
        "/openai/deployments/our%2Fgpt%204/chat/completions?api-version=2024-06-01%20preview"
    ),
    (RESPONSES, "gpt"): "/responses",
    (RESPONSES, "hosted"): "/responses",
    (EMBEDDINGS, "gpt"): "/embeddings",
    (EMBEDDINGS, "llama"): "/embeddings",
    (EMBEDDINGS, "hosted"): "/embeddings",
    (EMBEDDINGS, "deployed"): (
        "/openai/deployments/our%2Fgpt%204/embeddings?api-version=2024-06-01%20preview"
    ),
    (MESSAGES, "sonnet"): "/messages",
    (COUNT, "sonnet"): "/messages/count_tokens",
}
"""Who speaks the API of a path, and where."""

OTHERS = [
    (path, model)
    for path in (CHAT, RESPONSES, MESSAGES)
    for model in NAMES
    if (path, model) not in NATIVE and model != "haiku"
]


# One target

VERSION = (("anthropic-version", "2023-06-01"),)
"""What is said to Anthropic where its client says nothing."""


@pytest.mark.parametrize(("path", "model"), NATIVE)
def test_who_speaks_the_clients_api_gets_its_bytes_under_the_own_model(
    path: str, model: str
) -> None:
    for named in (b"{", b'{"model":"%b", ' % model.encode()):
        body = named + ASKED[path][1:]
        sent = forwarded(body, model, path=path)
        (step,) = sent.chain
        prefix = model_prefix(target(model).upstream_model).encode()
        rest = sent.body.removeprefix(prefix)
        assert sent.body == prefix + rest
        assert rest.lstrip() == ASKED[path][1:].lstrip()
        assert sent.plan.prefix_bytes == len(prefix)
        assert step.endpoint == NATIVE[path, model]
        assert (step.prefix, step.carried) == (None, False)
        assert step.headers == (VERSION if "claude" in step.target else ())
        assert (sent.bodies, sent.translated) == ({}, {})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "model"), OTHERS)
def test_who_speaks_another_gets_what_its_dialect_makes_of_the_request(
    path: str, model: str, *, stream: bool
) -> None:
    body = ASKED[path].replace(b"{", b'{"stream":%b,' % json.dumps(stream).encode(), 1)
    sent = forwarded(body, model, path=path)
    one, (step,) = target(model), sent.chain
    client = CLIENTS[surface_of(path) or Surface.CHAT].translated
    assert client
    wording = PROVIDERS[one.provider.api].write_request(client.read_request(body), one)
    assert sent.body == wording.prefix.encode() + wording.rest
    assert "Helló" in json.dumps(json.loads(sent.body), ensure_ascii=False)
    assert b"later" not in sent.body
    assert sent.plan.prefix_bytes == len(wording.prefix)
    assert sent.translated == {step.target: one}
    assert (sent.bodies, step.prefix, step.carried) == ({}, None, False)


@pytest.mark.parametrize(
    ("path", "model", "stream", "endpoint"),
    [
        (MESSAGES, "gpt", False, "/chat/completions"),
        (
            *(MESSAGES, "deployed", True),
            "/openai/deployments/our%2Fgpt%204/chat/completions?api-version=2024-06-01%20preview",
        ),
        (RESPONSES, "llama", False, "/chat/completions"),
        (CHAT, "sonnet", False, "/messages"),
        (CHAT, "sonnet", True, "/messages"),
        (CHAT, "flash", False, "/models/gemini-2.5-flash:generateContent"),
        (CHAT, "flash", True, "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        (CHAT, "nova", False, "/model/amazon.nova-pro-v1%3A0/converse"),
        (CHAT, "nova", True, "/model/amazon.nova-pro-v1%3A0/converse-stream"),
    ],
)
def test_a_translated_request_goes_where_the_providers_own_api_is(
    path: str, model: str, endpoint: str, *, stream: bool
) -> None:
    body = ASKED[path].replace(b"{", b'{"stream":%b,' % json.dumps(stream).encode(), 1)
    (step,) = forwarded(body, model, path=path).chain
    assert step.endpoint == endpoint


# Several targets


def test_targets_of_the_clients_dialect_share_its_bytes_but_for_the_head() -> None:
    sent = forwarded(ASKED[CHAT], "gpt", "llama", "hosted")
    first, second, third = sent.chain
    assert (first.prefix, second.prefix, third.prefix) == (
        None,
        '{"model":"org/l\\"7\\"",',
        None,  # it has the first one's name
    )
    rest = ASKED[CHAT][1:]
    for name, body in all_get(sent).items():
        upstream = world("gpt", "llama", "hosted").targets[TargetId(name)].upstream_model
        assert body == model_prefix(upstream).encode() + rest
    assert sent.bodies == {}


@pytest.mark.parametrize(
    ("path", "models"),
    [
        (MESSAGES, ("gpt", "deployed", "hosted")),
        (CHAT, ("sonnet", "haiku")),
        (RESPONSES, ("llama", "deployed")),
        (MESSAGES, ("flash", "flash2")),
    ],
)
def test_targets_of_one_other_dialect_share_the_translated_bytes(
    path: str, models: tuple[str, ...]
) -> None:
    sent = forwarded(ASKED[path], *models, path=path)
    assert sent.bodies == {}
    assert not any(step.carried for step in sent.chain)
    for step, model in zip(sent.chain, models, strict=True):
        alone = forwarded(ASKED[path], model, path=path)
        assert gets(sent, step) == alone.body
        assert step.endpoint == alone.chain[0].endpoint


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("first", NAMES)
def test_every_target_of_a_chain_is_sent_what_it_would_be_sent_alone(path: str, first: str) -> None:
    others = [name for name in NAMES if name != first]
    for chain in ((first, *others[:3]), (first, *others[3:6]), (first, *others[5:])):
        sent = forwarded(ASKED[path], *chain, path=path)
        alone = {name: forwarded(ASKED[path], name, path=path) for name in chain}
        for step, name in zip(sent.chain, chain, strict=True):
            (only,) = alone[name].chain
            assert gets(sent, step) == alone[name].body
            assert step._replace(guard="", prefix=None, carried=False) == only._replace(guard="")
        assert sent.translated.keys() == {name for one in alone.values() for name in one.translated}
        assert sent.bodies.keys() == {step.target for step in sent.chain if step.carried}
        assert not any(step.carried and step.prefix for step in sent.chain)


def test_a_target_that_names_the_limit_otherwise_has_its_own_body() -> None:
    sent = forwarded(ASKED[MESSAGES], "gpt", "llama", path=MESSAGES)
    bodies = {name: json.loads(body) for name, body in all_get(sent).items()}
    assert bodies["openai/gpt"]["max_completion_tokens"] == 9
    assert bodies["plain/llama"]["max_tokens"] == 9
    assert sent.bodies.keys() == {"plain/llama"}


def test_a_target_of_another_dialect_has_its_own_body_beside_the_first() -> None:
    sent = forwarded(ASKED[CHAT], "gpt", "sonnet", "llama", "flash")
    by_name = {step.target: step for step in sent.chain}
    assert [step.carried for step in sent.chain] == [False, True, False, True]
    assert by_name[TargetId("plain/llama")].prefix
    assert sent.bodies.keys() == {"claude/sonnet", "google/flash"}
    assert json.loads(sent.bodies[TargetId("claude/sonnet")])["model"] == "claude-sonnet-4-5"
    assert "model" not in json.loads(sent.bodies[TargetId("google/flash")])
    assert sent.translated.keys() == {"claude/sonnet", "google/flash"}


def test_the_length_and_the_type_are_those_of_the_body_that_is_sent() -> None:
    for models in (("gpt", "sonnet"), ("sonnet", "gpt"), ("nova",)):
        sent = forwarded(ASKED[CHAT], *models)
        assert sent.headers == {
            "content-length": str(len(sent.body)),
            "content-type": "application/json",
            "x-envoy-max-retries": str(len(models) - 1),
        }


# Beside the body


def test_a_client_of_openais_says_its_betas_to_those_with_its_api_only() -> None:
    headers = {"openai-beta": "a=v1", "anthropic-dangerous-direct-browser-access": "true"}
    sent = forwarded(ASKED[CHAT], "gpt", "sonnet", "nova", path=CHAT, headers=headers)
    assert {step.target: step.headers for step in sent.chain} == {
        "openai/gpt": (("openai-beta", "a=v1"),),
        "claude/sonnet": VERSION,
        "bedrock/nova": (),
    }
    sent = forwarded(ASKED[MESSAGES], "gpt", "sonnet", path=MESSAGES, headers=headers)
    assert {step.target: step.headers for step in sent.chain} == {
        "openai/gpt": (),
        "claude/sonnet": (*VERSION, ("anthropic-dangerous-direct-browser-access", "true")),
    }


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
def test_what_a_client_of_anthropics_says_beside_the_payload_goes_to_anthropics_only(
    path: str,
) -> None:
    headers = {
        "anthropic-beta": "a-2025-01-01,b-2025-02-02",
        "anthropic-version": "2026-10-21",
        "x-other": "z",
    }
    sent = forwarded(ASKED[path], "sonnet", "gpt", "haiku", "nova", path=path, headers=headers)
    told = (
        ("anthropic-version", "2026-10-21"),
        ("anthropic-beta", "a-2025-01-01,b-2025-02-02"),
    )
    beta = told if path == MESSAGES else VERSION
    assert {step.target: step.headers for step in sent.chain} == {
        "claude/sonnet": beta,
        "openai/gpt": (),
        "claude/haiku": beta,
        "bedrock/nova": (),
    }
    assert "anthropic-beta" not in sent.headers
    without = forwarded(ASKED[path], "sonnet", "gpt", "haiku", "nova", path=path)
    assert {step.headers for step in without.chain} == {VERSION, ()}


# History


def thought(signature: str | None) -> dict[str, object]:
    told: dict[str, object] = {"type": "thinking", "thinking": "Canary thinks."}
    return told | ({"signature": signature} if signature is not None else {})


def turns(*blocks: object) -> list[Any]:
    return [*HELLO, {"role": "assistant", "content": [*blocks, {"type": "text", "text": "Hi"}]}]


@pytest.mark.parametrize(("path", "more"), [(MESSAGES, {"max_tokens": 9}), (COUNT, {})])
@pytest.mark.parametrize("signature", [None, ""])
def test_thinking_that_nobody_signed_is_taken_out_for_anthropic(
    path: str, more: dict[str, object], signature: str | None
) -> None:
    messages = [*turns(thought(signature), thought("c2ln")), *HELLO]
    sent = forwarded(body_of(messages=messages, **more), "sonnet", path=path)
    assert json.loads(sent.body) == {
        "model": "claude-sonnet-4-5",
        "messages": [*turns(thought("c2ln")), *HELLO],
        **more,
    }
    assert sent.headers["content-length"] == str(len(sent.body))


def test_thinking_that_was_signed_stays_byte_for_byte() -> None:
    messages = [*turns(thought("c2ln")), *HELLO]
    body = body_of(messages=messages, max_tokens=9)
    sent = forwarded(body, "sonnet", path=MESSAGES)
    assert sent.body == b'{"model":"claude-sonnet-4-5",' + body[1:]


def test_two_targets_of_anthropics_share_the_body_that_thinking_was_taken_out_of() -> None:
    body = body_of(messages=[*turns(thought(None)), *HELLO], max_tokens=9)
    sent = forwarded(body, "sonnet", "haiku", path=MESSAGES)
    assert sent.bodies == {}
    first, second = all_get(sent).values()
    assert json.loads(second) == json.loads(first) | {"model": "claude-haiku-4-5"}
    assert b"Canary" not in first


def test_thinking_of_others_is_taken_out_for_openais_responses() -> None:
    ours: dict[str, object] = {"type": "reasoning", "id": "rs_01ABC_0", "summary": []}
    said = {"type": "message", "role": "user", "content": "Hello"}
    body = json.dumps({"input": [said, ours, said]}).encode()
    sent = forwarded(body, "gpt", path=RESPONSES)
    assert json.loads(sent.body) == {"model": "gpt-4o", "input": [said, said]}


# What can't be translated

UNREADABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown role": (
        *(CHAT, {"messages": [{"role": "wizard", "content": "Hi"}]}),
        "messages[0].role",
    ),
    "arguments that are no object": (
        CHAT,
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "f", "arguments": "[1"},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "x"},
            ]
        },
        "messages[1].tool_calls[0].function.arguments",
    ),
    "a result of no call": (
        *(CHAT, {"messages": [*HELLO, {"role": "tool", "content": "x"}]}),
        "messages[1].tool_call_id",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_only_translation_finds_unreadable_passes_where_none_is_needed(name: str) -> None:
    path, fields, param = UNREADABLE[name]
    body = body_of(**fields)
    assert forwarded(body, "gpt", path=path).body.endswith(body[1:])
    for models in (("sonnet",), ("gpt", "sonnet"), ("flash", "gpt")):
        with pytest.raises(UnreadableError) as caught:
            forwarded(body, *models, path=path)
        assert caught.value.param == param


def pictured(media_type: str) -> bytes:
    url = f"data:{media_type};base64,AAAA"
    part = {"type": "image_url", "image_url": {"url": url}}
    return body_of(messages=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize(
    ("media_type", "models", "kept"),
    [
        ("image/svg+xml", ("gpt", "sonnet", "flash"), ["gpt"]),
        ("image/svg+xml", ("sonnet", "gpt"), ["gpt"]),
        ("image/gif", ("flash", "sonnet", "nova"), ["sonnet", "nova"]),
        ("image/heic", ("sonnet", "flash"), ["flash"]),
        ("image/jpg", ("sonnet", "flash", "nova"), ["sonnet", "flash", "nova"]),
    ],
)
def test_who_does_not_take_what_a_request_holds_is_left_out(
    media_type: str, models: tuple[str, ...], kept: list[str]
) -> None:
    sent = forwarded(pictured(media_type), *models)
    assert [step.target.rpartition("/")[2] for step in sent.chain] == kept
    assert sent.headers["x-envoy-max-retries"] == str(len(kept) - 1)
    decision = sent.decision
    assert decision
    assert [candidate.target.id for candidate in decision.chain] == [s.target for s in sent.chain]
    left = {rejection.target.rpartition("/")[2]: rejection for rejection in decision.rejected}
    assert {*left} == {*models} - {*kept}
    for rejection in left.values():
        assert rejection.reason is Reason.CAPABILITY
        assert rejection.detail.startswith(f"holds an image of type {media_type}, which its API `")
    assert ("does not take what it holds" in decision.why) is (models[0] not in kept)


def test_what_nobody_takes_is_refused_by_name() -> None:
    with pytest.raises(UnreadableError) as caught:
        forwarded(pictured("image/svg+xml"), "sonnet", "flash", "nova")
    assert str(caught.value) == (
        "The field `messages` holds an image of type image/svg+xml,"
        " which the API `anthropic` does not take."
    )


def test_a_conversation_is_read_once_however_many_targets_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialect = CLIENTS[Surface.MESSAGES]
    assert dialect.translated
    times = 0

    def read_request(body: bytes) -> Any:  # noqa: ANN401  a Conversation
        nonlocal times
        times += 1
        return anthropic.read_request(body)

    translated = replace(dialect.translated, read_request=read_request)
    monkeypatch.setitem(CLIENTS, Surface.MESSAGES, replace(dialect, translated=translated))
    forwarded(ASKED[MESSAGES], "gpt", "sonnet", "flash", "nova", path=MESSAGES)
    assert times == 1
    forwarded(ASKED[MESSAGES], "sonnet", "haiku", path=MESSAGES)
    assert times == 1
