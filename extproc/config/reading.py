"""Text → `ConfigFile`: YAML or JSON, environment references, strict, every error with its path."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from extproc.config.file import ConfigFile, Section
from extproc.config.problems import ConfigError, Location, Problem, nearest, path_of

_S = TypeVar("_S", bound=Section)

CONFIG_BYTES_MAX: Final = 4 * 1024 * 1024
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

# A brace ends a plain value inside `{…}`, so while YAML is read, those of references are others.
_VEILED: Final = re.compile("\\$\ue000([A-Za-z_][A-Za-z0-9_]*)\ue001")

_SHELLS: Final = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
"""A reference as shells allow it beside ours; anywhere but for a key it may well be meant."""

_ENDLESS: Final = Problem("", "holds itself", "write out what the alias stands for")

_ALONE: Final = {
    *("maxAttempts", "firstByteTimeout", "bodyBytesMax", "requestedModel", "boundHistory"),
    *("healthCheck", "decisionLog", "telemetry", "server"),
}
"""Keys that no name and no route depends on."""

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?|true|false")


def read_config(text: str, env: Mapping[str, str]) -> ConfigFile:
    """The file's content, checked for form; what its names refer to is `compile_config`'s matter.

    A key whose `${NAME}` is not in `env` is no error: routing can be explained and tested without
    keys, and `unset_in` tells its name. Any other reference that is not set is one.

    Raises:
        ConfigError: with every problem of form.

    """
    if len(text) > CONFIG_BYTES_MAX:
        raise ConfigError([Problem("", "larger than 4 MiB", "split what is not routing out")])
    problems: list[Problem] = []
    try:
        veiled = _REFERENCE.sub("$\ue000\\1\ue001", text)
        written = parsed(veiled)
        tree = _resolved(written, env, (), problems)
    except RecursionError:
        raise ConfigError([_ENDLESS]) from None
    if not isinstance(tree, dict):
        what = Problem("", "not a mapping", "write keys such as `routes:` at the top level")
        raise ConfigError([*problems, what])
    problems += _both_spellings(tree, ConfigFile, ())
    try:
        file = _formed(tree, written)
    except ConfigError as error:
        told = {problem.path for problem in problems}
        problems += [problem for problem in error.problems if problem.path not in told]
    if problems:
        raise ConfigError(problems, _rest(tree, written, problems))
    return file


def unset_in(key: str) -> str | None:
    """The variable that should have held `key` and is not set, if that is what it says."""
    found = _VEILED.search(key)
    return found and found[1]


def _rest(
    tree: Mapping[str, object], written: object, problems: Iterable[Problem]
) -> ConfigFile | None:
    """The file without the keys that are wrong, if no name and no route depends on one of them."""
    wrong = {re.split(r"[.\[]", problem.path)[0] for problem in problems}
    if any(to_camel(key) not in _ALONE for key in wrong) or not isinstance(written, dict):
        return None
    left, left_written = (
        {key: value for key, value in one.items() if key not in wrong} for one in (tree, written)
    )
    try:
        return _formed(left, left_written)
    except ConfigError:
        return None


def _formed(tree: object, written: object) -> ConfigFile:
    """`tree` as a file. What the environment supplies is text, and a number where one is wanted."""
    try:
        return validated(ConfigFile, tree)
    except ConfigError as error:
        wrong = {problem.path for problem in error.problems}
        again = _with_numbers(tree, written, wrong, ())
        if again == tree:
            raise
    return validated(ConfigFile, again)


def _with_numbers(node: object, written: object, wrong: Collection[str], at: Location) -> object:
    """`node`, with numbers where something is `wrong` with what a reference brought."""
    match node:
        case dict():
            assert isinstance(written, dict)
            pairs = zip(node.items(), written.values(), strict=True)
            return {k: _with_numbers(v, w, wrong, (*at, str(k))) for (k, v), w in pairs}
        case list():
            assert isinstance(written, list)
            items = enumerate(zip(node, written, strict=True))
            return [_with_numbers(v, w, wrong, (*at, i)) for i, (v, w) in items]
        case str() if path_of(at) in wrong and _VEILED.fullmatch(f"{written}"):
            return json.loads(node) if _NUMBER.fullmatch(node) else node
    return node


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
        unspeakable = list(_unspeakable(tree, ()))
    except RecursionError:
        raise ConfigError([_ENDLESS]) from None
    if unspeakable:
        raise ConfigError(
            replace(problem, path=path_of(at[len(hidden) :])) for at, problem in unspeakable
        )
    try:
        # By way of JSON, since strict mode takes a list for a tuple only there.
        return section.model_validate_json(json.dumps(tree))
    except ValidationError as error:  # a ValueError too, so it comes first
        raise ConfigError(
            _problem(detail, section, hidden) for detail in error.errors(include_url=False)
        ) from None


def _unspeakable(node: object, at: Location) -> Iterator[tuple[Location, Problem]]:
    """What YAML can say and JSON can't."""
    match node:
        case dict():
            for key, value in node.items():
                here = (*at, str(key))
                yield from _unspeakable(key, here)
                yield from _unspeakable(value, here)
        case list():
            for index, item in enumerate(node):
                yield from _unspeakable(item, (*at, index))
        case str():
            if any("\ud800" <= char <= "\udfff" for char in node):
                yield at, Problem("", "holds half a character", "write the whole one")
        case None | bool() | int() | float():
            pass
        case _:
            what = "holds a value that JSON has no word for"
            yield at, Problem("", what, "quote dates and keys")


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
            is_key = at[-1:] in {("apiKey",), ("api_key",)}
            if "${" in _REFERENCE.sub("", text) or (is_key and _SHELLS.fullmatch(text)):
                what = "looks like a reference to the environment and is none"
                remedy = "write `${NAME}`, the name in letters, digits and `_`"
                problems.append(Problem(path_of(at), what, remedy))
                return text
            names = _REFERENCE.findall(text)
            if is_key and not all(env.get(name) for name in names):
                return _VEILED.sub(lambda found: env.get(found[1]) or found[0], node)
            missing = [name for name in names if name not in env]
            if not missing:
                return _REFERENCE.sub(lambda found: env[found[1]], text)
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
            expected = error["ctx"]["expected"]
            remedy = f"use {'true' if expected == 'True' else expected}"  # as YAML and JSON have it
            return Problem(path, "not one of the values", remedy)
        case _:
            return Problem(path, "not right", error["msg"][0].lower() + error["msg"][1:])


def _keys_at(section: Any, location: Location) -> list[str]:  # noqa: ANN401  a class of any kind
    """The keys that the section at `location` below `section` knows, as they are written."""
    for part in location:
        fields = _fields(section)
        annotation = fields[str(part)].annotation if str(part) in fields else section
        section = next(_sections(annotation), section)
    return [field.alias or name for name, field in section.model_fields.items()]


def _fields(section: type[Section]) -> dict[str, Any]:
    fields = section.model_fields
    return dict(fields) | {str(field.alias): field for field in fields.values()}


def _sections(annotation: object) -> Iterator[type[Section]]:
    """The Section inside `dict[str, Section]`, `tuple[Section, ...] | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
