"""Azure OpenAI: OpenAI's APIs below a deployment, or below `/openai/v1`.

https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.stand_in.dialect import Dialect, Manners, Writer
from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai import chat, embeddings, responses
from extproc.stand_in.openai.manners import bears, error_object
from extproc.stand_in.question import Asked, Question

_GATEWAY_STATUSES = frozenset({401, 403, 404, 429})
"""Answered by the gateway before the model, whose errors have the status for a code."""


def _check_key(headers: Mapping[str, str]) -> None:
    if not (headers.get("api-key", "").strip() or bears(headers)):
        raise ApiError(
            401,
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription.",
        )


def _error(error: ApiError, _request_id: str) -> bytes:
    if error.status in _GATEWAY_STATUSES:
        body: Mapping[str, str | None] = {"code": str(error.status), "message": error.message}
    else:
        body = error_object(error)
    return msgspec.json.encode({"error": body})


def _check_version(asked: Asked) -> None:
    if not asked.query.get("api-version"):
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise ApiError(400, message, code="MissingApiVersionParameter")


def _read_chat(asked: Asked) -> tuple[Question, Writer]:
    """The deployment decides on the model, whatever the body says."""
    _check_version(asked)
    return chat.read(asked, filters=True)


def _read_embeddings(asked: Asked) -> tuple[Question, Writer]:
    _check_version(asked)
    return embeddings.read(asked)


def _read_v1_chat(asked: Asked) -> tuple[Question, Writer]:
    return chat.read(asked, filters=True)


AZURE = Manners(
    check_key=_check_key,
    request_headers=lambda request_id: {
        "apim-request-id": request_id,
        "x-request-id": request_id,
        "x-ms-region": "Sweden Central",
    },
    error=_error,
    limits="openai",
)
DEPLOYED_CHAT = Dialect(AZURE, _read_chat)
DEPLOYED_EMBEDDINGS = Dialect(AZURE, _read_embeddings)
V1_CHAT = Dialect(AZURE, _read_v1_chat)
V1_RESPONSES = Dialect(AZURE, responses.read)
