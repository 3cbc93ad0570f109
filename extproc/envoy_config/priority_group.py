"""How a route is told to send attempt N to group N of the chain that came with the request.

The cluster specifier `priority_group` is new in Envoy 1.40, and envoy-data-plane does not have its
messages yet: the two that are needed are declared here, from the published field numbers, and
compared with the real Envoy's own descriptors by `envoy --mode validate` in the tests. Nothing else
knows the specifier, so that an older Envoy can get a static chain by another emitter.
"""

from __future__ import annotations

from typing import Final

import betterproto2
from envoy_data_plane.envoy.config.route.v3 import ClusterSpecifierPlugin
from envoy_data_plane.google.protobuf import UInt32Value
from envoy_data_plane.message_pool import default_message_pool
from pydantic.dataclasses import dataclass

from extproc.envoy_config.extension import extension
from extproc.snapshot import CHAIN_NAMESPACE

_PACKAGE: Final = "envoy.extensions.router.cluster_specifiers.priority_group.v3"


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class ClusterWeight(betterproto2.Message):
    cluster_name: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    weight: int | None = betterproto2.field(
        2, betterproto2.TYPE_MESSAGE, unwrap=lambda: UInt32Value, optional=True
    )


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class PriorityGroup(betterproto2.Message):
    name: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    clusters: list[ClusterWeight] = betterproto2.field(2, betterproto2.TYPE_MESSAGE, repeated=True)


@dataclass(eq=False, repr=False, config={"extra": "forbid"})
class PriorityGroupClusterSpecifier(betterproto2.Message):
    priority_groups: list[PriorityGroup] = betterproto2.field(
        1, betterproto2.TYPE_MESSAGE, repeated=True
    )
    override_metadata_namespace: str = betterproto2.field(2, betterproto2.TYPE_STRING)


default_message_pool.register_message(
    _PACKAGE, "PriorityGroupClusterSpecifier", PriorityGroupClusterSpecifier
)


def chain_specifier(default_cluster: str) -> ClusterSpecifierPlugin:
    """Attempt N goes to group N of `llm.chain`; `default_cluster` serves requests without one."""
    default = PriorityGroup(
        name="default", clusters=[ClusterWeight(cluster_name=default_cluster, weight=1)]
    )
    return ClusterSpecifierPlugin(
        extension=extension(
            "envoy.router.cluster_specifier_plugin.priority_group",
            PriorityGroupClusterSpecifier(
                priority_groups=[default],
                # Holds `{"priority_groups": […]}`, one group per attempt.
                override_metadata_namespace=CHAIN_NAMESPACE,
            ),
        )
    )
