"""What happens to a request on each attempt, before it leaves: scrub, headers, credential, rewrite.

The chain belongs to the router filter and serves every cluster, because Envoy picks the chain by
the outer cluster (a guard) while only the endpoint chosen inside it says which target this is.
What is fixed for a target stands in its endpoint's metadata `llm` and reaches the later filters as
`x-llm-*` headers. Header changes made here persist into later attempts, hence the scrubbing of
everything that any attempt may set. No filter here may call out: their failures are final.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import (
    HeaderMutation,
    HeaderMutationRemoveOnMatch,
)
from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.common.matching.v3 import ExtensionWithMatcher
from envoy_data_plane.envoy.extensions.filters.common.matcher.action.v3 import SkipFilter
from envoy_data_plane.envoy.extensions.filters.http.credential_injector.v3 import CredentialInjector
from envoy_data_plane.envoy.extensions.filters.http.header_mutation.v3 import (
    HeaderMutation as HeaderMutationFilter,
)
from envoy_data_plane.envoy.extensions.filters.http.header_mutation.v3 import Mutations
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import Lua
from envoy_data_plane.envoy.extensions.filters.http.upstream_codec.v3 import UpstreamCodec
from envoy_data_plane.envoy.extensions.http.injected_credentials.generic.v3 import Generic
from envoy_data_plane.envoy.type.matcher.v3 import HttpRequestHeaderMatchInput, StringMatcher
from envoy_data_plane.xds.type.matcher.v3 import (
    Matcher,
    MatcherMatcherList,
    MatcherMatcherListFieldMatcher,
    MatcherMatcherListPredicate,
    MatcherMatcherListPredicateSinglePredicate,
    MatcherOnMatch,
)
from envoy_data_plane.xds.type.matcher.v3 import StringMatcher as XdsStringMatcher

from extproc.envoy_config.extension import extension, http_filter, set_header, xds_extension
from extproc.envoy_config.secrets import secret_reference

if TYPE_CHECKING:
    from betterproto2 import Message
    from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
        HttpFilter,
    )

    from extproc.envoy_config.deployment import Deployment
    from extproc.snapshot import Snapshot
    from extproc.vocabulary import Provider

METADATA_NAMESPACE: Final = "llm"
"""The endpoint metadata that says which target an endpoint is; see `clusters.target_metadata`."""

HELPER_PREFIX: Final = "x-llm-"
"""Headers that carry an endpoint's metadata from filter to filter. None of them leaves Envoy."""

SCRUBBED_HEADERS: Final = (
    # Credentials and account selectors: a client's own must not reach any provider, and the last
    # attempt's must not reach the next.
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-goog-user-project",
    "openai-organization",
    "openai-project",
    "anthropic-version",
    "anthropic-beta",
    "cookie",
    # Who the client is and which proxies it came through. x-request-id stays: it is made by Envoy,
    # names nobody, and is what joins the log entries of one request's attempts.
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-envoy-external-address",
    "x-envoy-internal",
)
SCRUBBED_PREFIXES: Final = ("x-amz-", "x-router-", "x-forwarded-", HELPER_PREFIX)

SCRUBBED_RESPONSE_HEADERS: Final = (
    # What a provider says about its own origin is not true of this one.
    "set-cookie",
    "alt-svc",
    "strict-transport-security",
)
SCRUBBED_RESPONSE_PREFIXES: Final = ("x-envoy-", "x-router-")

UPSTREAM_CODEC: Final = http_filter("envoy.filters.http.upstream_codec", UpstreamCodec())
"""The end of every upstream chain."""


def upstream_filters(snapshot: Snapshot, deployment: Deployment) -> list[HttpFilter]:
    providers = tuple(snapshot.providers.values())
    return [
        http_filter("scrub", _scrub(providers)),
        *(_static_headers(provider) for provider in providers if provider.headers),
        *(_credential(provider, deployment) for provider in providers if provider.has_credential),
        http_filter("rewrite", _rewrite()),
        UPSTREAM_CODEC,
    ]


def passthrough_filters() -> list[HttpFilter]:
    """Only internal headers go; what else the client sends, it sends to its own upstream."""
    internal = ("x-envoy-", "x-router-", HELPER_PREFIX)
    scrub = Mutations(request_mutations=[remove_prefix(prefix) for prefix in internal])
    return [http_filter("scrub", HeaderMutationFilter(mutations=scrub)), UPSTREAM_CODEC]


def remove_prefix(prefix: str) -> HeaderMutation:
    return HeaderMutation(
        remove_on_match=HeaderMutationRemoveOnMatch(key_matcher=StringMatcher(prefix=prefix))
    )


def _scrub(providers: tuple[Provider, ...]) -> HeaderMutationFilter:
    removed = dict.fromkeys(SCRUBBED_HEADERS)
    for provider in providers:
        removed.update(dict.fromkeys(name.lower() for name in provider.headers))
        removed[provider.credential_header] = None
    from_endpoint = ("target", "provider", "host", "path")
    return HeaderMutationFilter(
        mutations=Mutations(
            request_mutations=[
                *(HeaderMutation(remove=name) for name in removed),
                *(remove_prefix(prefix) for prefix in SCRUBBED_PREFIXES),
                # ai_protocol_manager skips a compressed answer, and its usage would be lost.
                HeaderMutation(append=set_header("accept-encoding", "identity")),
                *(
                    HeaderMutation(
                        append=set_header(
                            HELPER_PREFIX + key, f"%UPSTREAM_METADATA({METADATA_NAMESPACE}:{key})%"
                        )
                    )
                    for key in from_endpoint
                ),
            ],
            response_mutations=[
                *(HeaderMutation(remove=name) for name in SCRUBBED_RESPONSE_HEADERS),
                *(remove_prefix(prefix) for prefix in SCRUBBED_RESPONSE_PREFIXES),
            ],
        )
    )


def _static_headers(provider: Provider) -> HttpFilter:
    mutations = [
        HeaderMutation(append=set_header(name.lower(), value.replace("%", "%%")))
        for name, value in provider.headers.items()
    ]
    return _only_for(
        provider,
        f"headers {provider.name}",
        "envoy.filters.http.header_mutation",
        HeaderMutationFilter(mutations=Mutations(request_mutations=mutations)),
    )


def _credential(provider: Provider, deployment: Deployment) -> HttpFilter:
    credential = Generic(
        credential=secret_reference(provider.name, deployment.secrets_dir),
        header=provider.credential_header,
        header_value_prefix=provider.credential_prefix,
    )
    return _only_for(
        provider,
        f"credential {provider.name}",
        "envoy.filters.http.credential_injector",
        CredentialInjector(
            overwrite=True,
            credential=extension("envoy.http.injected_credentials.generic", credential),
        ),
    )


def _only_for(provider: Provider, name: str, filter_name: str, config: Message) -> HttpFilter:
    """The filter, skipped unless this attempt goes to `provider`."""
    is_provider = MatcherMatcherListPredicate(
        single_predicate=MatcherMatcherListPredicateSinglePredicate(
            input=xds_extension(
                "provider", HttpRequestHeaderMatchInput(header_name=HELPER_PREFIX + "provider")
            ),
            value_match=XdsStringMatcher(exact=provider.name),
        )
    )
    skip_others = MatcherMatcherListFieldMatcher(
        predicate=MatcherMatcherListPredicate(not_matcher=is_provider),
        on_match=MatcherOnMatch(action=xds_extension("skip", SkipFilter())),
    )
    return http_filter(
        name,
        ExtensionWithMatcher(
            xds_matcher=Matcher(matcher_list=MatcherMatcherList(matchers=[skip_others])),
            extension_config=extension(filter_name, config),
        ),
    )


def _rewrite() -> Lua:
    source = files(__package__).joinpath("rewrite.lua").read_text(encoding="utf-8")
    return Lua(default_source_code=DataSource(inline_string=source))
