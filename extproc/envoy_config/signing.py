"""AWS's way with keys: each attempt is signed with one (SigV4), and the key itself is never sent.

What is signed is host, path and body as they go out, so this filter comes after all that rewrites
them. Envoy reads the key from a file in AWS's own format, and again whenever another is renamed
over it. A file that is absent or empty when the filter is made is never looked at again, and what
is not signed is sent without: write it first.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from envoy_data_plane.envoy.config.core.v3 import DataSource, WatchedDirectory
from envoy_data_plane.envoy.extensions.common.aws.v3 import (
    AwsCredentialProvider,
    CredentialsFileCredentialProvider,
)
from envoy_data_plane.envoy.extensions.filters.http.aws_request_signing.v3 import AwsRequestSigning
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from extproc.envoy_config.secrets import place_of
from extproc.vocabulary import SIGNING_KEY

if TYPE_CHECKING:
    from extproc.vocabulary import Provider

SERVICE: Final = "bedrock"
"""The service that is signed for; not the first label of its host, which is `bedrock-runtime`."""

DEFAULT_REGION: Final = "us-east-1"

CREDENTIALS_SUFFIX: Final = ".aws"
"""What tells a credentials file from a secret of Envoy's own form."""

_REGION: Final = re.compile(
    r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)"
    r"(?:\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$"
)

_SIGNED_HEADERS: Final = ("content-type",)
"""Beside host and x-amz-*, which always are. Any other may be changed on its way out."""


class KeyFormatError(ValueError):
    """A key that is not `ACCESS_KEY_ID:SECRET` or `ACCESS_KEY_ID:SECRET:SESSION_TOKEN`."""


def signs(provider: Provider) -> bool:
    """No header takes its key: it signs."""
    return provider.has_credential and not provider.credential_header


def region_of(provider: Provider) -> str:
    """The region signed for: AWS's own hosts name it, before any other the provider says where."""
    named = _REGION.search(provider.host)
    return named[1] if named else provider.region or DEFAULT_REGION


def request_signing(provider: Provider, secrets_dir: str) -> AwsRequestSigning:
    path = PurePosixPath(secrets_dir) / credentials_file_name(provider)
    file = CredentialsFileCredentialProvider(
        credentials_data_source=DataSource(
            filename=str(path), watched_directory=WatchedDirectory(path=secrets_dir)
        )
    )
    return AwsRequestSigning(
        service_name=SERVICE,
        region=region_of(provider),
        credential_provider=AwsCredentialProvider(
            credentials_file_provider=file,
            # Without it, Envoy asks the environment too, and the machine's own metadata service.
            custom_credential_provider_chain=True,
        ),
        match_included_headers=[StringMatcher(exact=name) for name in _SIGNED_HEADERS],
    )


def credentials_file_name(provider: Provider) -> str:
    return quote(place_of(provider), safe="@") + CREDENTIALS_SUFFIX


def credentials_of(key: str) -> str:
    """What a credentials file holds. `key` is `ACCESS_KEY_ID:SECRET`, or with `:SESSION_TOKEN`.

    Raises:
        KeyFormatError: it is neither.

    """
    parts = SIGNING_KEY.fullmatch(key)
    if not parts:
        raise KeyFormatError("not ACCESS_KEY_ID:SECRET or ACCESS_KEY_ID:SECRET:SESSION_TOKEN")
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    held = [f"{name}={value}\n" for name, value in zip(names, parts.groups(), strict=True) if value]
    return "[default]\n" + "".join(held)
