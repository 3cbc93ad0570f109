"""Flags shared by the commands that place Envoy on a machine, and what they mean."""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from extproc.command_line.addresses import UNIX_PREFIX, host_and_port, port
from extproc.envoy_config import SECRETS_DIR, Deployment, TcpAddress, UnixSocket

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch; Envoy's own images
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSDs
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="where Envoy listens (127.0.0.1)")
    parser.add_argument("--port", type=port, default=10000, help="for clients (10000)")
    parser.add_argument(
        "--envoy-admin-port", type=port, default=9901, metavar="PORT", help="on loopback (9901)"
    )
    parser.add_argument(
        "--ca-file",
        type=Path,
        default=_trusted_roots(),
        metavar="FILE",
        help="roots that providers' certificates are verified against, as Envoy sees it",
    )


def add_directory_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as",
        dest="seen_as",
        type=Path,
        metavar="DIR",
        help="where Envoy sees the output directory, if elsewhere (in a container, say)",
    )
    parser.add_argument(
        "--secrets-dir",
        type=Path,
        metavar="DIR",
        help="where Envoy sees the secrets, if not in that directory's secrets/",
    )


def deployment(
    arguments: argparse.Namespace, routers: Iterable[TcpAddress | UnixSocket], directory: Path
) -> Deployment:
    """`directory` is where the files are written; Envoy may see it elsewhere."""
    seen_as: Path = getattr(arguments, "seen_as", None) or directory.resolve()
    secrets_dir: Path = getattr(arguments, "secrets_dir", None) or seen_as / SECRETS_DIR
    return Deployment(
        listen=TcpAddress(arguments.host, arguments.port),
        admin=TcpAddress("127.0.0.1", arguments.envoy_admin_port),
        routers=tuple(routers),
        directory=str(seen_as),
        secrets_dir=str(secrets_dir),
        ca_file=str(arguments.ca_file),
    )


def router_address(text: str) -> TcpAddress | UnixSocket:
    """`host:port` or `unix:/path`."""
    if text.startswith(UNIX_PREFIX):
        return UnixSocket(text.removeprefix(UNIX_PREFIX))
    return TcpAddress(*host_and_port(text))


def _trusted_roots() -> Path:
    """The machine's bundle of roots; `SSL_CERT_FILE` and the build's own default come first."""
    places = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_BUNDLES)
    return next(
        (Path(place) for place in places if place and Path(place).is_file()), Path(_BUNDLES[0])
    )
