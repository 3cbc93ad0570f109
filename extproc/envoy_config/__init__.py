"""Envoy's whole configuration, generated from a routing config."""

from extproc.envoy_config.bootstrap import bootstrap
from extproc.envoy_config.deployment import Deployment, TcpAddress, UnixSocket
from extproc.envoy_config.files import CONFIG_FILE, SECRETS_DIR, write
from extproc.envoy_config.rendering import to_json

__all__ = [
    "CONFIG_FILE",
    "SECRETS_DIR",
    "Deployment",
    "TcpAddress",
    "UnixSocket",
    "bootstrap",
    "to_json",
    "write",
]
