"""Which dialect is spoken where, below a provider's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.stand_in import anthropic, azure, bedrock, gemini, openai
from extproc.stand_in.dialect import Dialect, Manners
from extproc.stand_in.openai.manners import OPENAI

_DEPLOYMENT = "/openai/deployments/{model:[^/]+}"
_GEMINI = "/v1beta/models/{model:[^/:]+}"
_BEDROCK = "/model/{model:[^/]+}"

ENDPOINTS: Final[Mapping[str, Dialect]] = {
    "/v1/chat/completions": openai.CHAT,
    "/v1/responses": openai.RESPONSES,
    "/v1/embeddings": openai.EMBEDDINGS,
    "/v1/messages": anthropic.MESSAGES,
    "/v1/messages/count_tokens": anthropic.COUNT_TOKENS,
    f"{_GEMINI}:generateContent": gemini.GENERATE,
    f"{_GEMINI}:streamGenerateContent": gemini.STREAM_GENERATE,
    f"{_BEDROCK}/converse": bedrock.CONVERSE,
    f"{_BEDROCK}/converse-stream": bedrock.CONVERSE_STREAM,
    f"{_DEPLOYMENT}/chat/completions": azure.DEPLOYED_CHAT,
    f"{_DEPLOYMENT}/embeddings": azure.DEPLOYED_EMBEDDINGS,
    "/openai/v1/chat/completions": azure.V1_CHAT,
    "/openai/v1/responses": azure.V1_RESPONSES,
}

_SIGNS: Final[Mapping[str, Manners]] = {
    "/v1/messages": anthropic.ANTHROPIC,
    "/v1beta/": gemini.GEMINI,
    "/model/": bedrock.BEDROCK,
    "/openai/": azure.AZURE,
}


def manners_at(path: str, query: Mapping[str, str]) -> Manners:
    """How errors are told at this path, whether or not something is there."""
    below = path[path.find("/", 1) :]
    if below.endswith(":streamGenerateContent") and query.get("alt") != "sse":
        return gemini.GEMINI_ARRAY
    return next((one for sign, one in _SIGNS.items() if below.startswith(sign)), OPENAI)
