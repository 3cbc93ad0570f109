"""The answers that Envoy makes itself, worded for the clients of an LLM API.

Two kinds of answers must pass as they are: those of a provider, which are no local replies, and
those of our own service (ext_proc's ImmediateResponse), which are. What tells all of them apart is
the response code details: Envoy gives each of its own replies a cause there, and leaves them empty
for our service, which must not set any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.google.protobuf import Struct

from extproc.envoy_config.clusters import UNROUTED
from extproc.envoy_config.extension import cel_filter
from extproc.envoy_config.route import route_name
from extproc.vocabulary import Surface

if TYPE_CHECKING:
    from collections.abc import Callable

    from extproc.snapshot import Snapshot

_OURS: Final = 'response.code_details == ""'

_ANTHROPICS: Final = (Surface.MESSAGES, Surface.COUNT_TOKENS)
_OPENAIS: Final = tuple([surface for surface in Surface if surface not in _ANTHROPICS])

_LOOKS_ANTHROPIC: Final = (
    "'anthropic-version' in request.headers || request.url_path.matches('/v1/messages(/|$)')"
)

_INVALID: Final = "invalid_request_error"
_SERVER: Final = "server_error"


@dataclass(frozen=True, slots=True)
class LocalReply:
    """`when` is a CEL expression over the attributes of a finished request."""

    when: str
    kind: str
    code: str
    message: str


def _details(*prefixes: str) -> str:
    return " || ".join(f'response.code_details.startsWith("{prefix}")' for prefix in prefixes)


def table(body_bytes_max: int) -> tuple[LocalReply, ...]:
    """The first row that holds decides; the last two hold for anything."""
    return (
        LocalReply(
            "response.code == 413",
            _INVALID,
            "request_too_large",
            f"The request body is larger than the limit of {body_bytes_max} bytes.",
        ),
        LocalReply(
            _details("ext_proc_error_per-message_timeout_exceeded"),
            _SERVER,
            "router_timeout",
            "The router did not decide in time where to send this request.",
        ),
        LocalReply(
            f'{_details("ext_proc_")} || xds.cluster_name == "{UNROUTED}" && response.code == 503',
            _SERVER,
            "router_unavailable",
            "The router is not available to decide where to send this request.",
        ),
        LocalReply(
            f"{_details('upstream_per_try_timeout', 'response_timeout')} || response.code == 504",
            _SERVER,
            "upstream_timeout",
            "No provider began to answer in time.",
        ),
        LocalReply(
            _details("upstream_reset_before_response_started", "no_healthy_upstream"),
            _SERVER,
            "upstream_unavailable",
            "No provider for this request is available.",
        ),
        LocalReply(
            _details("direct_response", "route_not_found"),
            _INVALID,
            "unknown_url",
            "There is no such path here.",
        ),
        LocalReply(
            "response.code == 408",
            _INVALID,
            "request_timeout",
            "The request did not arrive in time.",
        ),
        LocalReply(
            "response.code == 400",
            _INVALID,
            "malformed_request",
            "The request is not well-formed HTTP.",
        ),
        LocalReply(
            "response.code < 500",
            _INVALID,
            "request_not_accepted",
            "The proxy does not accept this request.",
        ),
        LocalReply(
            "true",
            _SERVER,
            "proxy_error",
            "The proxy could not complete this request.",
        ),
    )


def local_replies(snapshot: Snapshot) -> LocalReplyConfig:
    rows = table(snapshot.body_bytes_max)
    return LocalReplyConfig(
        mappers=[
            ResponseMapper(filter=cel_filter(_OURS)),  # the first that holds ends the search
            *(
                ResponseMapper(
                    filter=cel_filter(f"({whose}) && ({row.when})"), body_format_override=shape(row)
                )
                for whose, shape in _clients()
                for row in rows
            ),
        ]
    )


def _clients() -> tuple[tuple[str, Callable[[LocalReply], SubstitutionFormatString]], ...]:
    """Whose reply it is, and its shape: by the route, where there is one.

    The path will not do: an attempt at a provider of another dialect has put its own in the place
    of the client's.
    """
    of_anthropics, of_openais = (
        f"xds.route_name in {[route_name(surface) for surface in surfaces]}"
        for surfaces in (_ANTHROPICS, _OPENAIS)
    )
    return (
        (of_anthropics, _anthropic),
        (of_openais, _openai),
        (_LOOKS_ANTHROPIC, _anthropic),
        ("true", _openai),
    )


_ANTHROPIC_TYPES: Final = {
    "request_too_large": "request_too_large",
    "unknown_url": "not_found_error",
    "router_timeout": "timeout_error",
    "upstream_timeout": "timeout_error",
}
"""Those of errors whose kind does not say it."""


def _anthropic(reply: LocalReply) -> SubstitutionFormatString:
    otherwise = {_INVALID: "invalid_request_error", _SERVER: "api_error"}[reply.kind]
    error = {"type": _ANTHROPIC_TYPES.get(reply.code, otherwise), "message": reply.message}
    told = {"type": "error", "error": error, "request_id": None}
    return SubstitutionFormatString(json_format=Struct.from_dict(told))


def _openai(reply: LocalReply) -> SubstitutionFormatString:
    return SubstitutionFormatString(
        json_format=Struct.from_dict(
            {
                "error": {
                    "message": reply.message,
                    "type": reply.kind,
                    "param": None,
                    "code": reply.code,
                }
            }
        )
    )
