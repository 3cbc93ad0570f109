"""The README's Python example, run as it stands but for where the router listens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from data_plane import DataPlane

README = Path(__file__).resolve().parents[2] / "README.md"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_sdk_example_of_the_readme_is_answered_by_the_summarization_route(
    plane: DataPlane,
) -> None:
    (example,) = PYTHON_BLOCK.findall(README.read_text("utf-8"))
    names: dict[str, Any] = {}
    exec(example.replace("http://127.0.0.1:10000", plane.base_url), names)
    names["client"].close()
    assert "claude-3-haiku-20240307" in names["answer"].choices[0].message.content
