"""What happens to a request on each attempt, before it leaves: scrub, rewrite, headers, credential.

The chain belongs to the router filter and serves every cluster, because Envoy picks the chain by
the outer cluster (a guard) while only the endpoint chosen inside it says which target this is.
What is fixed for a target stands in its endpoint's metadata `llm` and reaches the later filters as
`x-llm-*` headers, the last of which is taken away at the end. The credential comes after the
rewrite, since some sign what goes out (`signing`). Header changes made here persist into later
attempts, hence the scrubbing of everything that any attempt may set. No filter here may call out:
their failures are final.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import (
    HeaderMutation,
    HeaderMutationRemoveOnMatch,
)
from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.filters.http.header_mutation.v3 import (
    HeaderMutation as HeaderMutationFilter,
)
from envoy_data_plane.envoy.extensions.filters.http.header_mutation.v3 import Mutations
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import Lua
from envoy_data_plane.envoy.extensions.filters.http.upstream_codec.v3 import UpstreamCodec
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from extproc.envoy_config.extension import http_filter, set_header
from extproc.envoy_config.provider_filters import provider_filter

if TYPE_CHECKING:
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

PLACE_HEADER: Final = HELPER_PREFIX + "provider"
"""Which provider an attempt goes to, and where that is; see `secrets.place_of`."""

SCRUB: Final = "scrub"
PROVIDER: Final = "provider"
"""The two filters of the chain whose configuration depends on the providers."""

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
    "anthropic-dangerous-direct-browser-access",
    "openai-beta",
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
    # A client that followed it would send its prompt past the router.
    "location",
    # Whose account it is, and by which proxies it came.
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "via",
)
SCRUBBED_RESPONSE_PREFIXES: Final = ("x-envoy-", "x-router-")

UPSTREAM_CODEC: Final = http_filter("envoy.filters.http.upstream_codec", UpstreamCodec())
"""The end of every upstream chain."""


_WITHOUT_PLACE: Final = Mutations(request_mutations=[HeaderMutation(remove=PLACE_HEADER)])


def upstream_filters(snapshot: Snapshot, deployment: Deployment) -> list[HttpFilter]:
    providers = tuple(snapshot.providers.values())
    return [
        http_filter(SCRUB, _scrub(providers)),
        http_filter("rewrite", _rewrite()),
        http_filter(PROVIDER, provider_filter(providers, PLACE_HEADER, deployment.secrets_dir)),
        http_filter("tidy", HeaderMutationFilter(mutations=_WITHOUT_PLACE)),
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
        if provider.credential_header:
            removed[provider.credential_header] = None
    from_endpoint = {
        HELPER_PREFIX + key: f"%UPSTREAM_METADATA({METADATA_NAMESPACE}:{key})%"
        for key in ("target", "provider", "host", "path")
    }
    from_endpoint[PLACE_HEADER] += "@" + from_endpoint[HELPER_PREFIX + "host"]
    return HeaderMutationFilter(
        mutations=Mutations(
            request_mutations=[
                *(HeaderMutation(remove=name) for name in removed),
                *(remove_prefix(prefix) for prefix in SCRUBBED_PREFIXES),
                # ai_protocol_manager skips a compressed answer, and its usage would be lost.
                HeaderMutation(append=set_header("accept-encoding", "identity")),
                *(HeaderMutation(append=set_header(*helper)) for helper in from_endpoint.items()),
            ],
            response_mutations=[
                *(HeaderMutation(remove=name) for name in SCRUBBED_RESPONSE_HEADERS),
                *(remove_prefix(prefix) for prefix in SCRUBBED_RESPONSE_PREFIXES),
            ],
        )
    )


def _rewrite() -> Lua:
    source = files(__package__).joinpath("rewrite.lua").read_text(encoding="utf-8")
    return Lua(default_source_code=DataSource(inline_string=source))
