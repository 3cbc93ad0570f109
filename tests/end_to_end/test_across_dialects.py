"""What happens between dialects when things go wrong, or go on over several turns."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from itertools import permutations
from typing import Any, Final

import anthropic
import httpx
import openai
import pytest
from data_plane import DataPlane, eventually
from dialects import MODELS, PIXEL, says
from sdk_clients import CLIENTS, Client, Question

PATHS: Final = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
HELLO: Final = "Hello, who are you?"
BODIES: Final[Mapping[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": HELLO}]},
    "responses": {"input": HELLO},
    "messages": {"messages": [{"role": "user", "content": HELLO}], "max_tokens": 999},
}
# The model whose provider speaks the client's API itself.
NATIVE: Final = {"chat": "gpt", "responses": "gpt", "messages": "claude"}
FOREIGN: Final = {"chat": "claude", "responses": "gemini", "messages": "gpt"}


def is_native(surface: str, model: str) -> bool:
    return model == NATIVE[surface] or (surface, model) == ("chat", "deployment")


every_client = pytest.mark.parametrize("surface", PATHS)
every_model = pytest.mark.parametrize("model", MODELS)
as_json_and_stream = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
SDK_ERRORS: Final = (openai.APIError, anthropic.APIError, httpx.TransportError)


@pytest.fixture(scope="module")
def running(native_plane: DataPlane) -> DataPlane:
    return native_plane


@pytest.fixture
def sdk(plane: DataPlane, surface: str) -> Client:
    return CLIENTS[surface](plane.base_url)


def record_of(plane: DataPlane, decision: str) -> dict[str, Any]:
    """The record of a decision, with its outcome once that is known."""

    def found() -> list[dict[str, Any]]:
        return [one for one in plane.decisions(50) if one["id"] == decision and one["outcome"]]

    eventually(found, "the outcome")
    return found()[0]


def asked(
    client: httpx.Client, surface: str, headers: Mapping[str, str] | None = None, **fields: object
) -> httpx.Response:
    return client.post(PATHS[surface], json={**BODIES[surface], **fields}, headers=headers)


# Another dialect's turn


@every_client
@as_json_and_stream
@pytest.mark.parametrize("order", list(permutations(MODELS, 2)), ids=" then ".join)
def test_a_fallback_may_speak_another_dialect(
    plane: DataPlane,
    client: httpx.Client,
    surface: str,
    order: tuple[str, str],
    stream: bool,  # noqa: FBT001
) -> None:
    first, second = order
    plane.fault(MODELS[first][0], status=503)
    answer = asked(client, surface, {"x-order": f"{first} {second}"}, stream=stream)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-router-target"] == f"{MODELS[second][0]}/{second}"
    assert answer.headers["x-router-attempts"] == "2"
    if stream:
        assert answer.headers["content-type"].startswith("text/event-stream")
    else:
        assert says(second) in answer.text
        assert answer.headers["content-type"] == "application/json"
    kinds = [seen.provider for seen in plane.seen()]
    assert kinds == sorted([MODELS[first][0], MODELS[second][0]], key=kinds.index)


@every_client
def test_an_image_reaches_a_fallback_of_another_dialect_whole(
    plane: DataPlane, sdk: Client, surface: str
) -> None:
    plane.fault(MODELS[FOREIGN[surface]][0], status=503)
    order = f"{FOREIGN[surface]} claude-aws"
    sdk_with_order = CLIENTS[surface](plane.base_url)
    sdk_with_order.sdk = sdk.sdk.with_options(default_headers={"x-order": order})  # type: ignore[attr-defined]
    told = sdk_with_order.ask("auto", Question("What is this?", image=PIXEL), stream=False)
    assert told.text == f"{says('claude-aws')} I see 1 image (image/png, {len(PIXEL)} bytes)."


# Errors


@every_client
@every_model
@pytest.mark.parametrize("status", [400, 401, 429, 503])
def test_a_providers_error_is_told_in_the_clients_dialect_with_its_status(
    plane: DataPlane, client: httpx.Client, surface: str, model: str, status: int
) -> None:
    plane.fault(MODELS[model][0], status=status)
    answer = asked(client, surface, model=model)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["message"] == f"The stand-in was told to answer {status}."
    if is_native(surface, model):
        return  # passed on as it is
    if surface == "messages":
        assert answer.json()["type"] == "error"
        kinds = {400: "invalid_request_error", 401: "authentication_error"}
        kinds |= {429: "rate_limit_error"}
        assert error["type"] == kinds.get(status, error["type"])
    else:
        assert error.keys() >= {"message", "type", "param", "code"}


@every_client
@every_model
def test_an_answer_that_envoy_makes_itself_is_in_the_clients_dialect(
    plane: DataPlane, client: httpx.Client, surface: str, model: str
) -> None:
    plane.fault(MODELS[model][0], reset="before_headers")
    answer = asked(client, surface, model=model)
    assert answer.status_code == 503
    if surface == "messages":
        assert answer.json().keys() == {"type", "error", "request_id"}
        assert answer.json()["error"].keys() == {"type", "message"}
    else:
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@every_client
@every_model
def test_a_stream_that_errs_midway_ends_with_an_error_event_and_is_truncated(
    plane: DataPlane, client: httpx.Client, sdk: Client, surface: str, model: str
) -> None:
    plane.fault(MODELS[model][0], error_mid_stream=True)
    if is_native(surface, model):
        return  # passed on as it is
    with pytest.raises(SDK_ERRORS):
        sdk.ask(model, Question("Hello"), stream=True)
    answer = asked(client, surface, model=model, stream=True)
    assert '"error"' in answer.text
    assert "[DONE]" not in answer.text
    outcome = record_of(plane, answer.headers["x-router-decision"])["outcome"]
    assert outcome["ending"] == "truncated"


@every_client
@every_model
def test_a_translated_stream_that_just_ends_is_no_clean_end(
    plane: DataPlane, client: httpx.Client, sdk: Client, surface: str, model: str
) -> None:
    if is_native(surface, model):
        return  # passed on as it is, whatever it is
    plane.fault(MODELS[model][0], end_mid_stream=True)
    with pytest.raises(SDK_ERRORS):
        sdk.ask(model, Question("Hello"), stream=True)
    answer = asked(client, surface, model=model, stream=True)
    assert "broke off" in answer.text
    outcome = record_of(plane, answer.headers["x-router-decision"])["outcome"]
    assert outcome["ending"] == "truncated"


@every_client
def test_a_connection_that_breaks_midway_breaks_the_clients_and_is_truncated(
    plane: DataPlane, client: httpx.Client, surface: str
) -> None:
    plane.fault(MODELS[FOREIGN[surface]][0], reset="mid_stream")
    body = {**BODIES[surface], "model": FOREIGN[surface], "stream": True}
    with (
        contextlib.suppress(httpx.RemoteProtocolError),
        client.stream("POST", PATHS[surface], json=body) as broken,
    ):
        broken.read()
    outcome = record_of(plane, broken.headers["x-router-decision"])["outcome"]
    assert outcome["ending"] == "truncated"


@every_client
def test_an_answer_that_breaks_off_before_it_is_whole_is_a_502(
    plane: DataPlane, client: httpx.Client, surface: str
) -> None:
    plane.fault(MODELS[FOREIGN[surface]][0], reset="mid_stream")
    answer = asked(client, surface, model=FOREIGN[surface])
    assert answer.status_code == 502
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("surface", "model", "name"),
    [
        ("chat", "claude", "x-ratelimit-remaining-requests"),
        ("responses", "claude", "x-ratelimit-remaining-requests"),
        ("messages", "gpt", "anthropic-ratelimit-requests-remaining"),
    ],
)
def test_limits_are_told_in_the_clients_words(
    plane: DataPlane, client: httpx.Client, surface: str, model: str, name: str
) -> None:
    plane.fault(MODELS[model][0], requests_per_minute=500)
    for left in ("499", "498"):
        answer = asked(client, surface, model=model)
        assert answer.headers[name] == left


# What is told of tokens


@every_client
@every_model
@as_json_and_stream
def test_the_record_has_the_usage_that_the_provider_reported(
    plane: DataPlane,
    client: httpx.Client,
    surface: str,
    model: str,
    stream: bool,  # noqa: FBT001
) -> None:
    provider, upstream = MODELS[model]
    plane.fault(provider, cached_tokens=2, reasoning_tokens=30)
    more: dict[str, Any] = {}
    if surface == "chat" and stream:
        more["stream_options"] = {"include_usage": True}
    answer = asked(client, surface, model=model, stream=stream, **more)
    outcome = record_of(plane, answer.headers["x-router-decision"])["outcome"]
    usage = outcome["usage"]
    assert usage["input_tokens"] > 2
    assert usage["cache_read_tokens"] == 2
    assert usage["output_tokens"] == 30 + -(-len(says(model)) // 4)
    assert outcome["reported_model"] == upstream
    assert "estimated" not in outcome
    assert "ending" not in outcome


# Several turns


@every_client
def test_a_conversation_wanders_from_provider_to_provider(
    plane: DataPlane, sdk: Client, surface: str
) -> None:
    question = Question("Call everything", tools=True)
    for asked_first, asked_then in permutations(MODELS, 2):
        told = sdk.ask(asked_first, question, stream=False)
        after = sdk.report(asked_then, question, told, stream=True)
        assert "time says 21 degrees" in after.text, (asked_first, asked_then)


@pytest.mark.parametrize("model", ["gpt", "gemini"])
def test_an_agent_that_speaks_only_anthropics_api_runs_on_any_model(
    plane: DataPlane, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", plane.base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "anything")
    turns: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    tools: list[Any] = [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]
    with anthropic.Anthropic(max_retries=0) as agent:
        for _ in range(5):
            answer = agent.messages.create(
                model=model, max_tokens=1000, messages=turns, tools=tools
            )
            turns.append({"role": "assistant", "content": answer.content})
            calls = [block for block in answer.content if block.type == "tool_use"]
            if answer.stop_reason != "tool_use":
                break
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
                for call in calls
            ]
            turns.append({"role": "user", "content": results})
    assert len(turns) == 4
    assert "was told" in turns[-1]["content"][0].text


@pytest.mark.parametrize("model", ["claude", "claude-aws", "gemini"])
def test_an_agent_that_speaks_only_openais_api_runs_on_any_model(
    plane: DataPlane, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{plane.base_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "anything")
    turns: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    weather = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools: list[Any] = [{"type": "function", "function": weather}]
    with openai.OpenAI(max_retries=0) as agent:
        for _ in range(5):
            (choice,) = agent.chat.completions.create(
                model=model, messages=turns, tools=tools
            ).choices
            turns.append(choice.message)
            if choice.finish_reason != "tool_calls":
                break
            turns += [
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
                for call in choice.message.tool_calls or ()
            ]
    assert len(turns) == 4
    assert "was told" in turns[-1].content


def test_thinking_that_claude_signed_goes_back_to_a_claude_and_nowhere_else(
    plane: DataPlane, client: httpx.Client
) -> None:
    thinks = {"type": "enabled", "budget_tokens": 1024}
    for model in ("claude", "claude-aws"):
        first = asked(client, "messages", model=model, max_tokens=4000, thinking=thinks).json()
        turns = [
            *BODIES["messages"]["messages"],
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": "Go on"},
        ]
        for other in ("claude", "claude-aws"):
            again = asked(client, "messages", model=other, max_tokens=4000, messages=turns)
            assert again.status_code == 200, (model, other, again.text)
        refused = asked(client, "messages", model="gpt", messages=turns)
        assert refused.status_code == 422
        record = record_of(plane, refused.headers["x-router-decision"])
        assert record["history"] == {"bound_by": ["bound_thinking"], "policy": "pin"}
        assert {one["reason"] for one in record["rejected"]} == {"capability"}


def test_thinking_that_nobody_signed_is_not_sent_to_anthropic(
    plane: DataPlane, client: httpx.Client
) -> None:
    thinks = {"type": "enabled", "budget_tokens": 1024}
    first = asked(client, "messages", model="gemini", max_tokens=4000, thinking=thinks).json()
    assert first["content"][0]["type"] == "thinking"
    turns = [
        *BODIES["messages"]["messages"],
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": "Go on"},
    ]
    again = asked(client, "messages", model="claude", max_tokens=4000, messages=turns)
    assert again.status_code == 200, again.text
    assert b"think about" not in plane.seen("anthropic")[-1].body


# The same dialect at both ends


@every_client
def test_what_a_native_provider_gets_is_what_the_client_wrote(
    plane: DataPlane, client: httpx.Client, surface: str
) -> None:
    written = json.dumps({"model": NATIVE[surface], **BODIES[surface], "user_note": 1})
    written = written.replace('"user_note": 1', '"metadata" : {  "user_id" :"\u00e9" }')
    betas = {"anthropic-beta": "one,two", "openai-beta": "three"}
    answer = client.post(PATHS[surface], content=written, headers=betas)
    assert answer.status_code == 200, answer.text
    (seen,) = plane.seen()
    assert seen.body.decode().endswith(written.partition(",")[2].strip())
    assert seen.headers.get("anthropic-beta") == ("one,two" if surface == "messages" else None)
    assert seen.headers.get("openai-beta") == (None if surface == "messages" else "three")


@every_client
def test_no_byte_of_a_native_answer_goes_through_the_router(
    plane: DataPlane, client: httpx.Client, surface: str
) -> None:
    """At most its head is sent before Envoy hears that the router has heard enough."""

    def sent() -> int:
        return plane.stat("http.llm.ext_proc.stream_msgs_sent")

    before = sent()
    for _ in range(5):
        asked(client, surface, model=NATIVE[surface], stream=True)
    assert 2 * 5 <= sent() - before <= 3 * 5
    before = sent()
    asked(client, surface, model=FOREIGN[surface], stream=True)
    assert sent() - before > 3


# The rest of the surfaces


def test_tokens_are_counted_by_who_can_or_else_estimated(
    plane: DataPlane, client: httpx.Client
) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 400}]}
    path = "/v1/messages/count_tokens"
    by_claude = client.post(path, json={**body, "model": "claude"})
    assert by_claude.json()["input_tokens"] > 0
    assert by_claude.headers["x-router-target"] == "anthropic/claude"
    (seen,) = plane.seen()
    assert seen.path.endswith("/v1/messages/count_tokens")
    plane.reset()
    estimated = client.post(path, json={**body, "model": "gpt"})
    assert 300 < estimated.json()["input_tokens"] < 600
    assert not plane.seen()
    record = record_of(plane, estimated.headers["x-router-decision"])
    assert record["chain"] == []
    assert "estimate" in record["why"]
    assert record["outcome"]["status"] == 200


def test_embeddings_go_to_a_model_that_embeds(plane: DataPlane, client: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{plane.base_url}/v1", api_key="x", max_retries=0) as sdk:
        found = sdk.embeddings.create(model="embedder", input=["one", "two"])
    assert [len(one.embedding) for one in found.data] == [1536, 1536]
    (seen,) = plane.seen()
    assert seen.path.endswith("/v1/embeddings")
    refused = client.post("/v1/embeddings", json={"model": "gpt", "input": "x"})
    assert refused.status_code == 422
    refused = asked(client, "chat", model="embedder")
    assert refused.status_code == 422


def test_the_list_of_models_is_in_the_clients_shape(plane: DataPlane) -> None:
    with anthropic.Anthropic(base_url=plane.base_url, api_key="x") as sdk:
        assert {"auto", *MODELS} <= {model.id for model in sdk.models.list()}
        assert sdk.models.retrieve("gpt").id == "gpt"
    with openai.OpenAI(base_url=f"{plane.base_url}/v1", api_key="x") as openai_sdk:
        assert {"auto", *MODELS} <= {model.id for model in openai_sdk.models.list()}


@every_client
def test_refusals_are_in_the_clients_dialect(
    plane: DataPlane, client: httpx.Client, surface: str
) -> None:
    unknown = asked(client, surface, model="nobody")
    assert unknown.status_code == 404
    broken = client.post(PATHS[surface], content=b"{")
    assert broken.status_code == 400
    for answer in (unknown, broken):
        is_anthropics = answer.json().get("type") == "error"
        assert is_anthropics == (surface == "messages")
    assert "embedder" in unknown.text
