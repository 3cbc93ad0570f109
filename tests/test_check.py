"""`extproc check` beyond single mistakes: what it never gets wrong, what it notes, its schema."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final

import pytest
from configs import CATCH_ALL, KEYS, SEED, compiled, request_of, snapshot_of
from ruamel.yaml import YAML

from extproc.command_line import main
from extproc.config import ConfigError, read_config
from extproc.config.file import ConfigFile
from extproc.config.routes import check_reachable, route_of
from extproc.config.run import Compilation
from extproc.config.schema import config_schema
from extproc.policy.match import match_route
from extproc.policy.request import Request
from extproc.snapshot import Route
from extproc.vocabulary import Estimate

CONFIGS: Final = Path(__file__).resolve().parent.parent / "config"
EXAMPLES: Final = sorted(p for p in CONFIGS.glob("*.yaml") if not p.name.endswith(".tests.yaml"))
BAD_CONFIGS: Final = Path(__file__).with_name("bad_configs")


# Routes that no request can reach

PATTERNS: Final = ("a", "b", "ab", "a*", "*b", "*a*", "a*b", "*")
TEXTS: Final = ("a", "b", "ab", "ba", "aab", "axb", "c", None)
TASKS: Final = ("chat", "writing", "design")
FEATURES: Final[Mapping[str, Any]] = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "structuredOutput": {"response_format": {"type": "json_object"}},
    "reasoning": {"reasoning_effort": "low"},
}
TOKENS: Final = (0, 1, 2, 3, 4, 5, 6, 1000)

Asked = tuple[Request, str | None, str, Estimate]


def some(rng: random.Random, options: Sequence[str]) -> list[str]:
    return rng.sample(options, rng.randint(1, 2))


def a_range(rng: random.Random) -> dict[str, int]:
    low, high = sorted(rng.choices(TOKENS[:-1], k=2))
    return rng.choice([{"min": low}, {"max": high}, {"min": low, "max": high}])


CONDITIONS: Final[Mapping[str, Callable[[random.Random], object]]] = {
    "app": lambda rng: some(rng, PATTERNS),
    "taskType": lambda rng: some(rng, TASKS),
    "model": lambda rng: some(rng, PATTERNS),
    "path": lambda rng: some(rng, [f"/{pattern}/v1/chat/completions" for pattern in PATTERNS]),
    "streaming": lambda rng: rng.choice([True, False]),
    "inputTokens": a_range,
    "outputTokens": a_range,
    "has": lambda rng: some(rng, tuple(FEATURES)),
    "headers": lambda rng: {name: some(rng, PATTERNS) for name in some(rng, ("x-a", "X-B"))},
    "metadata": lambda rng: {name: some(rng, PATTERNS) for name in some(rng, ("m", "n"))},
}


def routes_of(
    rng: random.Random, conditions: Sequence[str], most: int
) -> tuple[tuple[Route, ...], set[int]]:
    """Up to 7 routes of at most `most` conditions each; those that the check calls unreachable."""
    matches: list[dict[str, Any]] = [
        {name: CONDITIONS[name](rng) for name in rng.sample(conditions, rng.randint(1, most))}
        for _ in range(rng.randint(2, 7))
    ]
    tree = {"routes": [{"match": m, "model": "gpt-5"} for m in [*matches, {"default": True}]]}
    file = ConfigFile.model_validate_json(json.dumps(tree))
    run = Compilation(file, {}, {})
    routes = tuple(route_of(run, index) for index in range(len(file.routes)))
    check_reachable(run, routes)
    told = [re.fullmatch(r"routes\[(\d)\]", p.path) for p in run.problems if "earlier" in p.what]
    return routes, {int(found[1]) for found in told if found}


def asked(rng: random.Random) -> Asked:
    fields: dict[str, Any] = {"stream": rng.choice([True, False])}
    for feature in rng.sample(tuple(FEATURES), rng.randint(0, 3)):
        fields |= FEATURES[feature]
    model, m, n, a, b, app = rng.choices(TEXTS, k=6)
    fields["model"] = model
    fields["metadata"] = {name: value for name, value in (("m", m), ("n", n)) if value}
    headers = {name: value for name, value in (("x-a", a), ("x-b", b)) if value}
    path = f"/{rng.choice(TEXTS[:-1])}/v1/chat/completions"
    size = Estimate(rng.choice(TOKENS), rng.choice(TOKENS))
    task = rng.choice([*TASKS, "unknown"])
    return request_of(headers, path=path, **fields), app, task, size


def taken_by(routes: tuple[Route, ...], requests: Sequence[Asked]) -> set[int]:
    """The routes that some of `requests` take."""
    snapshot = replace(snapshot_of(SEED), routes=routes)
    return {routes.index(match_route(*request, snapshot)) for request in requests}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_route_that_is_called_unreachable_is_taken_by_no_request(most: int) -> None:
    rng = random.Random(most)
    requests = [asked(rng) for _ in range(500)]
    unreachable = 0
    for _ in range(200):
        routes, called = routes_of(rng, tuple(CONDITIONS), most)
        assert not called & taken_by(routes, requests)
        unreachable += len(called)
    assert unreachable > 20, "else nothing was put to the test"


def test_by_task_size_and_streaming_every_route_that_no_request_takes_is_called_unreachable() -> (
    None
):
    rng = random.Random(4)
    requests: list[Asked] = [
        (request_of(stream=stream), None, task, Estimate(tokens, 1))
        for stream in (True, False)
        for task in (*TASKS, "unknown")
        for tokens in TOKENS
    ]
    for _ in range(300):
        routes, called = routes_of(rng, ("taskType", "inputTokens", "streaming"), 3)
        assert set(range(len(routes) - 1)) - taken_by(routes, requests) == called


def test_a_route_of_very_many_combinations_is_looked_at_in_few() -> None:
    names = ", ".join(f"n{i}" for i in range(40))
    match = f"{{match: {{app: [{names}], model: [{names}], path: [/a/*, /b/*]}}, model: gpt-4o}}"
    end = "{match: {default: true}, model: gpt-4o}]"
    assert len(snapshot_of(f"routes: [{match}, {end}").routes) == 2
    with pytest.raises(ConfigError, match="earlier routes match all that it does"):
        snapshot_of(f"routes: [{{match: {{app: 'n*'}}, model: gpt-4o}}, {match}, {end}")


def test_the_catch_all_may_be_left_with_nothing() -> None:
    """It is asked for, so it can't be wrong that it is there."""
    routes = "routes: [{match: {inputTokens: {max: 9}}, model: gpt-4o}, "
    routes += "{match: {inputTokens: {min: 10}}, model: gpt-4o}, "
    assert snapshot_of(routes + "{match: {default: true}, model: gpt-4o}]").routes[-1].match.default


@pytest.mark.parametrize(
    "matches",
    [
        "{taskType: [chat, writing]}; {taskType: [chat, design]}",
        "{app: 'team-*'}; {app: '*'}",
        "{has: vision}; {has: [vision, tools]}",
        "{inputTokens: {max: 9}}; {inputTokens: {min: 11}}; {inputTokens: {max: 20}}",
        "{headers: {x-a: a, x-b: b}}; {headers: {x-a: a}}",
        "{streaming: true}; {app: a}",
        "{has: vision}; {app: a, has: tools}; {has: [vision, tools]}",
        "{app: a}; {app: b}; {app: [a, b, c]}",
        "{outputTokens: {max: 9}}; {outputTokens: {min: 11}}; {outputTokens: {min: 9, max: 11}}",
        "{headers: {':authority': a.test}}; {path: '*'}; {inputTokens: {max: 1}}",
    ],
)
def test_routes_that_overlap_are_left_alone(matches: str) -> None:
    routes = [f"{{match: {match}, model: gpt-4o}}" for match in matches.split("; ")]
    end = "{match: {default: true}, model: gpt-4o}]"
    found = snapshot_of("routes: [" + ", ".join([*routes, end]))
    assert len(found.routes) == len(routes) + 1


# What is no mistake, but better known


def facts(text: str) -> list[str]:
    return [f"{fact.about}: {fact.what} ({fact.source})" for fact in compiled(text).facts]


def test_a_candidate_that_require_rules_out_is_noted_as_long_as_another_is_left() -> None:
    route = "routes: [{match: {taskType: chat}, candidates: [gpt-4o, gpt-4o-mini], "
    route += "require: {quality: {min: 0.6}}}, {match: {default: true}, model: gpt-4o}]"
    noted = "route-1: openai/gpt-4o-mini is never chosen (its quality is below 0.6)"
    assert noted in facts(route)
    assert not [fact for fact in facts(route) if fact.startswith("route-1: openai/gpt-4o is")]
    with pytest.raises(ConfigError) as caught:
        compiled(route.replace("0.6", "0.61"))
    assert len(caught.value.problems) == 2, "none is left"


def test_a_target_whose_region_nobody_wrote_is_noted_unless_the_unknown_is_allowed() -> None:
    text = "providers: {openai: {region: eu}}\nroutes: [{match: {app: a}, model: gpt-4o, "
    text += "fallback: claude-sonnet-4, require: {region: eu}}, "
    text += "{match: {default: true}, model: gpt-4o}]"
    noted = "route-1: anthropic/claude-sonnet-4 is never chosen (its region is unknown)"
    assert noted in facts(text)
    assert noted not in facts("unknownCapability: allow\n" + text)


def test_what_an_app_may_not_use_is_noted_as_long_as_another_is_left() -> None:
    text = "apps: {allow: {a: [gpt-4o]}}\nroutes: [{match: {app: a}, candidates: [gpt-4o, o3]}, "
    text += "{match: {default: true}, model: gpt-4o}]"
    noted = "route-1: openai/o3 is never chosen (a may not use it)"
    assert noted in facts(text)
    for app in ("[a, b]", "'a*'"):
        assert noted not in facts(text.replace("app: a}", f"app: {app}}}"))


@pytest.mark.parametrize(
    "match",
    [
        "{path: /v1/embeddings}, model: text-embedding-3-small",
        "{path: '*/v1/embeddings'}, candidates: [text-embedding-3-small]",
        "{path: [/v1/embeddings, /v1/responses]}, candidates: [gpt-4o, text-embedding-3-small]",
        "{path: '/team-a/*'}, candidates: [gpt-4o, text-embedding-3-small]",
        "{path: '*ings'}, model: text-embedding-3-small",
        "{app: a}, model: text-embedding-3-small",
        "{outputTokens: {min: 100000}}, model: gpt-4o",
        "{inputTokens: {min: 127999}}, model: gpt-4o",  # another family may count fewer
    ],
)
def test_what_can_serve_some_of_what_a_route_matches_is_left_alone(match: str) -> None:
    text = f"routes: [{{match: {match}}}, {{match: {{default: true}}, model: gpt-4o}}]"
    assert len(snapshot_of(text).routes) == 2


@pytest.mark.parametrize("objective", ["order", "latency", "weighted"])
def test_a_price_is_wanted_only_where_cost_decides(objective: str) -> None:
    text = "providers: {local: {preset: vllm}}\n"
    text += "models: {mine: {targets: [{provider: local}], contextWindow: 9}}\n"
    text += "routes: [{match: {default: true}, candidates: [gpt-4o, mine], objective: OBJECTIVE}]"
    for said in (objective, "cost, unpriced: allow"):
        (route,) = snapshot_of(text.replace("OBJECTIVE", said)).routes
        assert not route.candidates[1].prices


def test_a_name_in_other_letters_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled(CATCH_ALL.replace("gpt-4o", "GPT-4O"))
    assert str(caught.value).endswith("no model is called GPT-4O; did you mean gpt-4o?")


# The JSON Schema

SCHEMA: Final[dict[str, Any]] = config_schema()
SILENT: Final = {"$schema", "$defs", "title", "description", "default", "format", "writeOnly"}
TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def misfits(value: Any, schema: Mapping[str, Any], at: str = "") -> Iterator[str]:  # noqa: ANN401, C901, PLR0912  JSON; a case for each word of JSON Schema
    """Where `value` is not what `schema` says; knows the words that our schema uses, no others."""
    for word, said in schema.items():
        match word:
            case "$ref":
                yield from misfits(value, reduce(getitem, said.split("/")[1:], SCHEMA), at)
            case "allOf":
                for inner in said:
                    yield from misfits(value, inner, at)
            case "anyOf":
                if all(list(misfits(value, option, at)) for option in said):
                    yield f"{at}: fits none of several"
            case "type":
                truth = isinstance(value, bool) and said in {"integer", "number"}
                if truth or not isinstance(value, TYPES[said]):
                    yield f"{at}: is no {said}"
            case "properties":
                for key in value.keys() & said.keys() if isinstance(value, dict) else ():
                    yield from misfits(value[key], said[key], f"{at}.{key}")
            case "additionalProperties":
                known = schema.get("properties", {}).keys()
                patterns = schema.get("patternProperties", {})
                for key in value.keys() - known if isinstance(value, dict) else ():
                    if any(re.search(pattern, key) for pattern in patterns):
                        continue
                    inner = misfits(value[key], said, f"{at}.{key}") if said else [f"{at}.{key}"]
                    yield from inner
            case "patternProperties":
                for key in value if isinstance(value, dict) else ():
                    for pattern, inner in said.items():
                        if re.search(pattern, key):
                            yield from misfits(value[key], inner, f"{at}.{key}")
            case "propertyNames":
                for key in value if isinstance(value, dict) else ():
                    yield from misfits(key, said, f"{at}.{key}")
            case "required":
                missing = set(said) - value.keys() if isinstance(value, dict) else ()
                yield from (f"{at}.{key}: missing" for key in missing)
            case "items":
                for index, item in enumerate(value) if isinstance(value, list) else ():
                    yield from misfits(item, said, f"{at}[{index}]")
            case "enum" | "const":
                if value not in (said if word == "enum" else [said]):
                    yield f"{at}: is none of the words"
            case "pattern":
                if isinstance(value, str) and not re.search(said, value):
                    yield f"{at}: does not match"
            case "minLength" | "minItems":
                if isinstance(value, str | list) and len(value) < said:
                    yield f"{at}: is empty"
            case "minimum" | "maximum" | "exclusiveMinimum":
                is_number = isinstance(value, int | float)
                low = word == "exclusiveMinimum" and is_number and value <= said
                if low or (word == "minimum" and is_number and value < said):
                    yield f"{at}: is too small"
                if word == "maximum" and is_number and value > said:
                    yield f"{at}: is too large"
            case _:
                assert word in SILENT, f"learn to check {word}"


@pytest.mark.parametrize(
    "text",
    [
        "first_byte_timeout: soon",
        "first_byte_timeouts: 5",
        "models: {m: {price: {input_per_m_tok: 1}}}",
        "models: {m: {price: {input_per_m_tok: 1.0e+308, output_per_m_tok: 1}}}",
        "models: {m: {capabilities: {structured-output: true}}}",
        "apps: {source: x}",
    ],
)
def test_what_is_wrong_in_snake_case_is_seen_by_an_editor_too(text: str) -> None:
    assert list(misfits(YAML(typ="safe", pure=True).load(text + "\nroutes: []"), SCHEMA))


def tree_of(path: Path) -> Any:  # noqa: ANN401  YAML
    return YAML(typ="safe", pure=True).load(path.read_text("utf-8"))


def test_the_schema_in_the_repository_is_the_one_that_check_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", "--schema"])
    assert not ended.value.code
    fresh = capsys.readouterr().out
    written = (CONFIGS / "schema.json").read_text("utf-8")
    assert written == fresh, "extproc check --schema > config/schema.json"


def test_every_key_has_a_description() -> None:
    sections = {"config": SCHEMA, **SCHEMA["$defs"]}
    assert not [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, value in section.get("properties", {}).items()
        if not value.get("description")
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_example_fits_the_schema_and_tells_editors_of_it(path: Path) -> None:
    assert list(misfits(tree_of(path), SCHEMA)) == []
    assert path.read_text("utf-8").startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "candidates_empty",
            "cost_ceiling_zero",
            "decision_log_bytes_few",
            "decision_log_keeps_nothing",
            "default_false",
            "duration_without_unit_it_knows",
        ),
        *("duration_without_number", "limits_zero", "match_has_of_nothing"),
        *("match_list_empty", "match_task_with_a_pattern", "max_attempts_many", "price_a_word"),
        *("otlp_header_a_number", "otlp_without_endpoint", "telemetry_unknown_key"),
        *("price_without_output", "quality_in_percent", "routes_missing"),
        *(
            "size_without_unit_it_knows",
            "unknown_feature",
            "unknown_feature_in_a_match",
            "unknown_key",
        ),
        *("unknown_key_in_a_match", "unknown_objective", "wrong_override", "wrong_type_flag"),
        *("wrong_type_list", "wrong_type_number", "wrong_type_section", "wrong_word"),
    ],
)
def test_what_is_wrong_in_form_is_seen_by_an_editor(name: str) -> None:
    assert list(misfits(tree_of(BAD_CONFIGS / f"{name}.yaml"), SCHEMA))


@pytest.mark.parametrize(
    "text",
    [
        "firstByteTimeout: 1.5s",
        "firstByteTimeout: 5",
        "bodyBytesMax: 2 MiB",
        "bodyBytesMax: 2048",
        "decisionLog: {path: none, maxBytes: 1 GiB}",
        "telemetry: {otlp: {endpoint: 'http://c.test', headers: {x-key: a}, interval: 1m}}",
        "first_byte_timeout: 5\ndecision_log: {path: none, max_bytes: 1 GiB}",
        "models: {m: {context_window: 9, price: {input_per_m_tok: 1, output_per_m_tok: 2}}}",
        "models: {m: {price: {inputPerMTok: 1, output_per_m_tok: 2, cache_write_per_m_tok: 1}}}",
        "models: {m: {capabilities: {structured_output: true}}}",
        "routes: [{match: {has: structured_output, task_type: a}, model: gpt-4o}]",
        "routes: [{match: {has: vision, taskType: a, app: [a, b]}, model: gpt-4o}]",
        "routes: [{match: {has: [vision, tools]}, candidates: gpt-4o, fallback: []}]",
    ],
)
def test_every_way_to_write_a_value_fits_the_schema(text: str) -> None:
    tree = YAML(typ="safe", pure=True).load("{routes: []}" if "routes" not in text else text)
    tree |= YAML(typ="safe", pure=True).load(text)
    assert list(misfits(tree, SCHEMA)) == []
    read_config(json.dumps(tree), KEYS)
