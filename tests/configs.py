"""Routing configs for tests, compiled as the product compiles them, and requests to decide on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extproc.config import Compiled, compile_config, read_config
from extproc.dialects import openai_chat
from extproc.dialects.payload import Payload
from extproc.policy.request import Request
from extproc.snapshot import Snapshot
from extproc.vocabulary import Decision, Refusal

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


def asking_tokens(tokens: int) -> list[Any]:
    """Messages that are estimated at exactly so many tokens: four ASCII characters each."""
    return [{"role": "user", "content": "word" * tokens}]


def request_of(
    headers: Mapping[str, str] | None = None, *, path: str = CHAT, **fields: object
) -> Request:
    payload = openai_chat.read(body_of(**fields))
    assert isinstance(payload, Payload), payload
    return Request(path, headers or {}, payload)


def chain_of(decision: Decision | Refusal) -> list[str]:
    assert isinstance(decision, Decision), decision
    return [target.id for target in decision.chain]
