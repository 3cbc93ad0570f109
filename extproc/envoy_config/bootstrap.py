"""Snapshot and deployment in, a complete Envoy configuration out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extproc.envoy_config.clusters import dynamic_clusters, static_clusters
from extproc.envoy_config.extension import address
from extproc.envoy_config.listener import listener
from extproc.envoy_config.rendering import Json, as_json
from extproc.envoy_config.xds import CDS, LDS, config_source

if TYPE_CHECKING:
    from extproc.envoy_config.deployment import Deployment
    from extproc.snapshot import Snapshot

_NODE: Final = {"id": "extproc", "cluster": "extproc"}
"""Required by what is read from files, otherwise unused."""


def bootstrap(snapshot: Snapshot, deployment: Deployment) -> Json:
    """All in one, to read. No secret is in it: the files it names must exist before Envoy reads."""
    return {
        "node": _NODE,
        "admin": {"address": as_json(address(deployment.admin))},
        "static_resources": {
            "listeners": [as_json(listener(snapshot, deployment))],
            "clusters": [
                *map(as_json, static_clusters(deployment)),
                *dynamic_clusters(snapshot, deployment).values(),
            ],
        },
    }


def dynamic_bootstrap(deployment: Deployment) -> Json:
    """What never changes while Envoy runs, and where it finds the rest."""
    return {
        "node": _NODE,
        "admin": {"address": as_json(address(deployment.admin))},
        "static_resources": {"clusters": [*map(as_json, static_clusters(deployment))]},
        "dynamic_resources": {
            "cds_config": config_source(deployment.directory, CDS),
            "lds_config": config_source(deployment.directory, LDS),
        },
    }
