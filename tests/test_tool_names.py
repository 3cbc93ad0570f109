"""Names of tools that are longer than most APIs let them be."""

from dataclasses import replace

import pytest
from configs import HOME, target

from extproc.config.presets import PRESETS
from extproc.dialects.conversation import Conversation, Message, NotTakenError, Role, Text, Tool
from extproc.dialects.registry import PROVIDERS
from extproc.vocabulary import Surface, Target

ENDPOINTS = {Surface.CHAT: "/chat/completions", Surface.MESSAGES: "/messages"}


def asking(name: str) -> Conversation:
    return Conversation((), (Message(Role.USER, (Text("a"),)),), tools=(Tool(name),))


def at(preset: str) -> Target:
    facts = PRESETS[preset]
    return replace(
        target("m"),
        provider=replace(HOME, api=facts.api, chat_form=facts.chat_form, endpoints=ENDPOINTS),
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_who_takes_no_long_name_is_not_asked(preset: str) -> None:
    to = at(preset)
    write = PROVIDERS[to.provider.api].write_request
    write(asking("n" * 64), to)
    if preset in {"anthropic", "together", "openrouter", "ollama", "vllm"}:
        assert b'"' + b"n" * 65 + b'"' in write(asking("n" * 65), to).rest
        return
    with pytest.raises(NotTakenError, match="a tool name of more than 64 characters") as caught:
        write(asking("n" * 65), to)
    assert caught.value.param == "tools"
