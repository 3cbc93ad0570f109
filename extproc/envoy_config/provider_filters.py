"""What an attempt is given for its provider: that one's own headers and credential.

A single filter chooses among the providers, so that adding one changes this filter's configuration
and no other's: Envoy can be given it while connections stay open (docs/adr/0010-reload.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoy_data_plane.envoy.extensions.common.matching.v3 import ExtensionWithMatcher
from envoy_data_plane.envoy.extensions.filters.http.composite.v3 import (
    Composite,
    ExecuteFilterAction,
    FilterChainConfiguration,
)
from envoy_data_plane.envoy.extensions.filters.http.credential_injector.v3 import CredentialInjector
from envoy_data_plane.envoy.extensions.http.injected_credentials.generic.v3 import Generic
from envoy_data_plane.envoy.type.matcher.v3 import HttpRequestHeaderMatchInput
from envoy_data_plane.xds.type.matcher.v3 import (
    Matcher,
    MatcherMatcherTree,
    MatcherMatcherTreeMatchMap,
    MatcherOnMatch,
)

from extproc.envoy_config.extension import extension, xds_extension
from extproc.envoy_config.secrets import place_of, secret_reference
from extproc.envoy_config.signing import request_signing, signs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig

    from extproc.vocabulary import Provider


def provider_filter(
    providers: Iterable[Provider], place_header: str, secrets_dir: str
) -> ExtensionWithMatcher:
    """Runs the filters of the provider that `place_header` names; for any other, none."""
    chains = {place_of(provider): _filters(provider, secrets_dir) for provider in providers}
    by_place = MatcherMatcherTree(
        input=xds_extension("place", HttpRequestHeaderMatchInput(header_name=place_header)),
        exact_match_map=MatcherMatcherTreeMatchMap(
            map={place: _run(filters) for place, filters in chains.items() if filters}
        ),
    )
    return ExtensionWithMatcher(
        # A tree that is empty is refused; no matcher at all matches nothing.
        xds_matcher=Matcher(matcher_tree=by_place) if any(chains.values()) else Matcher(),
        extension_config=extension("envoy.filters.http.composite", Composite()),
    )


def _run(filters: list[TypedExtensionConfig]) -> MatcherOnMatch:
    chain = FilterChainConfiguration(typed_config=filters)
    return MatcherOnMatch(action=xds_extension("run", ExecuteFilterAction(filter_chain=chain)))


def _filters(provider: Provider, secrets_dir: str) -> list[TypedExtensionConfig]:
    credential = _signing if signs(provider) else _credential
    return [
        *(
            extension(f"header-{name}", header_injector(provider, name, secrets_dir))
            for name in provider.headers
        ),
        *([credential(provider, secrets_dir)] if provider.has_credential else []),
    ]


def _credential(provider: Provider, secrets_dir: str) -> TypedExtensionConfig:
    return extension(
        "envoy.filters.http.credential_injector", credential_injector(provider, secrets_dir)
    )


def _signing(provider: Provider, secrets_dir: str) -> TypedExtensionConfig:
    return extension(
        "envoy.filters.http.aws_request_signing", request_signing(provider, secrets_dir)
    )


def header_injector(provider: Provider, header: str, secrets_dir: str) -> CredentialInjector:
    """A client's are scrubbed before; one that is there is the rewrite's, for this request."""
    credential = Generic(
        credential=secret_reference(provider, secrets_dir, header),
        header=header,
    )
    return _injector(credential, overwrite=False)


def credential_injector(provider: Provider, secrets_dir: str) -> CredentialInjector:
    credential = Generic(
        credential=secret_reference(provider, secrets_dir),
        header=provider.credential_header,
        header_value_prefix=provider.credential_prefix,
    )
    return _injector(credential, overwrite=True)


def _injector(credential: Generic, *, overwrite: bool) -> CredentialInjector:
    return CredentialInjector(
        overwrite=overwrite,
        credential=extension("envoy.http.injected_credentials.generic", credential),
    )
