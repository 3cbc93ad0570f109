"""How the router itself answers a client of OpenAI's APIs: errors and the list of models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from extproc.vocabulary import ModelName, ProviderName, Refusal

_NO_QUOTA: Final = "insufficient_quota"
"""A type and a code of OpenAI's."""


def render_refusal(refusal: Refusal) -> bytes:
    """The error body that OpenAI's SDKs read."""
    error = {
        "message": refusal.message,
        "type": _type(refusal),
        "param": refusal.param,
        "code": refusal.code,
    }
    return msgspec.json.encode({"error": error})


def _type(refusal: Refusal) -> str:
    if refusal.status >= 500:
        return "server_error"
    if refusal.code == _NO_QUOTA:
        return _NO_QUOTA
    return "requests" if refusal.kind == "rate_limited" else "invalid_request_error"


def render_model(name: ModelName, owner: ProviderName) -> bytes:
    """The answer to GET /v1/models/{model}."""
    return msgspec.json.encode(_model(name, owner))


def render_models(models: Iterable[tuple[ModelName, ProviderName]]) -> bytes:
    """The answer to GET /v1/models."""
    data = [_model(name, owner) for name, owner in models]
    return msgspec.json.encode({"object": "list", "data": data})


def _model(name: ModelName, owner: ProviderName) -> dict[str, str | int]:
    # `created` is required by the schema; when a model was made is not known here.
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
