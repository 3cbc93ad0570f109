"""Provider keys: one file each for Envoy to read and watch, never in the configuration itself."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    ConfigSource,
    DataSource,
    PathConfigSource,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    GenericSecret,
    SdsSecretConfig,
    Secret,
)
from envoy_data_plane.envoy.service.discovery.v3 import DiscoveryResponse
from envoy_data_plane.google.protobuf import Any

if TYPE_CHECKING:
    from extproc.vocabulary import ProviderName


def secret_file_name(provider: ProviderName) -> str:
    return quote(provider, safe="") + ".json"


def secret_reference(provider: ProviderName, secrets_dir: str) -> SdsSecretConfig:
    """Envoy refuses a configuration whose secret file is absent: write the secrets first."""
    path = PurePosixPath(secrets_dir) / secret_file_name(provider)
    return SdsSecretConfig(
        name=provider,
        sds_config=ConfigSource(
            path_config_source=PathConfigSource(path=str(path)),
            resource_api_version=ApiVersion.V3,
        ),
    )


def secret_json(provider: ProviderName, key: str) -> str:
    """The content of a secret file: the discovery response that Envoy expects there."""
    secret = Secret(
        name=provider, generic_secret=GenericSecret(secret=DataSource(inline_string=key))
    )
    return DiscoveryResponse(resources=[Any.pack(secret)]).to_json(indent=2)
