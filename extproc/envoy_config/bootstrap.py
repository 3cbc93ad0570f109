"""Snapshot and deployment in, a complete Envoy configuration out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from betterproto2 import Casing
from envoy_data_plane.envoy.config.bootstrap.v3 import Admin, Bootstrap, BootstrapStaticResources
from envoy_data_plane.envoy.config.core.v3 import Node

from extproc.envoy_config.clusters import clusters
from extproc.envoy_config.extension import address
from extproc.envoy_config.listener import listener

if TYPE_CHECKING:
    from extproc.envoy_config.deployment import Deployment
    from extproc.snapshot import Snapshot


def bootstrap(snapshot: Snapshot, deployment: Deployment) -> Bootstrap:
    """Holds no secret: the files it names must exist before Envoy reads it."""
    return Bootstrap(
        node=Node(id="extproc", cluster="extproc"),  # required by file secrets, otherwise unused
        admin=Admin(address=address(deployment.admin)),
        static_resources=BootstrapStaticResources(
            listeners=[listener(snapshot, deployment)],
            clusters=clusters(snapshot, deployment),
        ),
    )


def to_json(config: Bootstrap) -> str:
    # Envoy reads both spellings; snake case is that of its documentation.
    return json.dumps(config.to_dict(casing=Casing.SNAKE), indent=2) + "\n"
