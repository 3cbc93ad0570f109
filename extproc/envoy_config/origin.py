"""A cluster that reaches one origin: name resolution, TLS and the HTTP version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterCommonLbConfig,
    ClusterCustomClusterType,
    ClusterDiscoveryType,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    KeepaliveSettings,
    Metadata,
    TransportSocket,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.extensions.clusters.common.dns.v3 import DnsLookupFamily
from envoy_data_plane.envoy.extensions.clusters.dns.v3 import DnsCluster
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsAutoHttpConfig,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any, Struct

from extproc.envoy_config.deployment import TcpAddress
from extproc.envoy_config.extension import address, is_ip_literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envoy_data_plane.envoy.config.cluster.v3 import OutlierDetection
    from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
        HttpFilter,
    )

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""The key under which a cluster keeps its HTTP options."""

CONNECT_TIMEOUT: Final = timedelta(seconds=2)

CIRCUIT_BREAKERS: Final = CircuitBreakers(
    # The defaults (1,024 requests, 3 concurrent retries) turn a provider's outage into our own.
    thresholds=[
        CircuitBreakersThresholds(
            max_connections=10_000,
            max_pending_requests=10_000,
            max_requests=10_000,
            max_retries=10_000,
        )
    ]
)

NO_PANIC: Final = ClusterCommonLbConfig(
    healthy_panic_threshold=Percent(value=0), update_merge_window=timedelta(0)
)
"""An ejected host is really skipped, even if it is the only one, and at once: by default Envoy's
threads may learn of it a second later."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a base URL; an IPv6 literal has no brackets."""

    host: str
    port: int
    tls: bool

    def authority(self) -> str:
        """The `Host` header: the port is named only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default_port = 443 if self.tls else 80
        return host if self.port == default_port else f"{host}:{self.port}"


def origin_cluster(  # noqa: PLR0913  # one keyword for each part of a cluster that differs
    name: str,
    origin: Origin,
    *,
    ca_file: str,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    outlier_detection: OutlierDetection | None = None,
    http_filters: tuple[HttpFilter, ...] = (),
) -> Cluster:
    """`metadata` goes on the endpoint, by namespace; `http_filters` replace the router's own."""
    endpoint = LbEndpoint(
        endpoint=Endpoint(
            hostname=origin.host, address=address(TcpAddress(origin.host, origin.port))
        ),
        metadata=Metadata(
            filter_metadata={
                namespace: Struct.from_dict(dict(facts))
                for namespace, facts in (metadata or {}).items()
            }
        ),
    )
    cluster = Cluster(
        name=name,
        connect_timeout=CONNECT_TIMEOUT,
        common_lb_config=NO_PANIC,
        outlier_detection=outlier_detection,
        circuit_breakers=CIRCUIT_BREAKERS,
        load_assignment=ClusterLoadAssignment(
            cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
        transport_socket=_verified_tls(origin.host, ca_file) if origin.tls else None,
        typed_extension_protocol_options={
            HTTP_OPTIONS: Any.pack(_http_options(tls=origin.tls, filters=http_filters))
        },
    )
    if is_ip_literal(origin.host):
        cluster.type = ClusterDiscoveryType.STATIC
    else:
        cluster.cluster_type = _one_host_of_many_addresses()
    return cluster


def _one_host_of_many_addresses() -> ClusterCustomClusterType:
    """All addresses of the name are one host, dialled by happy eyeballs (RFC 8305).

    One host, because outlier detection and the guards treat a provider as a whole.
    """
    return ClusterCustomClusterType(
        name="envoy.clusters.dns",
        typed_config=Any.pack(
            DnsCluster(
                dns_lookup_family=DnsLookupFamily.ALL,
                respect_dns_ttl=True,
                all_addresses_in_single_endpoint=True,
            )
        ),
    )


def _verified_tls(host: str, ca_file: str) -> TransportSocket:
    """The certificate must chain to `ca_file` and name `host`. SNI is never an IP (RFC 6066)."""
    is_ip = is_ip_literal(host)
    san_type = (
        SubjectAltNameMatcherSanType.IP_ADDRESS if is_ip else SubjectAltNameMatcherSanType.DNS
    )
    context = UpstreamTlsContext(
        sni="" if is_ip else host,
        common_tls_context=CommonTlsContext(
            validation_context=CertificateValidationContext(
                trusted_ca=DataSource(filename=ca_file),
                match_typed_subject_alt_names=[
                    SubjectAltNameMatcher(san_type=san_type, matcher=StringMatcher(exact=host))
                ],
            )
        ),
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(context))


def _http_options(*, tls: bool, filters: tuple[HttpFilter, ...]) -> HttpProtocolOptions:
    """HTTP/2 where ALPN agrees on it, which only TLS has; plain text is HTTP/1.1."""
    if not tls:
        return HttpProtocolOptions(
            explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
                http_protocol_options=Http1ProtocolOptions()
            ),
            http_filters=list(filters),
        )
    keepalive = KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=10))
    return HttpProtocolOptions(
        auto_config=HttpProtocolOptionsAutoHttpConfig(
            http_protocol_options=Http1ProtocolOptions(),
            http2_protocol_options=Http2ProtocolOptions(connection_keepalive=keepalive),
        ),
        http_filters=list(filters),
    )
