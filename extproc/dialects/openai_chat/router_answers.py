"""How the router itself answers a client of OpenAI's APIs: errors and the list of models."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from extproc.vocabulary import ModelName, ProviderName, Refusal


def render_refusal(refusal: Refusal) -> bytes:
    """The error body that OpenAI's SDKs read."""
    error = {
        "message": refusal.message,
        "type": "server_error" if refusal.status >= 500 else "invalid_request_error",
        "param": refusal.param,
        "code": refusal.code,
    }
    return msgspec.json.encode({"error": error})


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
