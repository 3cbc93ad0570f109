"""A finished request in the words of OpenTelemetry's GenAI semantic conventions.

Source: open-telemetry/semantic-conventions-genai, "Semantic conventions for generative client AI
spans" and "… metrics" (status: development). The span is that of a call to a
model *with all its retries*, as the conventions ask, so it is one for each request. What they have
no name for is called `extproc.…`. Never a prompt, an answer or a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.outcome import Ending, Finished, Outcome, Usage

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
ROUTER: Final = "extproc"
"""Who is asked, where nobody else is: the router refused by itself."""

TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  not that kind of token
DURATION: Final = "gen_ai.client.operation.duration"
TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105  nor this
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  nor this

# The boundaries that the conventions ask for.
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
DURATION_BUCKETS_S: Final = tuple(round(0.01 * 2**power, 2) for power in range(14))
FIRST_TOKEN_BUCKETS_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)

# Presets whose well-known name is another than ours; a provider of one's own keeps its own.
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
}

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a span and as metric attributes; `error` is its `error.type`, if it failed.

    `common` is for metrics: nothing in it that a client or a provider says.
    """

    name: str
    attributes: Attributes
    common: Attributes
    error: str | None


def call_of(finished: Finished) -> Call:
    record, outcome = finished.record, finished.outcome
    link = _served(record, outcome)
    error = error_type(outcome)
    operation = _operation(record)
    provider = link["provider"] if link else ROUTER
    common = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": link and link["upstream_model"],
        "error.type": error,
    }
    task = record.get("task") or {}
    told = {
        **common,
        "gen_ai.response.model": outcome.reported_model,
        **(_usage(outcome.usage) if outcome.usage and not outcome.usage_estimated else {}),
        "http.response.status_code": outcome.status or None,
        "extproc.decision.id": record.get("id"),
        "extproc.route": record.get("route"),
        "extproc.app": record.get("app"),
        "extproc.task": task.get("type"),
        "extproc.target": outcome.target,
        "extproc.requested_model": record.get("requested_model"),
        "extproc.attempts": outcome.attempts,
        "extproc.cost_usd": outcome.cost_usd,
    }
    name = f"{operation} {link['upstream_model']}" if link else operation
    return Call(name, _known(told), _known(common), error)


def _operation(record: Mapping[str, Any]) -> str:
    """Of all that is asked of models, only embeddings are expected to say nothing."""
    estimate = record.get("estimate")
    says_nothing = estimate and not estimate["output_tokens"] and not record.get("counting")
    return EMBEDDINGS if says_nothing else CHAT


def error_type(outcome: Outcome) -> str | None:
    """How the answer ended if not in full, else its status from 400 on."""
    if outcome.ending is not Ending.COMPLETE:
        return outcome.ending.value
    return f"{outcome.status}" if outcome.status >= 400 else None


def _usage(usage: Usage) -> dict[str, int | None]:
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or None,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
    }


def _served(record: Mapping[str, Any], outcome: Outcome) -> Mapping[str, str] | None:
    """The link of the chain that answered, or the first where none did."""
    chain = record.get("chain") or ()
    return next((link for link in chain if link["target"] == outcome.target), None) or next(
        iter(chain), None
    )


def _known(attributes: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
