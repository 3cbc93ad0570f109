"""Providers' keys and the values of their own headers: a file each for Envoy to read and watch.

None is ever in the configuration itself, which Envoy shows to whoever may ask it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    ConfigSource,
    PathConfigSource,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import SdsSecretConfig

from extproc.envoy_config.origin import Origin

if TYPE_CHECKING:
    from extproc.envoy_config.rendering import Json
    from extproc.vocabulary import Provider


def place_of(provider: Provider) -> str:
    """The provider and where it is, `openai@api.openai.com`.

    A key belongs to both: when a provider moves, what it was given for its old place must not
    reach the new one while Envoy is being told.
    """
    return f"{provider.name}@{Origin(provider.host, provider.port, provider.tls).authority()}"


def secret_name(provider: Provider, header: str | None = None) -> str:
    """That of the provider's key or of one of its own headers, `openai@api.openai.com#x-team`."""
    return f"{place_of(provider)}#{header}" if header else place_of(provider)


def secret_file_name(provider: Provider, header: str | None = None) -> str:
    return quote(secret_name(provider, header), safe="@#") + ".json"


def secret_reference(
    provider: Provider, secrets_dir: str, header: str | None = None
) -> SdsSecretConfig:
    """Envoy refuses a configuration whose secret file is absent: write the secrets first."""
    path = PurePosixPath(secrets_dir) / secret_file_name(provider, header)
    return SdsSecretConfig(
        name=secret_name(provider, header),
        sds_config=ConfigSource(
            path_config_source=PathConfigSource(path=str(path)),
            resource_api_version=ApiVersion.V3,
        ),
    )


def secret_of(provider: Provider, value: str, header: str | None = None) -> Json:
    """What a secret file holds."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": secret_name(provider, header),
        "generic_secret": {"secret": {"inline_string": value}},
    }
