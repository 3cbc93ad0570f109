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
    """`secrets_dir` and `ca_file` are absolute paths as Envoy sees them.

    `request_timeout_s` bounds the time from a request's first byte to its last: an upload that
    never ends is answered with 408.
    """

    listen: TcpAddress
    admin: TcpAddress
    router: TcpAddress | UnixSocket
    secrets_dir: str
    ca_file: str
    request_timeout_s: float = 60.0
