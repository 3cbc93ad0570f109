"""Which requests are the router's business, and what becomes of them after the decision."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    RetryPolicy,
    RetryPolicyRetryBackOff,
    Route,
    RouteAction,
    RouteActionUpgradeConfig,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.ext_proc.v3 import ExtProcPerRoute
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher
from envoy_data_plane.google.protobuf import Any

from extproc.dialects import MODELS_PATH, PATHS
from extproc.envoy_config.clusters import PASSTHROUGH, UNROUTED, passthrough_origin
from extproc.envoy_config.extension import set_header
from extproc.envoy_config.priority_group import chain_specifier
from extproc.envoy_config.token_usage import token_usage_of
from extproc.envoy_config.upstream import METADATA_NAMESPACE
from extproc.outcome import MODEL_FAILED
from extproc.snapshot import PLAN_NAMESPACE

if TYPE_CHECKING:
    from extproc.envoy_config.rendering import Json
    from extproc.snapshot import Passthrough, Snapshot
    from extproc.vocabulary import Surface

EXT_PROC: Final = "envoy.filters.http.ext_proc"

REWRITE_BYTES_MAX: Final = 64 * 1024
"""How much longer a body may become by naming a model in it.

Envoy keeps a body for its retries in the same buffer: one that outgrows it loses them silently.
"""

BUFFER_BYTES_MIN: Final = 4 * 1024 * 1024
"""An answer to be translated is held in a buffer of this size, too. One that fills it before the
router has replied to its head is never read on, nor refused: it waits for a timeout.
"""

IDLE_S: Final = 300.0
"""The longest silence in an answer: reasoning models pause for minutes between two events."""

NEVER: Final = timedelta(0)

_LLM: Final = "llm-"

RESPONSE_HEADERS: Final = {
    "x-router-decision": f"%DYNAMIC_METADATA({PLAN_NAMESPACE}:decision)%",
    "x-router-route": f"%DYNAMIC_METADATA({PLAN_NAMESPACE}:route)%",
    "x-router-target": f"%UPSTREAM_METADATA({METADATA_NAMESPACE}:target)%",
    "x-router-model": f"%UPSTREAM_METADATA({METADATA_NAMESPACE}:model)%",
    "x-router-attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}
"""What the client is told. Target and model name what served, not what was decided first."""

_NO_EXT_PROC: Final = {EXT_PROC: Any.pack(ExtProcPerRoute(disabled=True))}


def idle_timeout(snapshot: Snapshot) -> timedelta:
    """Attempts that wait for a first byte are silence too, and a retry does not end it."""
    overrides = [p.first_byte_timeout_s or 0.0 for p in snapshot.providers.values()]
    longest_attempt_s = max([snapshot.first_byte_timeout_s, *overrides])
    return timedelta(seconds=max(IDLE_S, snapshot.max_attempts * longest_attempt_s + 30.0))


def body_buffer_bytes(snapshot: Snapshot) -> int:
    """Where Envoy itself answers 413; the exact limit is for the service to enforce."""
    return max(BUFFER_BYTES_MIN, snapshot.body_bytes_max + REWRITE_BYTES_MAX)


def route_configuration(snapshot: Snapshot) -> RouteConfiguration:
    everything_else = _passthrough(snapshot.passthrough) if snapshot.passthrough else _unknown_url()
    return RouteConfiguration(
        name="llm",
        virtual_hosts=[
            VirtualHost(
                name="llm",
                domains=["*"],
                routes=[
                    *(_llm(snapshot, surface, path) for surface, path in PATHS.items()),
                    _llm(snapshot, None, MODELS_PATH.pattern),
                    everything_else,
                ],
                include_request_attempt_count=True,  # the per-attempt log reads it
                request_body_buffer_limit=body_buffer_bytes(snapshot),
            )
        ],
    )


def is_llm(route: Json) -> bool:
    """Whether it is one that the router is asked about."""
    name: str = route["name"]
    return name.startswith(_LLM)


def route_name(surface: Surface | None) -> str:
    """That of an API's route, or of the list of models."""
    return f"{_LLM}{surface or 'models'}"


def _llm(snapshot: Snapshot, surface: Surface | None, path: str) -> Route:
    return Route(
        name=route_name(surface),
        match=RouteMatch(safe_regex=RegexMatcher(regex=path)),
        typed_per_filter_config=token_usage_of(surface) if surface else {},
        route=RouteAction(
            inline_cluster_specifier_plugin=chain_specifier(default_cluster=UNROUTED),
            timeout=NEVER,  # the default of 15 s covers the whole answer and would cut streams
            idle_timeout=idle_timeout(snapshot),
            retry_policy=_retry_policy(snapshot),
        ),
        response_headers_to_add=[set_header(*header) for header in RESPONSE_HEADERS.items()],
    )


def _retry_policy(snapshot: Snapshot) -> RetryPolicy:
    """The client's own mistakes are final: another provider would say the same.

    The number of retries is an upper bound; the decision sets the exact one for its chain.
    """
    return RetryPolicy(
        retry_on="5xx,reset,connect-failure,refused-stream,retriable-status-codes",
        retriable_status_codes=[429, MODEL_FAILED],
        num_retries=snapshot.max_attempts - 1,
        # Ends with the first byte of the answer, so it is the limit on the time to that byte.
        per_try_timeout=timedelta(seconds=snapshot.first_byte_timeout_s),
        refresh_cluster_on_retry=True,
        # The next attempt is at another provider: there is nobody to spare. Nor is a failed one
        # logged before the next begins, and the sooner it is, the fewer decisions overlook it.
        retry_back_off=RetryPolicyRetryBackOff(
            base_interval=timedelta(milliseconds=1), max_interval=timedelta(milliseconds=5)
        ),
    )


def _unknown_url() -> Route:
    """The body comes from `local_replies`, as that of every answer that Envoy makes itself."""
    return Route(
        name="unknown-url",
        match=RouteMatch(prefix="/"),
        direct_response=DirectResponseAction(status=404),
        typed_per_filter_config=_NO_EXT_PROC,
    )


def _passthrough(passthrough: Passthrough) -> Route:
    base_path = passthrough.base_path.rstrip("/")
    return Route(
        name="passthrough",
        match=RouteMatch(prefix="/"),
        route=RouteAction(
            cluster=PASSTHROUGH,
            prefix_rewrite=f"{base_path}/" if base_path else "",
            host_rewrite_literal=passthrough_origin(passthrough).authority(),
            timeout=NEVER,
            idle_timeout=timedelta(seconds=IDLE_S),
            upgrade_configs=[RouteActionUpgradeConfig(upgrade_type="websocket")],
        ),
        typed_per_filter_config=_NO_EXT_PROC,
    )
