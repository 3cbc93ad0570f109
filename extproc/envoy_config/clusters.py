"""The clusters: a target each, the guards over them, and the few that are always there."""

from __future__ import annotations

from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterCustomClusterType,
    ClusterDiscoveryType,
    ClusterLbPolicy,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.common.matcher.v3 import (
    HttpHeadersMatch,
    MatchPredicate,
)
from envoy_data_plane.envoy.config.core.v3 import (
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    KeepaliveSettings,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.clusters.aggregate.v3 import ClusterConfig
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
    HttpProtocolOptionsOutlierDetection,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any

from extproc.envoy_config.deployment import TcpAddress, UnixSocket
from extproc.envoy_config.extension import address, is_ip_literal
from extproc.envoy_config.origin import (
    CIRCUIT_BREAKERS,
    CONNECT_TIMEOUT,
    HTTP_OPTIONS,
    NO_PANIC,
    Origin,
    origin_cluster,
)
from extproc.envoy_config.rendering import Json, as_json
from extproc.envoy_config.upstream import METADATA_NAMESPACE, passthrough_filters
from extproc.outcome import MODEL_FAILED
from extproc.snapshot import GUARD_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extproc.envoy_config.deployment import Deployment
    from extproc.snapshot import Passthrough, Snapshot
    from extproc.vocabulary import Target, TargetId

ROUTER: Final = "extproc"
BOUNCE: Final = "bounce"
UNROUTED: Final = "unrouted"
PASSTHROUGH: Final = "passthrough"


def static_clusters(deployment: Deployment) -> list[Cluster]:
    """Those that no routing config changes."""
    routers = deployment.routers
    found = [_router(ROUTER, routers), _bounce(), _unrouted()]
    if len(routers) > 1:
        found[0].lb_policy = ClusterLbPolicy.LEAST_REQUEST
        found[0].health_checks = [_HEALTH_CHECK]
        found[0].outlier_detection = _UNREACHABLE
        found.append(_router(log_cluster(deployment), routers))
        found += [
            _router(name, [at])
            for name, at in zip(replica_clusters(deployment), routers, strict=True)
        ]
    return found


def log_cluster(deployment: Deployment) -> str:
    """Any replica, well or not: an entry can wait for one, while a request can not."""
    return ROUTER if len(deployment.routers) == 1 else f"{ROUTER}-log"


def replica_clusters(deployment: Deployment) -> list[str]:
    """The cluster of each replica of the router alone, for what all of them must be told."""
    count = len(deployment.routers)
    return [ROUTER] if count == 1 else [f"{ROUTER}-{number + 1}" for number in range(count)]


def dynamic_clusters(snapshot: Snapshot, deployment: Deployment) -> dict[str, Json]:
    """Those that a routing config asks for, by name."""
    passthrough = snapshot.passthrough
    ejects = snapshot.health_check.enabled
    found = [as_json(_passthrough(passthrough, deployment.ca_file))] if passthrough else []
    for target in snapshot.targets.values():
        origin = Origin(target.provider.host, target.provider.port, target.provider.tls)
        facts = tuple(target_metadata(target).items())
        found.append(_target(target.id, origin, facts, deployment.ca_file, ejects=ejects))
    found += [_guard(name, window) for window, name in snapshot.guards.items()]
    return {cluster["name"]: cluster for cluster in found}


def target_metadata(target: Target) -> dict[str, str]:
    """What the upstream filters and the response headers need to know of a target."""
    provider = target.provider
    return {
        "target": target.id,
        "model": target.model.name,
        "provider": provider.name,
        "host": Origin(provider.host, provider.port, provider.tls).authority(),
        "path": provider.base_path,
    }


@lru_cache(maxsize=1024)  # a reload changes few, and one takes milliseconds to make
def _target(
    name: TargetId,
    origin: Origin,
    facts: tuple[tuple[str, str], ...],
    ca_file: str,
    *,
    ejects: bool,
) -> Json:
    cluster = origin_cluster(
        name,
        origin,
        ca_file=ca_file,
        metadata={METADATA_NAMESPACE: dict(facts)},
        outlier_detection=_ejection() if ejects else None,
    )
    return as_json(cluster)


def _ejection() -> OutlierDetection:
    """After five failures in a row: Envoy's default for `consecutive_5xx`.

    That field is not set here because betterproto2 misspells its name in JSON.
    """
    return OutlierDetection(
        interval=timedelta(seconds=2),
        base_ejection_time=timedelta(seconds=10),
        max_ejection_time=timedelta(seconds=120),
        max_ejection_percent=100,  # the default of 10 never ejects a cluster's only host
        enforcing_success_rate=0,
    )


def _guard(name: str, window: tuple[TargetId, ...]) -> Json:
    """Tries the targets of `window` in order, leaving out the ejected ones.

    `priority_group` itself does not skip a cluster whose only host is ejected: it answers 503 and
    does not retry. The bounce at the end makes an attempt with nobody left fail to connect instead,
    which is retried, so that the next window of the chain gets its turn (docs/adr/0002-guards.md).
    """
    shape = _guard_shape()
    members = shape["cluster_type"]["typed_config"] | {"clusters": [*window, BOUNCE]}
    cluster_type = shape["cluster_type"] | {"typed_config": members}
    return shape | {"name": name, "cluster_type": cluster_type}


@cache  # there may be hundreds of guards, they differ in name and members only, and one takes 5 ms
def _guard_shape() -> Json:
    return as_json(
        Cluster(
            name=GUARD_PREFIX,
            connect_timeout=CONNECT_TIMEOUT,
            lb_policy=ClusterLbPolicy.CLUSTER_PROVIDED,
            cluster_type=ClusterCustomClusterType(
                name="envoy.clusters.aggregate",
                typed_config=Any.pack(ClusterConfig(clusters=[BOUNCE])),
            ),
            circuit_breakers=CIRCUIT_BREAKERS,  # a retry is charged to the failed attempt's guard
            typed_extension_protocol_options={HTTP_OPTIONS: _GUARD_OPTIONS},
        )
    )


def _status(regex: str) -> MatchPredicate:
    status = HeaderMatcher(
        name=":status",
        string_match=StringMatcher(safe_regex=RegexMatcher(regex=regex)),
    )
    return MatchPredicate(http_response_headers_match=HttpHeadersMatch(headers=[status]))


_GUARD_OPTIONS: Final = Any.pack(
    HttpProtocolOptions(
        # A required field; the protocol is decided by the cluster inside.
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
            http_protocol_options=Http1ProtocolOptions()
        ),
        # Read from the outer cluster, and replaces the default: without it 429 ejects nobody.
        outlier_detection=HttpProtocolOptionsOutlierDetection(
            error_matcher=_status(f"429|{MODEL_FAILED}|5..")
        ),
    )
)


def _bounce() -> Cluster:
    """An endpoint that refuses at once and without I/O: no path leads below /dev/null."""
    return _local(BOUNCE, [UnixSocket("/dev/null/unreachable")])


def _unrouted() -> Cluster:
    """Where a request without a chain goes: nowhere, so that nothing is forwarded unrouted."""
    return Cluster(
        name=UNROUTED,
        type=ClusterDiscoveryType.STATIC,
        connect_timeout=CONNECT_TIMEOUT,
        load_assignment=ClusterLoadAssignment(cluster_name=UNROUTED),
    )


def _passthrough(passthrough: Passthrough, ca_file: str) -> Cluster:
    return origin_cluster(
        PASSTHROUGH,
        passthrough_origin(passthrough),
        ca_file=ca_file,
        http_filters=tuple(passthrough_filters()),
    )


def passthrough_origin(passthrough: Passthrough) -> Origin:
    return Origin(passthrough.host, passthrough.port, passthrough.tls)


def _router(name: str, at: Sequence[TcpAddress | UnixSocket]) -> Cluster:
    """The router's service at one replica or any of several."""
    keepalive = KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5))
    http2 = Http2ProtocolOptions(
        max_concurrent_streams=1024,
        initial_stream_window_size=1024 * 1024,
        initial_connection_window_size=16 * 1024 * 1024,
        connection_keepalive=keepalive,
    )
    cluster = _local(name, at)
    cluster.connect_timeout = timedelta(seconds=1)
    # One stream lasts as long as its request; the default of 1,024 would be the product's limit.
    cluster.circuit_breakers = CircuitBreakers(
        thresholds=[
            CircuitBreakersThresholds(
                max_connections=100_000,
                max_pending_requests=100_000,
                max_requests=100_000,
                max_retries=100_000,
            )
        ]
    )
    cluster.typed_extension_protocol_options = {
        HTTP_OPTIONS: Any.pack(
            HttpProtocolOptions(
                explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
                    http2_protocol_options=http2
                )
            )
        )
    }
    return cluster


_HEALTH_CHECK: Final = HealthCheck(
    # One that drains says so before it leaves; one that is back is used within a second.
    timeout=timedelta(seconds=1),
    interval=timedelta(seconds=1),
    no_traffic_interval=timedelta(seconds=1),
    unhealthy_threshold=1,
    healthy_threshold=1,
    grpc_health_check=HealthCheckGrpcHealthCheck(),
)
_UNREACHABLE: Final = OutlierDetection(
    # One that is killed is left out at the first connection it refuses, until a check finds it.
    split_external_local_origin_errors=True,
    consecutive_local_origin_failure=1,
    enforcing_consecutive_local_origin_failure=100,
    interval=timedelta(seconds=1),
    base_ejection_time=timedelta(seconds=1),
    max_ejection_time=timedelta(seconds=5),
    max_ejection_percent=99,
)


def _local(name: str, at: Sequence[TcpAddress | UnixSocket]) -> Cluster:
    needs_dns = any(isinstance(one, TcpAddress) and not is_ip_literal(one.host) for one in at)
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.STRICT_DNS if needs_dns else ClusterDiscoveryType.STATIC,
        connect_timeout=CONNECT_TIMEOUT,
        common_lb_config=NO_PANIC,
        load_assignment=ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[
                LocalityLbEndpoints(
                    lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address(one))) for one in at]
                )
            ],
        ),
    )
