"""Routing configs for tests, compiled as the product compiles them, and requests to decide on."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from extproc.config import Compiled, compile_config, read_config
from extproc.dialects import openai_chat
from extproc.dialects.payload import Payload
from extproc.feature import Feature
from extproc.policy.estimate import input_tokens
from extproc.policy.request import Request
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.text.tokens import Family
from extproc.vocabulary import (
    Decision,
    Model,
    ModelName,
    Provider,
    ProviderName,
    Target,
    TargetId,
    UpstreamModel,
)

SEED_FILE = Path(__file__).resolve().parent.parent / "config/seed.yaml"
SEED = SEED_FILE.read_text("utf-8")

KEYS = {
    "ANTHROPIC_API_KEY": "secret-of-anthropic",
    "OPENAI_API_KEY": "secret-of-openai",
    "GEMINI_API_KEY": "secret-of-google",
}

CATCH_ALL = "\nroutes: [{match: {default: true}, model: gpt-4o}]\n"

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def compiled(text: str, env: Mapping[str, str] = KEYS) -> Compiled:
    return compile_config(read_config(text, env), env)


def snapshot_of(text: str, env: Mapping[str, str] = KEYS) -> Snapshot:
    return compiled(text, env).snapshot


def body_of(**fields: object) -> bytes:
    """A chat payload of these fields; a greeting, unless `messages` says otherwise."""
    return json.dumps({"messages": HELLO} | fields).encode()


FEWEST_TOKENS = 7
"""What a message without text is estimated at."""


@cache
def asking_tokens(tokens: int) -> list[Any]:
    """Messages that are estimated at exactly so many tokens, for a family that is not known."""
    for messages in (
        _asking(words, spaces) for words in _words_for(tokens) for spaces in range(40)
    ):
        if tokens_of(messages) == tokens:
            return messages
    raise AssertionError(f"{tokens} tokens: say at least {FEWEST_TOKENS}")


def tokens_of(messages: list[Any], family: Family = Family.DEFAULT) -> int:
    return input_tokens(payload_of(messages=messages), family, EMPTY_VIEW)


def _words_for(tokens: int) -> list[int]:
    a_thousand = tokens_of(_asking(1000, 0)) - FEWEST_TOKENS
    words = max(0, tokens - FEWEST_TOKENS) * 1000 // a_thousand
    return [max(0, words - 2), words]


def _asking(words: int, spaces: int) -> list[Any]:
    """Of many short texts, since only a sample of a long one is looked at."""
    texts = ["word " * min(1000, words - said) for said in range(0, words, 1000)]
    content = [{"type": "text", "text": text} for text in [*texts, " " * spaces]]
    return [{"role": "user", "content": content}]


def payload_of(**fields: object) -> Payload:
    payload = openai_chat.read(body_of(**fields))
    assert isinstance(payload, Payload), payload
    return payload


def request_of(
    headers: Mapping[str, str] | None = None, *, path: str = CHAT, **fields: object
) -> Request:
    return Request(path, headers or {}, payload_of(**fields))


def chain_of(decision: Decision) -> list[str]:
    assert not decision.refusal, decision.refusal
    return [candidate.target.id for candidate in decision.chain]


HOME = Provider(
    name=ProviderName("home"),
    host="127.0.0.1",
    port=80,
    tls=False,
    base_path="/v1",
    credential_header="authorization",
    credential_prefix="Bearer ",
    has_credential=False,
    headers=(),
)


def target(
    name: str, window: int | None = 1000, capabilities: Mapping[Feature, bool] | None = None
) -> Target:
    model = Model(ModelName(name), window, capabilities or {})
    return Target(TargetId(f"home/{name}"), HOME, model, UpstreamModel(name))
