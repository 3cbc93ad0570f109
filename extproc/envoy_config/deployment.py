"""Where Envoy runs: the addresses and paths that a routing config does not know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """`host` is a name or an IP literal, an IPv6 one without brackets."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixSocket:
    path: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """`secrets_dir`, `ca_file` and `directory` are absolute paths as Envoy sees them.

    `directory` is where it finds the files that it watches (`extproc.envoy_config.xds`).

    `routers` are the replicas of the router; a name with several addresses stands for several that
    are not told apart.

    `request_timeout_s` bounds the time from a request's first byte to its last: an upload that
    never ends is answered with 408.
    """

    listen: TcpAddress
    admin: TcpAddress
    routers: tuple[TcpAddress | UnixSocket, ...]
    secrets_dir: str
    ca_file: str
    directory: str = "/etc/envoy"
    request_timeout_s: float = 60.0
