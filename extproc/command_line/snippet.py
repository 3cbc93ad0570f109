"""`extproc envoy --snippet`: what to add to an Envoy of one's own, as YAML to paste from."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from extproc.envoy_config import Deployment
from extproc.envoy_config.snippet import snippet
from extproc.snapshot import Snapshot


def text_of(config: Path, snapshot: Snapshot, deployment: Deployment) -> str:
    heading = (
        f"# What to add to your own Envoy for {config}; docs/own-envoy.md goes through it.\n"
        f"# Write the files that it names, and keep them in step, with\n"
        f"#   extproc envoy {config} -o DIR --as {deployment.directory}\n"
        f"#   extproc serve {config} --envoy DIR\n"
    )
    parts = (
        f"\n{_comment(part.where)}\n{_yaml({part.name: part.content})}"
        for part in snippet(snapshot, deployment)
    )
    return heading + "".join(parts)


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in text.splitlines())


def _yaml(value: object) -> str:
    writer = YAML()
    writer.width = 100
    out = StringIO()
    writer.dump(_readable(value), out)
    return out.getvalue()


def _readable(value: Any) -> Any:  # noqa: ANN401  a JSON value
    """Texts of several lines, such as the Lua filter's, as they are written."""
    match value:
        case dict():
            return {key: _readable(each) for key, each in value.items()}
        case list():
            return [_readable(each) for each in value]
        case str() if "\n" in value:
            return LiteralScalarString(value)
    return value
