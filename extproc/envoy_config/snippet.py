"""What an Envoy that somebody else configures needs, in parts, each with where it belongs.

Made of the same resources as the whole configuration, so that it says the same. Clusters and the
providers' filters are read from the directory that `extproc envoy -o` writes; route and connection
manager are pasted (docs/own-envoy.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from extproc.envoy_config.bootstrap import dynamic_bootstrap
from extproc.envoy_config.route import EXT_PROC, is_llm
from extproc.envoy_config.xds import resources

if TYPE_CHECKING:
    from extproc.envoy_config.deployment import Deployment
    from extproc.envoy_config.rendering import Json
    from extproc.snapshot import Snapshot

_EXT_PROC_ON: Final = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
    "overrides": {},
}


@dataclass(frozen=True, slots=True)
class Part:
    """`content` goes into the message that `name` says; `where` tells people how."""

    name: str
    where: str
    content: Json


def snippet(snapshot: Snapshot, deployment: Deployment) -> tuple[Part, ...]:
    found = resources(snapshot, deployment)
    return (
        Part("bootstrap", _BOOTSTRAP, _bootstrap(deployment)),
        Part("http_connection_manager", _MANAGER, _manager(found.listener)),
        Part("virtual_host", _VIRTUAL_HOST, _virtual_host(found.routes)),
    )


_BOOTSTRAP: Final = """\
At the top level of Envoy's configuration. `node` may be any. If your clusters come from a control
plane already, give it the resources of cds.json instead of `cds_config`."""

_MANAGER: Final = """\
In the http_connection_manager of the listener that clients of the LLM use: the first filters before
your own, the router filter in the place of yours. Its upstream filters run for every cluster that
has none of its own: a listener for the LLM alone is best, else see docs/own-envoy.md."""

_VIRTUAL_HOST: Final = """\
In your virtual host, these routes before all others. ext_proc is off but for them."""


def _bootstrap(deployment: Deployment) -> Json:
    whole = dynamic_bootstrap(deployment)
    return {
        "node": whole["node"],
        "dynamic_resources": {"cds_config": whole["dynamic_resources"]["cds_config"]},
        "static_resources": whole["static_resources"],
    }


def _manager(listener: Json) -> Json:
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    own = {"@type", "stat_prefix", "rds", "http_filters"}
    filters = [
        {**each, "disabled": True} if each["name"] == EXT_PROC else each
        for each in manager["http_filters"]
    ]
    rest = {key: value for key, value in manager.items() if key not in own}
    return {"http_filters": filters, **rest}


def _virtual_host(routes: Json) -> Json:
    (host,) = routes["virtual_hosts"]
    rest = {key: value for key, value in host.items() if key not in {"name", "domains", "routes"}}
    return {"routes": [_enabled(route) for route in host["routes"] if is_llm(route)], **rest}


def _enabled(route: Json) -> Json:
    per_filter = route.get("typed_per_filter_config", {}) | {EXT_PROC: _EXT_PROC_ON}
    return route | {"typed_per_filter_config": per_filter}
