"""How the router itself answers a client of Anthropic's API: models and counts of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from extproc.vocabulary import ModelName, ProviderName

_UNKNOWN_DATE: Final = "1970-01-01T00:00:00Z"


def render_model(name: ModelName, owner: ProviderName) -> bytes:
    """The answer to GET /v1/models/{model}."""
    return msgspec.json.encode(_model(name, owner))


def render_models(models: Iterable[tuple[ModelName, ProviderName]]) -> bytes:
    """The answer to GET /v1/models: one page of all."""
    data = [_model(name, owner) for name, owner in models]
    return msgspec.json.encode(
        {
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


def render_token_count(tokens: int) -> bytes:
    """The answer to POST /v1/messages/count_tokens."""
    return msgspec.json.encode({"input_tokens": tokens})


def _model(name: ModelName, _: ProviderName) -> dict[str, str]:
    # When a model was made is not known here; the schema has an epoch value stand for that.
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": _UNKNOWN_DATE,
        "lifecycle": "active",
    }
