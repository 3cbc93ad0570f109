"""The README is true: its config, its keys, its commands and its error codes are the product's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from extproc.command_line import main
from extproc.config.file import ConfigFile, MatchSection, ModelSection, ProviderSection, Section
from extproc.config.presets import PRESETS
from extproc.envoy_config.local_replies import table

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text("utf-8")
SOURCES = "\n".join(
    path.read_text("utf-8") for path in (REPOSITORY / "extproc").rglob("*.py")
) + " ".join(reply.code for reply in table(1))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def documented_keys() -> set[str]:
    """What stands in backticks in the table of keys, `providers.NAME` and the like cut short."""
    rows = re.findall(r"^\| `([A-Za-z.]+)[^|]*` \|", README, re.MULTILINE)
    return {row.split(".")[0] for row in rows}


def keys_of(section: type[Section]) -> set[str]:
    return {str(field.alias) for field in section.model_fields.values()}


def linked_files() -> Iterator[str]:
    yield from re.findall(r"\]\(([^)#:]+)\)", README)


def test_the_config_it_explains_is_the_one_that_ships() -> None:
    (shown,) = blocks("yaml")
    shipped = (REPOSITORY / "config/seed.yaml").read_text("utf-8")
    assert YAML(typ="safe", pure=True).load(shown) == YAML(typ="safe", pure=True).load(shipped)


def test_every_top_level_key_is_in_its_table() -> None:
    assert keys_of(ConfigFile) <= documented_keys()


@pytest.mark.parametrize("section", [ProviderSection, ModelSection, MatchSection])
def test_every_key_of_the_sections_it_lists_is_named(section: type[Section]) -> None:
    unnamed = {key for key in keys_of(section) if f"`{key}`" not in README}
    assert not unnamed


def test_every_preset_is_named() -> None:
    assert {name for name in PRESETS if f"`{name}`" not in README} == set()


def test_every_error_code_it_names_exists() -> None:
    (failures,) = re.findall(r"## When things fail\n(.*?)\n## ", README, re.DOTALL)
    codes = set(re.findall(r"`([a-z]+_[a-z_]+)`", failures))
    assert codes
    assert {code for code in codes if code not in SOURCES} == set()


def test_every_command_it_lists_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    named = set(re.findall(r"\bextproc ([a-z]+)\b", README))
    assert named
    assert {
        name for name in named if not re.search(rf"^    {name}\b", listed, re.MULTILINE)
    } == set()


@pytest.mark.parametrize("path", sorted(set(linked_files())))
def test_every_file_it_links_to_exists(path: str) -> None:
    assert (REPOSITORY / path).exists()


def test_the_explanation_it_shows_is_the_one_that_is_given() -> None:
    (block,) = (block for block in blocks("console") if "extproc explain" in block)
    command, _, shown = block.partition("\n")
    request = re.findall(r"echo '(.*?)' \| extproc explain config/seed.yaml -", command)[0]
    said = subprocess.run(
        [sys.executable, "-m", "extproc", "explain", "config/seed.yaml", "-"],
        input=request.encode(),
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    assert said.stdout.decode() == shown
