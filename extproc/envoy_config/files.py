"""The configuration on disk: `envoy.json` for everybody, `secrets/` for Envoy's user alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from extproc.envoy_config.bootstrap import to_json
from extproc.envoy_config.secrets import secret_file_name, secret_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envoy_data_plane.envoy.config.bootstrap.v3 import Bootstrap

    from extproc.vocabulary import ProviderName

CONFIG_FILE: Final = "envoy.json"
SECRETS_DIR: Final = "secrets"

_READABLE: Final = 0o644
_SECRET: Final = 0o600
_SECRET_DIR: Final = 0o700


def write(directory: Path, config: Bootstrap, keys: Mapping[ProviderName, str]) -> None:
    """Secrets first, because Envoy refuses a configuration that names an absent file.

    Each file replaces the old one in a single step: a running Envoy notices the rename of a secret
    and takes the new key without a restart. Raises `OSError`.
    """
    secrets = directory / SECRETS_DIR
    secrets.mkdir(mode=_SECRET_DIR, parents=True, exist_ok=True)
    secrets.chmod(_SECRET_DIR)  # it may be left from a time with other permissions
    for provider, key in keys.items():
        _replace(secrets / secret_file_name(provider), secret_json(provider, key), _SECRET)
    _replace(directory / CONFIG_FILE, to_json(config), _READABLE)


def _replace(path: Path, content: str, mode: int) -> None:
    """`mode` holds from the first byte: the file is created with it, not changed to it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor has no path
        file.write(content)
    temporary.replace(path)
