"""A conversation that goes from one dialect into another and back still says the same.

What is allowed to change is written out here, and nowhere else: see docs/dialects.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from configs import HOME
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.conversation import Conversation
from extproc.dialects.payload import Payload
from extproc.dialects.registry import CLIENTS, PROVIDERS
from extproc.vocabulary import Api, Model, ModelName, Surface, Target, TargetId, UpstreamModel

BILINGUAL = replace(HOME, endpoints={Surface.CHAT: "/chat", Surface.MESSAGES: "/messages"})
CLAUDE = Target(
    TargetId("anthropic/claude"),
    BILINGUAL,
    Model(ModelName("claude"), 200_000, {}, output_tokens_max=64_000),
    UpstreamModel("claude-sonnet-4-5"),
)
GPT = Target(
    TargetId("openai/gpt"), BILINGUAL, Model(ModelName("gpt"), 128_000, {}), UpstreamModel("gpt-4o")
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PNG = "data:image/png;base64,iVBORw0KGgo="


def translated(body: bytes, reads: Surface, writes: Api, target: Target) -> bytes:
    """A client's payload as a provider of another API gets it."""
    client = CLIENTS[reads].translated
    assert client is not None
    wording = PROVIDERS[writes].write_request(client.read_request(body), target)
    return wording.prefix.encode() + wording.rest


def conversation_of(body: bytes, surface: Surface) -> Conversation:
    client = CLIENTS[surface].translated
    assert client is not None
    return client.read_request(body)


words = st.text('abc żółw🐢"\\\n{}', min_size=1, max_size=20).filter(str.strip)
arguments = st.dictionaries(st.sampled_from(["city", "n"]), words | st.integers(), max_size=2)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    """A payload of OpenAI chat completions that every API has a counterpart for."""
    turns: list[Any] = []
    if draw(st.booleans()):
        turns.append({"role": "system", "content": draw(words)})
    for turn in range(draw(st.integers(1, 3))):
        said: Any = draw(words)
        if draw(st.booleans()):
            said = [
                {"type": "text", "text": said},
                {"type": "image_url", "image_url": {"url": PNG}},
            ]
        turns.append({"role": "user", "content": said})
        calls = [
            {
                "id": f"call_{turn}_{number}",
                "type": "function",
                "function": {"name": draw(st.sampled_from(["weather", "time"])), "arguments": text},
            }
            for number, text in enumerate(draw(st.lists(arguments.map(json.dumps), max_size=2)))
        ]
        if calls:
            turns.append({"role": "assistant", "content": draw(words), "tool_calls": calls})
            turns += [
                {"role": "tool", "tool_call_id": call["id"], "content": draw(words)}
                for call in calls
            ]
        turns.append({"role": "assistant", "content": draw(words)})
    turns.append({"role": "user", "content": draw(words)})
    asked: dict[str, Any] = {"model": "m", "messages": turns, "stream": draw(st.booleans())}
    asked["tools"] = [
        {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
        for name in ("weather", "time")
    ]
    if draw(st.booleans()):
        asked["temperature"] = draw(st.sampled_from([0.0, 0.5, 1.0]))
    if draw(st.booleans()):
        asked["stop"] = draw(st.lists(st.sampled_from(["END", "###"]), min_size=1, max_size=2))
    if draw(st.booleans()):
        asked["max_completion_tokens"] = draw(st.integers(1, 4000))
    choice = draw(st.sampled_from([None, "auto", "required", "none"]))
    if choice:
        asked["tool_choice"] = choice
    return asked


def meaning(conversation: Conversation) -> dict[str, Any]:
    """What must survive: who said what, with which calls and results, and how to answer.

    `auto` is what no choice means as well.
    """
    choice = conversation.tool_choice
    return {
        "system": [text.text for text in conversation.system],
        "messages": [(message.role, message.parts) for message in conversation.messages],
        "tools": [(tool.name, json.loads(tool.parameters or "{}")) for tool in conversation.tools],
        "choice": None if choice and choice.mode == "auto" else choice,
        "stop": conversation.stop,
        "temperature": conversation.temperature,
        "stream": conversation.stream,
    }


@given(chats())
@settings(deadline=None, max_examples=150, database=None)
def test_from_openai_to_anthropic_and_back(asked: dict[str, Any]) -> None:
    body = json.dumps(asked).encode()
    there = translated(body, Surface.CHAT, Api.ANTHROPIC, CLAUDE)
    back = translated(there, Surface.MESSAGES, Api.OPENAI, GPT)
    before = conversation_of(body, Surface.CHAT)
    after = conversation_of(back, Surface.CHAT)
    assert meaning(after) == meaning(before)
    # Anthropic wants a limit in every request: the model's own, if the client set none.
    assert after.output_tokens_max == (before.output_tokens_max or 64_000)


@given(chats(), st.sampled_from([Surface.CHAT, Surface.MESSAGES]))
@settings(deadline=None, max_examples=60, database=None)
def test_what_is_written_for_a_provider_is_what_a_client_of_it_could_have_written(
    asked: dict[str, Any], surface: Surface
) -> None:
    """So routing reads it too, and finds in it what it found in the original."""
    body = json.dumps(asked).encode()
    api, target = {
        Surface.CHAT: (Api.OPENAI, GPT),
        Surface.MESSAGES: (Api.ANTHROPIC, CLAUDE),
    }[surface]
    original = CLIENTS[Surface.CHAT].read(body)
    written = CLIENTS[surface].read(translated(body, Surface.CHAT, api, target))
    assert isinstance(original, Payload)
    assert isinstance(written, Payload)
    assert written.features == original.features
    assert written.streaming == original.streaming
    assert written.parts == original.parts
    assert written.last_turn == original.last_turn


@pytest.mark.parametrize("api", PROVIDERS)
@given(asked=chats())
@settings(deadline=None, max_examples=40, database=None)
def test_the_same_conversation_is_written_the_same(api: Api, asked: dict[str, Any]) -> None:
    body = json.dumps(asked).encode()
    target = CLAUDE if api is Api.ANTHROPIC else GPT
    once = translated(body, Surface.CHAT, api, target)
    assert once == translated(body, Surface.CHAT, api, target)
    json.loads(once)
