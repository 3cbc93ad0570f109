"""The listener, and in it the filters every request passes once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutationRules
from envoy_data_plane.envoy.config.core.v3 import (
    CidrRange,
    GrpcService,
    GrpcServiceEnvoyGrpc,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.extensions.filters.http.ext_proc.v3 import (
    ExternalProcessor,
    MetadataOptions,
    MetadataOptionsMetadataNamespaces,
    ProcessingMode,
    ProcessingModeBodySendMode,
    ProcessingModeHeaderSendMode,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerInternalAddressConfig,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy_data_plane.envoy.type.v3 import HttpStatus, StatusCode
from envoy_data_plane.google.protobuf import Any

from extproc.access_log import RECORD_NAMESPACE
from extproc.envoy_config.access_log import attempt_logs, request_log
from extproc.envoy_config.clusters import ROUTER, log_cluster, replica_clusters
from extproc.envoy_config.extension import address, extension, http_filter
from extproc.envoy_config.local_replies import local_replies
from extproc.envoy_config.route import (
    EXT_PROC,
    IDLE_S,
    body_buffer_bytes,
    route_configuration,
)
from extproc.envoy_config.token_usage import token_usage_filter
from extproc.envoy_config.upstream import HELPER_PREFIX, remove_prefix, upstream_filters
from extproc.snapshot import (
    ANSWER_NAMESPACE,
    BODIES_NAMESPACE,
    CHAIN_NAMESPACE,
    PLAN_NAMESPACE,
)

if TYPE_CHECKING:
    from extproc.envoy_config.deployment import Deployment
    from extproc.snapshot import Snapshot

_READ_AHEAD_BYTES: Final = 1024 * 1024


def listener(snapshot: Snapshot, deployment: Deployment) -> Listener:
    manager = _connection_manager(snapshot, deployment)
    return Listener(
        name="llm",
        address=address(deployment.listen),
        # The limit on a body is never below this one, whose default is 1 MiB: between the two,
        # a body would pass but lose its retries.
        per_connection_buffer_limit_bytes=min(_READ_AHEAD_BYTES, body_buffer_bytes(snapshot)),
        filter_chains=[
            FilterChain(
                filters=[
                    Filter(
                        name="envoy.filters.network.http_connection_manager",
                        typed_config=Any.pack(manager),
                    )
                ]
            )
        ],
    )


def _connection_manager(snapshot: Snapshot, deployment: Deployment) -> HttpConnectionManager:
    return HttpConnectionManager(
        stat_prefix="llm",
        route_config=route_configuration(snapshot),
        access_log=[request_log(log_cluster(deployment))],
        http_filters=[
            # First, so that it is the last to see an answer, as the client will get it.
            token_usage_filter(),
            http_filter(EXT_PROC, _ext_proc(snapshot)),
            http_filter(
                "envoy.filters.http.router",
                Router(
                    upstream_log=attempt_logs(replica_clusters(deployment)),
                    upstream_http_filters=upstream_filters(snapshot, deployment),
                    suppress_envoy_headers=True,
                ),
            ),
        ],
        local_reply_config=local_replies(snapshot),
        request_timeout=timedelta(seconds=deployment.request_timeout_s),
        request_headers_timeout=timedelta(seconds=10),
        stream_idle_timeout=timedelta(seconds=IDLE_S),
        normalize_path=True,
        merge_slashes=True,
        # Retries, timeouts and the filters' own headers are steered by headers: none of the
        # client's may get that far, whatever address it claims to come from.
        early_header_mutation_extensions=[
            extension(
                "internal-headers",
                EarlyHeaderMutation(
                    mutations=[remove_prefix("x-envoy-"), remove_prefix(HELPER_PREFIX)]
                ),
            )
        ],
        use_remote_address=True,
        internal_address_config=_NOBODY_IS_INTERNAL,
    )


_NOBODY_IS_INTERNAL: Final = HttpConnectionManagerInternalAddressConfig(
    # An empty list means the private ranges, and whoever is internal keeps its own x-request-id:
    # a range of one address that nobody can have is the way to say none.
    cidr_ranges=[CidrRange(address_prefix="255.255.255.255", prefix_len=32)]
)


def _ext_proc(snapshot: Snapshot) -> ExternalProcessor:
    """The whole body goes to the service in one message, and one answer comes back.

    BUFFERED lets the answer to the body choose the route, within a time limit
    (docs/adr/0015-buffered-body.md). Of a response the service sees something only if it keeps its
    stream open, which it does where one may need translation; it then asks for the body as it
    needs it.
    """
    return ExternalProcessor(
        grpc_service=GrpcService(
            envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=ROUTER),
            timeout=timedelta(0),  # a stream lives as long as its request's upload
        ),
        failure_mode_allow=False,
        message_timeout=timedelta(seconds=snapshot.decision_timeout_s),
        status_on_error=HttpStatus(code=StatusCode.ServiceUnavailable),
        processing_mode=ProcessingMode(
            request_header_mode=ProcessingModeHeaderSendMode.SEND,
            request_body_mode=ProcessingModeBodySendMode.BUFFERED,
            # The reply to a request's headers turns it on: an answer to what is not even HTTP would
            # else wait for the service, and its connection does not.
            response_header_mode=ProcessingModeHeaderSendMode.SKIP,
            response_body_mode=ProcessingModeBodySendMode.NONE,
            request_trailer_mode=ProcessingModeHeaderSendMode.SKIP,
            response_trailer_mode=ProcessingModeHeaderSendMode.SKIP,
        ),
        # The answer bounds the retries by x-envoy-max-retries.
        mutation_rules=HeaderMutationRules(allow_envoy=True),
        metadata_options=MetadataOptions(
            receiving_namespaces=MetadataOptionsMetadataNamespaces(
                untyped=[
                    PLAN_NAMESPACE,
                    CHAIN_NAMESPACE,
                    RECORD_NAMESPACE,
                    BODIES_NAMESPACE,
                    ANSWER_NAMESPACE,
                ]
            )
        ),
        allow_mode_override=True,
        request_attributes=["source.address", "request.id"],
        # Tells a provider's answer from one that Envoy made.
        response_attributes=["response.code_details"],
    )
