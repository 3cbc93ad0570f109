"""Text → `ConfigFile`: YAML or JSON, environment references, strict, every error with its path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from extproc.config.file import ConfigFile, Section
from extproc.config.problems import ConfigError, Location, Problem, nearest, path_of

_S = TypeVar("_S", bound=Section)

CONFIG_BYTES_MAX: Final = 4 * 1024 * 1024
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

# A brace ends a plain value inside `{…}`, so while YAML is read, those of references are others.
_VEILED: Final = re.compile("\\$\ue000([A-Za-z_][A-Za-z0-9_]*)\ue001")


def read_config(text: str, env: Mapping[str, str]) -> ConfigFile:
    """The file's content, checked for form; what its names refer to is `compile_config`'s matter.

    A key whose `${NAME}` is not in `env` is absent rather than wrong: routing can be explained and
    tested without keys. Any other reference that is not set is an error.

    Raises:
        ConfigError: with every problem of form.

    """
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError([Problem("", "larger than 4 MiB", "split what is not routing out")])
    problems: list[Problem] = []
    try:
        veiled = _REFERENCE.sub("$\ue000\\1\ue001", text)
        tree = _resolved(parsed(veiled), env, (), problems)
    except RecursionError:
        raise ConfigError(
            [Problem("", "holds itself", "write out what the alias stands for")]
        ) from None
    if problems:
        raise ConfigError(problems)
    if not isinstance(tree, dict):
        raise ConfigError(
            [Problem("", "not a mapping", "write keys such as `routes:` at the top level")]
        )
    if twice := list(_both_spellings(tree, ConfigFile, ())):
        raise ConfigError(twice)
    return validated(ConfigFile, tree)


def read_text(path: Path) -> str:
    """The content of a YAML or JSON file. Raises `ConfigError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"can't be read ({error.strerror})"
        raise ConfigError([Problem(str(path), what, "name a YAML or JSON file")]) from None
    return text_of(content, path)


def text_of(content: bytes, path: Path) -> str:
    """What was read of `path`, as text. Raises `ConfigError`."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "not UTF-8", "save it as UTF-8")]) from None


def validated(section: type[_S], tree: object, hidden: Location = ()) -> _S:
    """`tree` as a section, strictly; `hidden` is the head of paths that no file holds.

    Raises:
        ConfigError: with every mistake and its path.

    """
    try:
        # By way of JSON, since strict mode takes a list for a tuple only there.
        return section.model_validate_json(json.dumps(tree))
    except ValidationError as error:  # a ValueError too, so it comes first
        raise ConfigError(
            _problem(detail, section, hidden) for detail in error.errors(include_url=False)
        ) from None
    except (TypeError, ValueError):
        raise ConfigError(
            [Problem("", "holds a value that JSON has no word for", "quote dates and keys")]
        ) from None


def parsed(text: str) -> object:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "config"
        # A duplicate key's message goes on to quote both values, which may be keys.
        what = (error.problem or "not YAML").split("\n")[0].split(" with value ")[0]
        raise ConfigError([Problem(at, what, "write valid YAML or JSON")]) from None
    except (YAMLError, ValueError, RecursionError):
        raise ConfigError([Problem("", "not readable", "write valid YAML or JSON")]) from None


def _resolved(
    node: object, env: Mapping[str, str], at: Location, problems: list[Problem]
) -> object:
    """`node` with its environment references replaced: in values, after parsing, never in text."""
    match node:
        case dict():
            return {
                _unveiled(key) if isinstance(key, str) else key: _resolved(
                    value, env, (*at, str(key)), problems
                )
                for key, value in node.items()
            }
        case list():
            return [_resolved(item, env, (*at, i), problems) for i, item in enumerate(node)]
        case str():
            text = _unveiled(node)
            missing = [name for name in _REFERENCE.findall(text) if name not in env]
            if not missing:
                return _REFERENCE.sub(lambda found: env[found[1]], text)
            if at[-1:] in {("apiKey",), ("api_key",)}:
                return None
            problems.append(
                Problem(path_of(at), f"{missing[0]} is not set", "set it in the environment")
            )
    return node


def _unveiled(text: str) -> str:
    return _VEILED.sub(r"${\1}", text)


def _both_spellings(node: object, section: type[Section], at: Location) -> Iterator[Problem]:
    """Keys given in camelCase and in snake_case: pydantic would silently take one of the two."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _both_spellings(item, section, (*at, index))
    if not isinstance(node, dict):
        return
    for name, field in section.model_fields.items():
        if name != field.alias and name in node and field.alias in node:
            yield Problem(
                path_of((*at, name)), f"{field.alias} is given as well", "keep one of the two"
            )
    for key, field in _fields(section).items():
        inner = next(_sections(field.annotation), None)
        if inner is None or key not in node:
            continue
        value, here = node[key], (*at, key)
        if get_origin(field.annotation) is dict and isinstance(value, dict):
            for name, item in value.items():
                yield from _both_spellings(item, inner, (*here, str(name)))
        else:
            yield from _both_spellings(value, inner, here)


def _problem(
    error: Any,  # noqa: ANN401  pydantic's ErrorDetails
    section: type[Section],
    hidden: Location = (),
) -> Problem:
    """What pydantic found, in words; `hidden` is the head of its paths that no file holds."""
    location: Location = error["loc"]
    if location[-1:] == ("[key]",):  # pydantic's word for what is wrong with a key itself
        location = location[:-1]
    path = path_of(location[len(hidden) :])
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(section, location[:-1])
            return Problem(path, "unknown key", nearest(str(location[-1]), known))
        case "missing":
            return Problem(path, "missing", "it is required")
        case "string_pattern_mismatch":
            what = "use up to 64 letters, digits, `.`, `_` and `-`"
            return Problem(path, "not a task type", what)
        case "value_error":
            return Problem(path, "not right", str(error["ctx"]["error"]))
        case "literal_error" | "enum":
            return Problem(path, "not one of the values", f"use {error['ctx']['expected']}")
        case _:
            return Problem(path, "not right", error["msg"][0].lower() + error["msg"][1:])


def _keys_at(section: Any, location: Location) -> list[str]:  # noqa: ANN401  a class of any kind
    """The keys that the section at `location` below `section` knows, as they are written."""
    for part in location:
        fields = _fields(section)
        annotation = fields[str(part)].annotation if str(part) in fields else section
        section = next(_sections(annotation), section)
    return [name for name in _fields(section) if "_" not in name]


def _fields(section: type[Section]) -> dict[str, Any]:
    fields = section.model_fields
    return dict(fields) | {str(field.alias): field for field in fields.values()}


def _sections(annotation: object) -> Iterator[type[Section]]:
    """The Section inside `dict[str, Section]`, `tuple[Section, ...] | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
