"""The configuration on disk: what Envoy reads at its start, and what it watches.

Each file replaces the old one by a rename, in a single step, which is what Envoy notices. What is
not different is not written, so that Envoy and whoever else shares the directory are left in peace.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import TypeAdapter, ValidationError

from extproc.envoy_config.bootstrap import dynamic_bootstrap
from extproc.envoy_config.deployment import Deployment
from extproc.envoy_config.rendering import Json, to_json
from extproc.envoy_config.secrets import secret_file_name, secret_of
from extproc.envoy_config.signing import (
    CREDENTIALS_SUFFIX,
    credentials_file_name,
    credentials_of,
    signs,
)
from extproc.envoy_config.xds import FILES, Resources, files_of, from_files, resources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from extproc.snapshot import Snapshot
    from extproc.vocabulary import Provider, ProviderName, Secrets

CONFIG_FILE: Final = "envoy.json"
DEPLOYMENT_FILE: Final = "deployment.json"
SECRETS_DIR: Final = "secrets"

_READABLE: Final = 0o644
_SECRET: Final = 0o600
_SECRET_DIR: Final = 0o700

_VERSION: Final = re.compile(rb'{\s*"version_info": "([^"]*)"')
_VERSION_BYTES_MAX: Final = 128

Secret = Json | str
"""What a file holds for Envoy to inject, a resource; or to sign with, a text in AWS's format."""

_deployments: Final = TypeAdapter(Deployment)


class DirectoryError(Exception):
    """A directory that `extproc envoy -o` did not write, or not with this version."""


def write(
    directory: Path,
    snapshot: Snapshot,
    deployment: Deployment,
    secrets: Mapping[ProviderName, Secrets],
) -> None:
    """All that an Envoy needs to start, whatever was there before. Raises `OSError`.

    Secrets first, because Envoy refuses a configuration that names an absent file.
    """
    write_secrets(directory, secrets_of(snapshot, secrets))
    for file, held in files_of(resources(snapshot, deployment)).items():
        write_resources(directory, file, held)
    _write_text(directory / CONFIG_FILE, to_json(dynamic_bootstrap(deployment)))
    how = _deployments.dump_json(deployment, indent=2).decode() + "\n"
    _write_text(directory / DEPLOYMENT_FILE, how)


def read_deployment(directory: Path) -> Deployment:
    """How the directory was written. Raises `DirectoryError`."""
    path = directory / DEPLOYMENT_FILE
    try:
        return _deployments.validate_json(path.read_bytes())
    except OSError as error:
        what = f"can't be read ({error.strerror})"
    except ValidationError:
        what = "is not what this version writes"
    raise DirectoryError(f"{path}: {what}; write it with `extproc envoy CONFIG -o {directory}`")


def read_resources(directory: Path) -> Resources | None:
    """What the directory holds for Envoy; None if a part of it is missing."""
    held = {file: _resources_in(directory / file) for file in FILES}
    try:
        return from_files({file: found for file, found in held.items() if found is not None})
    except (KeyError, IndexError):
        return None


def version_of(path: Path) -> str | None:
    """The version of a file that Envoy watches; None if there is none."""
    try:
        with path.open("rb") as file:
            head = _VERSION.match(file.read(_VERSION_BYTES_MAX))
    except OSError:
        return None
    return head[1].decode() if head else None


def write_resources(directory: Path, file: str, held: list[Json]) -> bool:
    """Whether there was anything to write. Raises `OSError`."""
    path = directory / file
    if _resources_in(path) == held:
        return False
    _write_versioned(path, held, _READABLE)
    return True


def secrets_of(snapshot: Snapshot, secrets: Mapping[ProviderName, Secrets]) -> dict[str, Secret]:
    """Each secret by the name of its file."""
    found: dict[str, Secret] = {}
    for name, held in secrets.items():
        found |= _secret_files(snapshot.providers[name], held)
    return found


def _secret_files(provider: Provider, held: Secrets) -> dict[str, Secret]:
    found: dict[str, Secret] = {
        secret_file_name(provider, header): secret_of(provider, value, header)
        for header, value in held.headers.items()
    }
    if held.key is None:
        return found
    if signs(provider):
        return {**found, credentials_file_name(provider): credentials_of(held.key)}
    return {**found, secret_file_name(provider): secret_of(provider, held.key)}


def secret_files(directory: Path) -> set[str]:
    """The names of the files that hold a secret now."""
    found = (directory / SECRETS_DIR).glob("*")
    return {path.name for path in found if path.suffix in {".json", CREDENTIALS_SUFFIX}}


def has_version(secret_file: Path) -> bool:
    """Whether Envoy tells which version of it, it runs."""
    return secret_file.suffix != CREDENTIALS_SUFFIX


def write_secrets(directory: Path, secrets: Mapping[str, Secret]) -> dict[Path, Secret | None]:
    """Returns the files that changed and what was in each; those of other secrets stay.

    Raises `OSError`.
    """
    folder = directory / SECRETS_DIR
    folder.mkdir(mode=_SECRET_DIR, parents=True, exist_ok=True)
    folder.chmod(_SECRET_DIR)  # it may be left from a time with other permissions
    changed: dict[Path, Secret | None] = {}
    for file, secret in secrets.items():
        path = folder / file
        held = _secret_in(path)
        if held != secret or path.stat().st_mode & 0o777 != _SECRET:
            if isinstance(secret, str):
                _replace(path, secret, _SECRET)
            else:
                _write_versioned(path, [secret], _SECRET)
            changed[path] = held
    return changed


def remove_secrets(directory: Path, files: Iterable[str]) -> None:
    """Raises `OSError`, but not for a file that is gone already."""
    for file in files:
        (directory / SECRETS_DIR / file).unlink(missing_ok=True)


def _secret_in(path: Path) -> Secret | None:
    """None if the file is absent, empty or broken."""
    if has_version(path):
        held = _resources_in(path)
        return held[0] if held else None
    try:
        return path.read_text("utf-8") or None
    except (OSError, ValueError):
        return None


def _read(path: Path) -> Any:  # noqa: ANN401  a JSON value
    return msgspec.json.decode(path.read_bytes())


def _resources_in(path: Path) -> list[Json] | None:
    """None if the file is absent or broken."""
    try:
        held: list[Json] = _read(path)["resources"]
    except (OSError, ValueError, KeyError):
        return None
    return held


def _write_versioned(path: Path, held: list[Json], mode: int) -> None:
    """A discovery response. Its version is the time, since one made of a key would tell of it."""
    response = {"version_info": str(time.time_ns()), "resources": held}
    _replace(path, to_json(response), mode)


def _write_text(path: Path, content: str) -> None:
    try:
        if path.read_text("utf-8") == content:
            return
    except (OSError, ValueError):
        pass
    _replace(path, content, _READABLE)


def _replace(path: Path, content: str, mode: int) -> None:
    """`mode` holds from the first byte: the file is created with it, not changed to it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor has no path
        file.write(content)
    temporary.replace(path)
