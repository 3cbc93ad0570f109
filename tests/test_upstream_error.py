"""What a provider's error is called, whichever API told it."""

import json
from collections.abc import Callable

import pytest

from extproc.dialects.registry import CLIENTS, PROVIDERS
from extproc.dialects.upstream_error import upstream_error
from extproc.vocabulary import Api, Surface

SAID: dict[Api, Callable[[str], object]] = {
    Api.OPENAI: lambda words: {"error": {"message": words, "type": "x", "code": None}},
    Api.AZURE: lambda words: {"error": {"message": words, "code": "400"}},
    Api.ANTHROPIC: lambda words: {"type": "error", "error": {"type": "x_error", "message": words}},
    Api.GEMINI: lambda words: {"error": {"code": 1, "message": words, "status": "X_X"}},
    Api.BEDROCK: lambda words: {"message": words, "__type": "a#XException"},
}


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    ("status", "words", "type_", "code"),
    [
        (400, "No.", "invalid_request_error", "invalid_request"),
        (401, "No.", "invalid_request_error", "invalid_api_key"),
        (402, "No.", "insufficient_quota", "insufficient_quota"),
        (403, "No.", "invalid_request_error", "permission_denied"),
        (404, "No.", "invalid_request_error", "not_found"),
        (404, "model: claude-9", "invalid_request_error", "model_not_found"),
        (404, "models/x is not found", "invalid_request_error", "model_not_found"),
        (413, "No.", "invalid_request_error", "request_too_large"),
        (429, "No.", "requests", "rate_limit_exceeded"),
        (500, "No.", "server_error", "upstream_error"),
        (503, "No.", "server_error", "server_is_overloaded"),
        (529, "No.", "server_error", "server_is_overloaded"),
    ],
)
def test_a_client_of_openais_hears_openais_words(
    api: Api, status: int, words: str, type_: str, code: str
) -> None:
    refusal = PROVIDERS[api].read_error(status, json.dumps(SAID[api](words)).encode())
    for surface in (Surface.CHAT, Surface.RESPONSES):
        error = json.loads(CLIENTS[surface].answers.refusal(refusal))["error"]
        assert error == {"message": words, "type": type_, "param": None, "code": code}


@pytest.mark.parametrize("api", Api)
@pytest.mark.parametrize(
    "words",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Input is too long for requested model.",
        "Too many input tokens.",
        "This model's maximum context length is 4096 tokens. However, you requested 5000.",
        "Prompt is too large for model with 32768 maximum context length",
        "Your input exceeds the context window of this model.",
    ],
)
def test_a_prompt_too_long_is_called_so_for_those_who_shorten_it_then(api: Api, words: str) -> None:
    for status in (400, 413):
        refusal = PROVIDERS[api].read_error(status, json.dumps(SAID[api](words)).encode())
        assert (refusal.kind, refusal.code) == ("invalid_request", "context_length_exceeded")
    error = json.loads(CLIENTS[Surface.MESSAGES].answers.refusal(upstream_error(400, words)))
    assert error["error"] == {"type": "invalid_request_error", "message": words}


@pytest.mark.parametrize("status", [429, 500])
def test_not_every_word_of_context_is_one_of_length(status: int) -> None:
    assert upstream_error(status, "maximum context length").code != "context_length_exceeded"
    assert upstream_error(400, "The context window is closed.").code == "invalid_request"


@pytest.mark.parametrize("code", ["3280", "a b", "", "x" * 65])
def test_a_code_is_an_identifier(code: str) -> None:
    assert upstream_error(400, "No.", code).code == "invalid_request"
    assert upstream_error(400, "No.", "tool_use_failed").code == "tool_use_failed"
