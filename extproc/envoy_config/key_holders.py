"""Clusters that nothing is ever sent to: each makes Envoy read one of a provider's secrets.

Envoy 1.40 starts to read a secret for a cluster or a listener, but not for a filter that it is
given while it runs (ECDS): that one finds only what somebody else reads already. So each secret has
a holder, which comes before the filter that injects it. A key to sign with needs none: its filter
reads the file itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType
from envoy_data_plane.envoy.config.core.v3 import Http1ProtocolOptions
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.google.protobuf import Any

from extproc.envoy_config.extension import http_filter
from extproc.envoy_config.origin import CONNECT_TIMEOUT, HTTP_OPTIONS
from extproc.envoy_config.provider_filters import credential_injector, header_injector
from extproc.envoy_config.rendering import as_json
from extproc.envoy_config.secrets import secret_name
from extproc.envoy_config.signing import signs
from extproc.envoy_config.upstream import UPSTREAM_CODEC

if TYPE_CHECKING:
    from envoy_data_plane.envoy.extensions.filters.http.credential_injector.v3 import (
        CredentialInjector,
    )

    from extproc.envoy_config.deployment import Deployment
    from extproc.envoy_config.rendering import Json
    from extproc.snapshot import Snapshot
    from extproc.vocabulary import Provider

KEY_PREFIX: Final = "key:"


def key_holders(snapshot: Snapshot, deployment: Deployment) -> dict[str, Json]:
    """By name."""
    found = [
        as_json(_key_holder(name, injector))
        for provider in snapshot.providers.values()
        for name, injector in _injectors(provider, deployment.secrets_dir).items()
    ]
    return {cluster["name"]: cluster for cluster in found}


def _injectors(provider: Provider, secrets_dir: str) -> dict[str, CredentialInjector]:
    """By the name of the secret that each injects."""
    found = {
        secret_name(provider, header): header_injector(provider, header, secrets_dir)
        for header in provider.headers
    }
    if provider.has_credential and not signs(provider):
        found[secret_name(provider)] = credential_injector(provider, secrets_dir)
    return found


def _key_holder(secret: str, injector: CredentialInjector) -> Cluster:
    return Cluster(
        name=KEY_PREFIX + secret,
        type=ClusterDiscoveryType.STATIC,
        connect_timeout=CONNECT_TIMEOUT,
        typed_extension_protocol_options={
            HTTP_OPTIONS: Any.pack(
                HttpProtocolOptions(
                    explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(
                        http_protocol_options=Http1ProtocolOptions()
                    ),
                    http_filters=[http_filter("credential", injector), UPSTREAM_CODEC],
                )
            )
        },
    )
