"""Keeping Envoy's directory in step with the config, for `extproc serve --envoy DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from extproc.config import Compiled
from extproc.envoy_config import Deployment, TcpAddress
from extproc.envoy_config.files import DirectoryError, read_deployment, secrets_of
from extproc.envoy_config.xds import resources
from extproc.servers.envoy_admin import EnvoyAdmin
from extproc.servers.envoy_update import GRACE_S_MAX, EnvoyUpdate, Needs
from extproc.servers.reload import Publish, ReloadError
from extproc.snapshot import Snapshot

_MARGIN_S: Final = 1.0
"""For the back-off between attempts, and for what is on its way."""


def publishing(directory: Path) -> Publish[Compiled]:
    """Raises `ReloadError` if `extproc envoy -o` did not write the directory."""
    try:
        deployment = read_deployment(directory)
    except DirectoryError as error:
        raise ReloadError(str(error)) from None

    def needs(compiled: Compiled) -> Needs:
        snapshot = compiled.snapshot
        return Needs(resources(snapshot, deployment), secrets_of(snapshot, compiled.secrets))

    admin = EnvoyAdmin(_url(deployment))
    return EnvoyUpdate(directory, needs, admin, lambda compiled: grace_s(compiled.snapshot)).publish


def grace_s(snapshot: Snapshot) -> float:
    """From a decision to its last attempt's first byte: after that, no cluster is chosen."""
    overrides = [p.first_byte_timeout_s or 0.0 for p in snapshot.providers.values()]
    longest_attempt_s = max([snapshot.first_byte_timeout_s, *overrides])
    return min(GRACE_S_MAX, snapshot.max_attempts * longest_attempt_s + _MARGIN_S)


def _url(deployment: Deployment) -> str:
    at: TcpAddress = deployment.admin
    host = "127.0.0.1" if at.host in {"0.0.0.0", "::"} else at.host  # noqa: S104  # compared only
    return f"http://[{host}]:{at.port}" if ":" in host else f"http://{host}:{at.port}"
