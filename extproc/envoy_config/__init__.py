"""Envoy's whole configuration, generated from a routing config."""

from extproc.envoy_config.bootstrap import bootstrap, to_json
from extproc.envoy_config.deployment import Deployment, TcpAddress, UnixSocket
from extproc.envoy_config.files import CONFIG_FILE, SECRETS_DIR, write

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
