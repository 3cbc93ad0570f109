"""The part of Envoy's configuration that follows the routing config, as files for it to watch.

Each kind of resource has its own discovery service, so that open connections see a change too:
clusters (CDS), routes (RDS), and the filters that depend on the providers (ECDS). A connection
keeps the listener (LDS) it was accepted by, so that one holds only what a reload seldom changes.
docs/adr/0010-reload.md says why, and in which order they are written.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from extproc.envoy_config.clusters import dynamic_clusters
from extproc.envoy_config.key_holders import key_holders
from extproc.envoy_config.listener import listener
from extproc.envoy_config.rendering import Json, as_json
from extproc.envoy_config.upstream import PROVIDER, SCRUB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extproc.envoy_config.deployment import Deployment
    from extproc.snapshot import Snapshot

CDS: Final = "cds.json"
RDS: Final = "rds.json"
LDS: Final = "lds.json"
FILTERS: Final = {SCRUB: "filter-scrub.json", PROVIDER: "filter-provider.json"}
FILES: Final = (CDS, *FILTERS.values(), RDS, LDS)

_TYPES: Final = "type.googleapis.com/"
_ROUTES_TYPE: Final = _TYPES + "envoy.config.route.v3.RouteConfiguration"
_CLUSTER_TYPE: Final = _TYPES + "envoy.config.cluster.v3.Cluster"
_LISTENER_TYPE: Final = _TYPES + "envoy.config.listener.v3.Listener"
_EXTENSION_TYPE: Final = _TYPES + "envoy.config.core.v3.TypedExtensionConfig"


@dataclass(frozen=True, slots=True)
class Resources:
    """`clusters` and `filters` by name; none of these values is ever changed in place."""

    clusters: Mapping[str, Json]
    filters: Mapping[str, Json]
    routes: Json
    listener: Json


def resources(snapshot: Snapshot, deployment: Deployment) -> Resources:
    """What `snapshot` needs of Envoy beside the bootstrap."""
    found = deepcopy(as_json(listener(snapshot, deployment)))
    manager = found["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager.pop("route_config")
    manager["rds"] = {
        "route_config_name": routes["name"],
        "config_source": config_source(deployment.directory, RDS),
    }
    upstream = manager["http_filters"][-1]["typed_config"]["upstream_http_filters"]
    filters = {}
    for each in upstream:
        if each["name"] in FILTERS:
            config = each.pop("typed_config")
            filters[each["name"]] = config
            each["config_discovery"] = {
                "config_source": config_source(deployment.directory, FILTERS[each["name"]]),
                "type_urls": [config["@type"]],
            }
    clusters = key_holders(snapshot, deployment) | dynamic_clusters(snapshot, deployment)
    return Resources(clusters, filters, routes, found)


def config_source(directory: str, file: str) -> Json:
    return {
        "path_config_source": {"path": str(PurePosixPath(directory) / file)},
        "resource_api_version": "V3",
    }


def files_of(wanted: Resources) -> dict[str, list[Json]]:
    """The resources that each file holds, in an order that names nothing before it is there."""
    return {
        CDS: [{"@type": _CLUSTER_TYPE, **cluster} for cluster in wanted.clusters.values()],
        **{
            FILTERS[name]: [{"@type": _EXTENSION_TYPE, "name": name, "typed_config": config}]
            for name, config in wanted.filters.items()
        },
        RDS: [{"@type": _ROUTES_TYPE, **wanted.routes}],
        LDS: [{"@type": _LISTENER_TYPE, **wanted.listener}],
    }


def from_files(held: Mapping[str, list[Json]]) -> Resources:
    """The inverse of `files_of`. Raises `KeyError` or `IndexError` if something is missing."""
    return Resources(
        clusters={one["name"]: _untyped(one) for one in held[CDS]},
        filters={name: held[file][0]["typed_config"] for name, file in FILTERS.items()},
        routes=_untyped(held[RDS][0]),
        listener=_untyped(held[LDS][0]),
    )


def _untyped(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "@type"}
