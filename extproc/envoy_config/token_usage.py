"""The filter that reads, of each answer, how many tokens it took and which model gave it.

Envoy parses the answer as it passes, JSON or stream, for every provider's convention; the result is
metadata for the access log. Of the filter `ai_protocol_manager` envoy-data-plane has the name only,
so what is needed of its messages is declared here, from the published field numbers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import betterproto2
from envoy_data_plane.envoy.extensions.filters.http.ai_protocol_manager import v3
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.message_pool import default_message_pool
from pydantic.dataclasses import dataclass

from extproc.access_log import USAGE_NAMESPACE
from extproc.envoy_config.extension import http_filter
from extproc.vocabulary import Surface

AI_PROTOCOL_MANAGER: Final = "envoy.filters.http.ai_protocol_manager"


class LlmProtocol(IntEnum):
    """Whose convention an answer follows: `envoy.type.ai.v3.LLMProtocol`."""

    OPENAI_CHAT_COMPLETIONS = 1
    OPENAI_RESPONSES = 2
    ANTHROPIC_MESSAGES = 3


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class TokenUsageExtraction(betterproto2.Message):
    include_unconfigured_routes: bool = betterproto2.field(1, betterproto2.TYPE_BOOL)
    default_llm_protocol: int = betterproto2.field(2, betterproto2.TYPE_INT32)
    metadata_namespace: str = betterproto2.field(3, betterproto2.TYPE_STRING)


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class ResponseHandling(betterproto2.Message):
    token_usage: TokenUsageExtraction | None = betterproto2.field(
        1, betterproto2.TYPE_MESSAGE, optional=True
    )


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class AiProtocolManager(betterproto2.Message):
    response_handling: ResponseHandling | None = betterproto2.field(
        2, betterproto2.TYPE_MESSAGE, optional=True
    )


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class ResponsePerRoute(betterproto2.Message):
    llm_protocol: int = betterproto2.field(1, betterproto2.TYPE_INT32)


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class AiProtocolManagerPerRoute(betterproto2.Message):
    response: ResponsePerRoute | None = betterproto2.field(
        2, betterproto2.TYPE_MESSAGE, optional=True
    )


# In the place of the empty message of that name.
_URL: Final = default_message_pool.type_to_url.pop(v3.AiProtocolManager)
default_message_pool.url_to_type[_URL] = AiProtocolManager
default_message_pool.type_to_url[AiProtocolManager] = _URL

default_message_pool.register_message(
    "envoy.extensions.filters.http.ai_protocol_manager.v3",
    "AiProtocolManagerPerRoute",
    AiProtocolManagerPerRoute,
)

_PROTOCOLS: Final = {
    Surface.RESPONSES: LlmProtocol.OPENAI_RESPONSES,
    Surface.MESSAGES: LlmProtocol.ANTHROPIC_MESSAGES,
}
"""Of those APIs whose convention is not chat's."""


def token_usage_of(surface: Surface) -> dict[str, Any]:
    """What the route of an API must say to the filter, by the filter's name."""
    protocol = _PROTOCOLS.get(surface)
    if protocol is None:
        return {}
    per_route = AiProtocolManagerPerRoute(response=ResponsePerRoute(llm_protocol=protocol))
    return {AI_PROTOCOL_MANAGER: Any.pack(per_route)}


def token_usage_filter() -> HttpFilter:
    return http_filter(
        AI_PROTOCOL_MANAGER,
        AiProtocolManager(
            response_handling=ResponseHandling(
                token_usage=TokenUsageExtraction(
                    include_unconfigured_routes=True,
                    default_llm_protocol=LlmProtocol.OPENAI_CHAT_COMPLETIONS,
                    metadata_namespace=USAGE_NAMESPACE,
                )
            )
        ),
    )
