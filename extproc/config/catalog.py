"""The built-in catalog: which models exist, where they run, what they can do (`catalog.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import Field, TypeAdapter
from ruamel.yaml import YAML

from extproc.config.file import ModelSection, Text


class CatalogEntry(ModelSection):
    """A model of the catalog: what a config may say of one, and where it is known from."""

    aliases: list[Text] = Field(default_factory=list)
    source: Text
    date: object
    quality_source: Text | None = None
    quality_date: object = None


@cache
def catalog() -> Mapping[str, CatalogEntry]:
    """Every model by its own name, in the file's order."""
    text = files("extproc.config").joinpath("catalog.yaml").read_text("utf-8")
    tree = YAML(typ="safe", pure=True).load(text)["models"]
    return TypeAdapter(dict[str, CatalogEntry]).validate_python(tree, strict=False)


@cache
def aliases() -> Mapping[str, str]:
    """Every other name of a catalog model → its own name."""
    return {alias: name for name, entry in catalog().items() for alias in entry.aliases}
