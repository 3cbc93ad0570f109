"""A routing config as written: what is refused and how, and what a good one becomes."""

import json
import random
import re
from collections.abc import Iterator, Mapping
from itertools import combinations, permutations
from math import comb
from pathlib import Path
from typing import Any

import pytest
from configs import CATCH_ALL, KEYS, SEED, compiled, snapshot_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel
from ruamel.yaml import YAML

from extproc.command_line.loading import load
from extproc.config import Compiled, ConfigError, compile_config, read_config
from extproc.config.catalog import aliases, catalog
from extproc.config.file import ConfigFile, Section
from extproc.config.guards import GUARDS_MAX
from extproc.config.presets import APIS, PRESETS
from extproc.config.reading import CONFIG_BYTES_MAX, _sections
from extproc.feature import Feature
from extproc.price import Price, PricePeriod, Rate
from extproc.snapshot import (
    Apps,
    DecisionLogSettings,
    HealthCheck,
    Match,
    Objective,
    Otlp,
    Passthrough,
    Requirements,
    Route,
    Snapshot,
    Telemetry,
    TokenRange,
)
from extproc.text.tokens import Family
from extproc.vocabulary import (
    Api,
    ChatForm,
    Limits,
    Model,
    ModelName,
    Provider,
    ProviderName,
    Surface,
    Target,
    TargetId,
)

CANARY = "canary-8d2f"
OPENAI_ENDS = {Surface.CHAT: "/chat/completions", Surface.EMBEDDINGS: "/embeddings"}
BAD_CONFIGS = sorted(Path(__file__).with_name("bad_configs").glob("*.yaml"))


def header_of(path: Path) -> dict[str, str]:
    """The `# key: value` comments that a bad config begins with."""
    lines = path.read_bytes().decode("latin-1").splitlines()
    pairs = (line[2:].partition(": ") for line in lines[:2] if line.startswith("# "))
    return {key: value.strip() for key, _, value in pairs}


def bad_configs() -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in BAD_CONFIGS]


@pytest.fixture(autouse=True)
def _keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


def problems_of(text: str, env: Mapping[str, str] = KEYS) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(text, env)
    return str(caught.value).splitlines()


# Bad configs: one file per mistake


@pytest.mark.parametrize("path", bad_configs())
def test_a_mistake_is_told_with_its_path_and_what_would_be_right(path: Path) -> None:
    expected = header_of(path)["expect"].encode("latin-1").decode()
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("path", bad_configs())
def test_a_mistake_is_told_once_and_on_one_line(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.problems) == len(str(caught.value).splitlines()) == 1


def test_every_mistake_is_told_not_just_the_first() -> None:
    form = "maxAttempts: 0\nbodyBytesMax: 1\nroutes: [{match: {}, modle: gpt-4o}]"
    assert {line.partition(":")[0] for line in problems_of(form)} == {
        "maxAttempts",
        "bodyBytesMax",
        "routes[0].match",
        "routes[0].modle",
    }
    names = "routes: [{match: {taskType: a}, candidates: [x, y]}]\naliases: {auto: gpt-4o}"
    assert [line.partition(":")[0] for line in problems_of(names)] == [
        "routes[0].candidates[0]",
        "routes[0].candidates[1]",
        "routes",
        "aliases.auto",
    ]


def test_what_is_wrong_in_form_does_not_wait_for_what_is_not_set_or_said_twice() -> None:
    text = "maxAttempts: 0\nbodyBytesMax: 1KiB\nbody_bytes_max: 1KiB\n"
    text += "server: {passthrough: '${NOBODY_SETS_THIS}'}\nroutes: []"
    assert {line.partition(":")[0] for line in problems_of(text)} == {
        "maxAttempts",
        "body_bytes_max",
        "server.passthrough",
    }


@pytest.mark.parametrize(
    ("key", "value", "env", "taken"),
    [
        ("maxAttempts", "${N}", "2", 2),
        ("max_attempts", "${N}", "2", 2),
        ("firstByteTimeout", "${N}", "1.5", 1.5),
        ("firstByteTimeout", "${N}s", "1.5", 1.5),
        ("bodyBytesMax", "${N}", "2048", 2048),
        ("bodyBytesMax", "${N}", "2KiB", 2048),
        ("healthCheck", "{errorRateThreshold: '${N}'}", "0.5", 0.5),
        ("healthCheck", "{enabled: '${N}'}", "false", False),
        ("aliases", "{a: '${N}'}", "123", "123"),
    ],
)
def test_a_reference_may_stand_where_a_number_is_wanted(
    key: str, value: str, env: str, taken: object
) -> None:
    written = value if value.startswith("{") else f"'{value}'"
    found = read_config(f"{key}: {written}\nroutes: []", {"N": env}).model_dump(by_alias=True)
    first = found[to_camel(key)]
    if isinstance(first, dict):
        first = first[next(iter(YAML(typ="safe", pure=True).load(value)))]
    assert (first, type(first)) == (taken, type(taken))


def test_a_reference_that_brings_no_number_is_told_as_any_text_is() -> None:
    text = "maxAttempts: '${N}'\nroutes: [{match: {default: true}, model: '${M}'}]"
    assert problems_of(text, {"N": "two", "M": "gpt-4o"}) == [
        "maxAttempts: not right; input should be a valid integer"
    ]
    assert problems_of(text, {"N": "0", "M": "7"}) == [
        "maxAttempts: not right; input should be greater than or equal to 1"
    ]


def test_a_config_of_more_than_4_mib_is_refused() -> None:
    assert problems_of("#" * (CONFIG_BYTES_MAX + 1)) == [
        "config: larger than 4 MiB; split what is not routing out"
    ]


def test_names_of_ones_own_may_differ_in_spelling_alone() -> None:
    models = snapshot_of("aliases: {gpt_fast: gpt-4o-mini, gptFast: gpt-4o}" + CATCH_ALL).models
    assert models["gpt_fast"] != models["gptFast"]


def test_no_remedy_proposes_the_name_that_is_wrong() -> None:
    for line in problems_of("aliases: {a: b, b: a}" + CATCH_ALL):
        assert "did you mean a?" not in line
        assert "did you mean b?" not in line


SCALARS = [None, True, 0, -1, 2.5, "", "gpt-4o", "auto", "30s", "${X}", "https://h/v1"]
WORDS = [
    *("routes", "match", "model", "default", "candidates", "fallback", "taskType", "headers"),
    *("providers", "openai", "baseUrl", "api_key", "apiKey", "models", "gpt-4o", "targets"),
    *("provider", "aliases", "server"),
]
trees = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=8,
)


def places_in(node: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places_in(value, (*at, key))


def planted(node: Any, at: tuple[str | int, ...], value: object) -> object:  # noqa: ANN401  JSON
    if not at:
        return value
    copy = node.copy()
    copy[at[0]] = planted(node[at[0]], at[1:], value)
    return copy


@given(st.data(), trees)
@settings(deadline=None, max_examples=100, database=None)
def test_a_config_with_anything_anywhere_is_compiled_or_refused_with_words(
    data: st.DataObject, value: object
) -> None:
    tree = tree_of(SPELLINGS)
    place = data.draw(st.sampled_from(list(places_in(tree))))
    try:
        found = compiled(json.dumps(planted(tree, place, value)))
    except ConfigError as error:
        told = [(problem.what, problem.remedy) for problem in error.problems]
        assert told
        assert all(what and remedy for what, remedy in told)
    else:
        assert found.snapshot.routes[-1].match.default


# Good configs


def tree_of(text: str) -> Any:  # noqa: ANN401  YAML
    """As any reader of YAML has it: others than ours want a reference inside braces quoted."""
    return YAML(typ="safe", pure=True).load(re.sub(r"(?<!\")(\$\{\w+\})(?!\")", r'"\1"', text))


EXPLICIT = """
providers:
  openai-eu: { preset: openai, baseUrl: https://eu.api.openai.com/v1, apiKey: ${OPENAI_EU_KEY}, region: eu }
  local:     { preset: vllm, baseUrl: http://vllm.internal:8000/v1 }
models:
  llama-70b:
    targets:                                   # one model, several places to run it
      - { provider: local, upstreamModel: meta-llama/Llama-3.3-70B-Instruct, weight: 3 }
      - { provider: together }
    contextWindow: 131072
    capabilities: { tools: true, vision: false, structuredOutput: true }
    quality: { code-generation: 0.62, default: 0.7 }
    price: { inputPerMTok: 0.9, outputPerMTok: 0.9 }
    limits: { requestsPerMinute: 600, tokensPerMinute: 400000 }
routes:
  - name: billing-summaries
    match: { app: billing, taskType: [summarization, extraction], headers: { x-tier: gold }, streaming: false }
    candidates: [claude-haiku-3, gpt-4o-mini, llama-70b]
    objective: cost                            # order (default) | cost | latency | weighted
    require: { quality: { min: 0.6 }, latencyMs: { max: 1500 }, costUsd: { max: 0.01 }, region: eu }
    fallback: [gpt-4o]
  - match: { default: true }
    model: llama-70b
"""  # noqa: E501  as the documentation has it


def test_the_documentations_explicit_example_compiles_to_what_it_says() -> None:
    found = compiled(EXPLICIT, KEYS | {"OPENAI_EU_KEY": CANARY, "TOGETHER_API_KEY": "t"})
    snapshot = found.snapshot
    billing, default = snapshot.routes
    assert (billing.name, default.name) == ("billing-summaries", "default")
    assert billing.match.apps == ("billing",)
    assert billing.match.streaming is False
    assert billing.objective is Objective.COST
    assert billing.require == Requirements(0.6, 1500, 0.01, "eu")
    assert billing.match.task_types == ("summarization", "extraction")
    assert billing.match.headers == {"x-tier": ("gold",)}
    assert [target.id for target in billing.candidates] == [
        "anthropic/claude-haiku-3",
        "openai/gpt-4o-mini",
        "local/llama-70b",
        "together/llama-70b",
    ]
    assert [target.id for target in billing.fallback] == ["openai/gpt-4o"]
    local, together = default.candidates
    assert (local.upstream_model, local.weight) == ("meta-llama/Llama-3.3-70B-Instruct", 3)
    assert (together.upstream_model, together.weight) == ("llama-70b", 1)
    assert local.model is together.model
    assert local.model.context_window == 131072
    assert local.model.capabilities == {
        Feature.TOOLS: True,
        Feature.VISION: False,
        Feature.STRUCTURED_OUTPUT: True,
    }
    assert local.model.quality == {"code-generation": 0.62, "default": 0.7}
    assert local.prices == together.prices == (PricePeriod(Price(Rate(0.9), Rate(0.9))),)
    assert local.limits == Limits(600, 400000)
    where = local.provider
    assert (where.host, where.port, where.tls, where.base_path) == (
        *("vllm.internal", 8000, False),
        "/v1",
    )
    assert found.missing_keys == {}


def test_the_name_of_a_header_may_be_written_in_any_case() -> None:
    routes = "routes: [{match: {headers: {X-Tier: gold}}, model: gpt-4o}, "
    first, _ = snapshot_of(routes + "{match: {default: true}, model: gpt-4o}]").routes
    assert first.match.headers == {"x-tier": ("gold",)}


def test_only_the_providers_that_some_target_uses_run() -> None:
    found = compiled(EXPLICIT, KEYS | {"OPENAI_EU_KEY": CANARY, "TOGETHER_API_KEY": "t"})
    assert set(found.snapshot.providers) == {"anthropic", "openai", "local", "together"}
    assert set(keys_of(found)) == {"anthropic", "openai", "together"}


def test_the_seed_compiles_to_what_it_says() -> None:
    snapshot = snapshot_of(SEED)
    assert [route.name for route in snapshot.routes] == ["route-1", "route-2", "route-3", "default"]
    assert snapshot.routes[0].match.input_tokens == TokenRange(min=1000)
    assert snapshot.routes[1].match.input_tokens == TokenRange(max=999)
    assert snapshot.health_check.interval_s == 30
    assert snapshot.health_check.error_rate_threshold == 0.05
    assert set(snapshot.providers) == {"anthropic", "openai", "google"}


SPELLINGS = """
maxAttempts: 2
firstByteTimeout: 1500ms
bodyBytesMax: 2MiB
requestedModel: ignore
unknownCapability: allow
boundHistory: strip
healthCheck: {enabled: false, interval: 1m, errorRateThreshold: 0.5}
server: {decisionTimeout: 500ms, drainTimeout: 2.5s, passthrough: "http://127.0.0.1:8080/app/"}
providers: {home: {baseUrl: "http://[::1]/v1/", apiKey: k, firstByteTimeout: 5}}
models: {mine: {targets: [{provider: home, upstreamModel: x}], contextWindow: 10}}
aliases: {one: mine, other: mine}
routes:
  - {match: {taskType: a, inputTokens: {max: 5}}, model: mine}
  - {match: {default: true}, model: mine}
"""


def test_snake_case_says_the_same_as_camel_case() -> None:
    text = SPELLINGS
    for camel in (
        *("maxAttempts", "firstByteTimeout", "bodyBytesMax", "requestedModel", "healthCheck"),
        *("unknownCapability", "errorRateThreshold", "decisionTimeout", "drainTimeout", "baseUrl"),
        *("apiKey", "upstreamModel", "contextWindow", "taskType", "inputTokens", "boundHistory"),
    ):
        assert camel in text
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in camel)
        text = text.replace(camel, snake)
    assert snapshot_of(text) == snapshot_of(SPELLINGS)


EVERY_KEY = """
providers:
  home:
    preset: vllm
    baseUrl: http://127.0.0.1:8000/mine
    apiKey: k
    api: azure
    apiVersion: 2024-06-01-preview
    region: eu
    headers: { x-team: a }
    firstByteTimeout: 2s
models:
  mine:
    targets: [{ provider: home, upstreamModel: x, weight: 2 }]
    contextWindow: 9000
    maxOutputTokens: 900
    family: llama
    capabilities:
      { vision: true, tools: true, structuredOutput: true, audio: false, documents: false, reasoning: true, embeddings: false }
    quality: { default: 0.5, code-review: 0.4 }
    price:
      { inputPerMTok: 1, outputPerMTok: 2, cachedInputPerMTok: 3, cacheWritePerMTok: 4, reasoningPerMTok: 5 }
    limits: { requestsPerMinute: 6, tokensPerMinute: 7 }
routes:
  - name: all
    match:
      app: a
      taskType: code-review
      model: gpt-3*
      inputTokens: { min: 1, max: 20 }
      outputTokens: { min: 2, max: 30 }
      headers: { x-tier: gold }
      path: /team/*
      streaming: true
      has: [structuredOutput, vision]
      metadata: { team: research }
    candidates: [mine]
    objective: cost
    unpriced: allow
    require:
      { quality: { min: 0.4 }, latencyMs: { max: 1500 }, costUsd: { max: 0.01 }, region: eu }
    fallback: []
  - match: { default: true }
    model: mine
aliases: { other: mine }
healthCheck: { enabled: false, interval: 5, errorRateThreshold: 0.5 }
maxAttempts: 2
firstByteTimeout: 3s
bodyBytesMax: 1MiB
requestedModel: ignore
unknownCapability: allow
overrides: { allow: [avoid] }
apps: { from: apiKey, allow: { a: [mine] } }
boundHistory: strip
decisionLog: { path: /var/log/decisions.jsonl, maxBytes: 1MiB, keep: 2 }
telemetry:
  baselineModel: mine
  otlp:
    endpoint: https://collector.test/otlp
    headers: { X-Team: a }
    interval: 5s
    metrics: false
    traces: true
server: { decisionTimeout: 1, drainDelay: 3, drainTimeout: 2, transport: lean, passthrough: "http://127.0.0.1:8080" }
"""  # noqa: E501  as one would write it


def sections_of(section: type[Section]) -> set[type[Section]]:
    """`section` and those that stand in it."""
    inner = (one for field in section.model_fields.values() for one in _sections(field.annotation))
    return {section}.union(*map(sections_of, inner))


def aliases_of_keys() -> dict[str, str]:
    """Every key in camelCase → in snake_case."""
    fields = [field for one in sections_of(ConfigFile) for field in one.model_fields.items()]
    return {str(field.alias): name for name, field in fields if name != "source"}


def test_every_key_is_in_the_example_of_every_key() -> None:
    tree = tree_of(EVERY_KEY)
    written = {place[-1] for place in places_in(tree) if place}
    assert set(aliases_of_keys()) <= written


def test_every_key_says_the_same_in_either_spelling_in_yaml_and_in_json() -> None:
    snake = re.sub(
        r"\b([A-Za-z]+)(?=:|, vision)",
        lambda found: (aliases_of_keys() | {"structuredOutput": "structured_output"}).get(
            found[1], found[1]
        ),
        EVERY_KEY,
    )
    assert "cached_input_per_m_tok" in snake
    assert "has: [structured_output, vision]" in snake
    assert "Tokens" not in snake
    expected = snapshot_of(EVERY_KEY)
    for text in (snake, json.dumps(tree_of(EVERY_KEY)), json.dumps(tree_of(snake))):
        assert snapshot_of(text) == expected


def test_every_key_reaches_what_runs() -> None:
    snapshot = snapshot_of(EVERY_KEY)
    (target,) = snapshot.targets.values()
    assert target.provider == Provider(
        *(ProviderName("home"), "127.0.0.1", 8000, False, "/mine", "api-key", "", True),
        headers=("x-team",),
        first_byte_timeout_s=2,
        region="eu",
        api=Api.AZURE,
        endpoints={
            surface: f"/openai/deployments/{{model}}{end}?api-version=2024-06-01-preview"
            for surface, end in OPENAI_ENDS.items()
        },
        chat_form=ChatForm("max_completion_tokens"),
    )
    assert (target.upstream_model, target.weight, target.limits) == ("x", 2, Limits(6, 7))
    rates = Price(Rate(1), Rate(2), Rate(3), Rate(4), Rate(5))
    assert target.prices == (PricePeriod(rates),)
    assert target.model == Model(
        ModelName("mine"),
        9000,
        dict.fromkeys(Feature, True)
        | dict.fromkeys([Feature.AUDIO, Feature.DOCUMENTS, Feature.EMBEDDINGS], False),
        Family.LLAMA,
        {"default": 0.5, "code-review": 0.4},
        output_tokens_max=900,
    )
    route, default = snapshot.routes
    assert route == Route(
        "all",
        Match(
            apps=("a",),
            task_types=("code-review",),
            requested_models=("gpt-3*",),
            input_tokens=TokenRange(1, 20),
            output_tokens=TokenRange(2, 30),
            streaming=True,
            has=frozenset({Feature.STRUCTURED_OUTPUT, Feature.VISION}),
            metadata={"team": ("research",)},
            headers={"x-tier": ("gold",)},
            paths=("/team/*",),
        ),
        (target,),
        (),
        Objective.COST,
        Requirements(0.4, 1500, 0.01, "eu"),
    )
    assert default.match == Match(default=True)
    assert snapshot.models == {"mine": (target,), "other": (target,)}
    assert snapshot.health_check == HealthCheck(False, 5, 0.5)  # noqa: FBT003  in their order
    assert snapshot.apps == Apps(from_api_key=True, allowed={"a": frozenset({ModelName("mine")})})
    assert snapshot.allowed_overrides == {"avoid"}
    assert (snapshot.max_attempts, snapshot.body_bytes_max) == (2, 1024 * 1024)
    assert (snapshot.first_byte_timeout_s, snapshot.decision_timeout_s) == (3, 1)
    assert snapshot.drain_timeout_s == 2
    assert snapshot.transport == "lean"
    assert not snapshot.honour_requested_model
    assert snapshot.allow_unknown_capability
    assert snapshot.passthrough == Passthrough("127.0.0.1", 8080, tls=False, base_path="")
    assert snapshot.decision_log == DecisionLogSettings("/var/log/decisions.jsonl", 1024 * 1024, 2)
    assert snapshot.telemetry == Telemetry(
        baseline=target,
        otlp=Otlp("https://collector.test/otlp", 5, metrics=False, traces=True),
    )
    assert compiled(EVERY_KEY).otlp_headers == {"x-team": "a"}


def test_what_is_not_said_is_as_documented() -> None:
    snapshot = snapshot_of(CATCH_ALL)
    assert snapshot.max_attempts == 3
    assert snapshot.first_byte_timeout_s == 30
    assert snapshot.body_bytes_max == 32 * 1024 * 1024
    assert snapshot.honour_requested_model
    assert not snapshot.allow_unknown_capability
    assert snapshot.allowed_overrides == {"task"}
    assert snapshot.apps == Apps(header="x-router-app", from_api_key=False, allowed={})
    assert snapshot.health_check == HealthCheck(True, 30, 0.05)  # noqa: FBT003  in their order
    assert (snapshot.decision_timeout_s, snapshot.drain_timeout_s) == (2, 30)
    assert snapshot.passthrough is None
    assert snapshot.decision_log == DecisionLogSettings("stdout", 100 * 1024 * 1024, 5)
    assert snapshot.telemetry == Telemetry(baseline=None, otlp=None)
    (route,) = snapshot.routes
    assert (route.name, route.objective, route.require) == (
        *("default", Objective.ORDER),
        Requirements(),
    )
    (target,) = route.candidates
    assert (target.weight, target.limits) == (1, Limits())
    assert (target.provider.region, target.provider.first_byte_timeout_s) == (None, None)


def test_an_app_may_be_named_by_any_header() -> None:
    assert snapshot_of("apps: {from: X-Team}" + CATCH_ALL).apps == Apps(header="x-team")


def test_quantities_are_read_with_their_units() -> None:
    snapshot = snapshot_of(SPELLINGS)
    assert snapshot.first_byte_timeout_s == 1.5
    assert snapshot.body_bytes_max == 2 * 1024 * 1024
    assert snapshot.health_check.interval_s == 60
    assert (snapshot.decision_timeout_s, snapshot.drain_timeout_s) == (0.5, 2.5)
    assert snapshot.targets[TargetId("home/mine")].provider.first_byte_timeout_s == 5


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1", 1), ("0.25", 0.25), ("250ms", 0.25), ('"1.5 s"', 1.5), ("2m", 120), ("1h", 3600)],
)
def test_a_duration_is_seconds_or_has_a_unit(written: str, seconds: float) -> None:
    assert snapshot_of(f"firstByteTimeout: {written}{CATCH_ALL}").first_byte_timeout_s == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [("1024", 1024), ("2kB", 2000), ("2KiB", 2048), ("1.5mib", 1572864), ("5000 B", 5000)],
)
def test_a_size_is_bytes_or_has_a_unit(written: str, size: int) -> None:
    assert snapshot_of(f"bodyBytesMax: {written}{CATCH_ALL}").body_bytes_max == size


def test_passthrough_and_base_urls_lose_their_last_slash_and_gain_a_port() -> None:
    snapshot = snapshot_of(SPELLINGS)
    assert snapshot.passthrough == Passthrough("127.0.0.1", 8080, tls=False, base_path="/app")
    home = snapshot.providers[ProviderName("home")]
    assert (home.host, home.port, home.base_path) == ("::1", 80, "/v1")


@pytest.mark.parametrize("text", [SEED, SPELLINGS, EXPLICIT], ids=["seed", "spellings", "explicit"])
@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_says_the_same_as_yaml(text: str, indent: int | str | None) -> None:
    env = KEYS | {"OPENAI_EU_KEY": CANARY}
    written = json.dumps(tree_of(text), indent=indent)
    assert snapshot_of(written, env) == snapshot_of(text, env)


def test_a_byte_order_mark_makes_no_difference() -> None:
    assert snapshot_of("\ufeff" + SEED) == snapshot_of(SEED)


def test_one_name_stands_for_a_list_of_one() -> None:
    one = "routes: [{match: {default: true}, candidates: gpt-4o, fallback: gpt-4o-mini}]"
    many = "routes: [{match: {default: true}, candidates: [gpt-4o], fallback: [gpt-4o-mini]}]"
    assert snapshot_of(one).routes == snapshot_of(many).routes


def test_no_target_stands_twice_among_the_first_or_in_the_fallback() -> None:
    text = "routes: [{match: {default: true}, candidates: [gpt-4o, claude-haiku-3, gpt-4o], "
    again = "fallback: [claude-3-haiku, gpt-4o-mini, gpt-4o, claude-haiku-3]}]"
    (route,) = snapshot_of(text + again).routes
    assert [one.id for one in route.candidates] == ["openai/gpt-4o", "anthropic/claude-haiku-3"]
    haiku, *openais = (one.id for one in route.fallback)
    assert (haiku, openais) == (route.candidates[1].id, ["openai/gpt-4o-mini", "openai/gpt-4o"])


def test_two_names_of_one_catalog_model_are_one_model() -> None:
    text = "routes: [{match: {default: true}, model: claude-3-haiku, fallback: claude-haiku-3}]"
    snapshot = snapshot_of(text)
    assert snapshot.offered == ("claude-3-haiku",)
    assert snapshot.models["claude-haiku-3"] == snapshot.models["claude-3-haiku"]
    assert list(snapshot.targets) == ["anthropic/claude-3-haiku"]


def test_a_file_overrides_what_the_catalog_says_of_a_model_key_by_key() -> None:
    text = "models: {gpt-4o: {contextWindow: 10, capabilities: {vision: false}}}" + CATCH_ALL
    (target,) = snapshot_of(text).models["gpt-4o"]
    known = catalog()["gpt-4o"]
    assert target.model.context_window == 10
    assert target.model.capabilities == known.capabilities | {Feature.VISION: False}
    assert target.upstream_model == "gpt-4o"


def test_a_model_without_a_known_window_compiles_where_the_unknown_is_allowed() -> None:
    text = "unknownCapability: allow\nmodels: {mine: {targets: [{provider: openai}]}}" + CATCH_ALL
    assert snapshot_of(text).models["mine"][0].model.context_window is None


def test_base_urls_may_be_replaced_from_outside() -> None:
    file = read_config(SEED, KEYS)
    from_outside = {"openai": "http://127.0.0.1:9/openai/v1"}
    providers = compile_config(file, KEYS, from_outside).snapshot.providers
    assert providers[ProviderName("openai")].port == 9
    assert providers[ProviderName("anthropic")].host == "api.anthropic.com"


# What is reported


def test_a_baseline_model_is_compared_with_and_never_routed_to() -> None:
    plain = snapshot_of(CATCH_ALL, {})
    snapshot = snapshot_of("telemetry: {baselineModel: claude-3-haiku}" + CATCH_ALL, {})
    baseline = snapshot.telemetry.baseline
    assert baseline
    assert baseline.id == "anthropic/claude-3-haiku"
    assert baseline.prices
    assert (snapshot.models, snapshot.offered) == (plain.models, plain.offered)
    assert (snapshot.targets, snapshot.guards) == (plain.targets, plain.guards)
    assert set(snapshot.providers) == {"openai"}


def test_where_the_baselines_price_is_from_is_among_the_facts() -> None:
    facts = compiled("telemetry: {baselineModel: claude-haiku-3}" + CATCH_ALL).facts
    assert any(
        fact.about == "anthropic/claude-haiku-3" and fact.what.startswith("price") for fact in facts
    )


def test_a_baselines_price_is_that_of_the_first_place_that_has_one() -> None:
    text = """
providers: {local: {preset: vllm}}
models: {mine: {targets: [{provider: local}, {provider: openai, upstreamModel: gpt-4o}], contextWindow: 9}}
telemetry: {baselineModel: mine}
"""  # noqa: E501  as one would write it
    baseline = snapshot_of(text + CATCH_ALL).telemetry.baseline
    assert baseline
    assert baseline.id == "openai/mine"


# Catalog and presets


@pytest.mark.parametrize("name", catalog())
def test_each_catalog_model_compiles_with_a_window_and_says_where_its_facts_are_from(
    name: str,
) -> None:
    entry = catalog()[name]
    assert entry.source
    assert entry.date
    snapshot = snapshot_of(f"routes: [{{match: {{default: true}}, model: {name}}}]")
    assert snapshot.models[name][0].model.context_window
    assert set(entry.aliases) <= set(snapshot.models)


def test_no_catalog_alias_is_another_models_name() -> None:
    assert not set(aliases()) & set(catalog())
    assert len(aliases()) == sum(len(entry.aliases) for entry in catalog().values())


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_compiles_with_its_url_or_the_example_of_one(name: str) -> None:
    preset = PRESETS[name]
    url = preset.base_url or preset.base_url_example
    text = f"providers: {{mine: {{preset: {name}, baseUrl: '{url}'}}}}\n"
    text += "models: {m: {targets: [{provider: mine}], contextWindow: 9}}" + CATCH_ALL
    provider = snapshot_of(text).providers[ProviderName("mine")]
    assert provider.api is preset.api
    assert provider.credential_header == APIS[preset.api].credential_header
    assert url.endswith(provider.base_path)


# Secrets


def test_secrets_are_in_nothing_that_may_be_shown() -> None:
    env = dict.fromkeys([*KEYS, "OPENAI_EU_KEY", "TOGETHER_API_KEY", "VLLM_API_KEY"], CANARY)
    own = f"preset: vllm, apiKey: {CANARY}, headers: {{ X-Team: {CANARY} }}"
    text = EXPLICIT.replace("preset: vllm", own)
    text += "telemetry: {otlp: {endpoint: 'https://c.test', headers: {x-key: '${OPENAI_EU_KEY}'}}}"
    found = compiled(text, env)
    assert set(keys_of(found).values()) == {CANARY}
    assert {"x-team": CANARY} in [held.headers for held in found.secrets.values()]
    assert found.otlp_headers == {"x-key": CANARY}
    shown_ones = (found, found.secrets, found.snapshot, found.snapshot.providers)
    for shown in (*shown_ones, found.missing_keys):
        assert CANARY not in repr(shown)
    assert CANARY not in repr(read_config(text, env))
    assert CANARY not in str(read_config(text, env))


def test_a_digest_does_not_depend_on_secrets() -> None:
    text = "providers: {openai: {apiKey: '${K}'}}" + CATCH_ALL
    text += "telemetry: {otlp: {endpoint: 'https://c.test', headers: {x-key: '${K}'}}}"
    one, other = (snapshot_of(text, {"K": key}).config for key in ("secret-1", "secret-2-longer"))
    assert one == other


# Digest


def test_a_digest_is_a_sha256() -> None:
    digest = snapshot_of(SEED).config
    assert digest.startswith("sha256:")
    assert len(bytes.fromhex(digest.removeprefix("sha256:"))) == 32


def test_comments_order_of_keys_spelling_and_units_leave_the_digest_as_it_is() -> None:
    digest = snapshot_of(SPELLINGS).config
    lines = SPELLINGS.strip().partition("routes:")
    keys = lines[0].splitlines()
    random.Random(1).shuffle(keys)
    text = "# a comment\n" + "".join(map("{} # and why\n".format, keys)) + lines[1] + lines[2]
    text = text.replace("maxAttempts", "max_attempts").replace("1500ms", "1.5s")
    text = text.replace("{enabled: false, interval: 1m", "{interval: 60.0, enabled: false")
    text = text.replace("{one: mine, other: mine}", "{other: mine, one: mine}")
    assert snapshot_of(text).config == digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("maxAttempts: 2", "maxAttempts: 3"),
        ("maxAttempts: 2\n", ""),
        ("requestedModel: ignore", "requestedModel: honour"),
        ("upstreamModel: x", "upstreamModel: y"),
        ("max: 5", "max: 6"),
        ("taskType: a", "taskType: [a, b]"),
        (", apiKey: k", ""),
        ("[::1]", "[::2]"),
    ],
)
def test_any_other_content_is_another_digest(before: str, after: str) -> None:
    assert before in SPELLINGS
    changed = SPELLINGS.replace(before, after)
    assert snapshot_of(changed).config != snapshot_of(SPELLINGS).config


def test_the_order_of_routes_is_content() -> None:
    routes = ["{match: {taskType: a}, model: gpt-4o}", "{match: {taskType: b}, model: gpt-4o}"]
    end = ", {match: {default: true}, model: gpt-4o}]"
    one, other = (
        snapshot_of("routes: [" + ", ".join(order) + end).config for order in (routes, routes[::-1])
    )
    assert one != other


# Keys


def keys_of(found: Compiled) -> dict[ProviderName, str]:
    return {name: held.key for name, held in found.secrets.items() if held.key is not None}


def openai_keys(section: str, env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The key and the complaint of a provider called openai."""
    found = compiled(f"providers: {{openai: {section}}}" + CATCH_ALL, env)
    name = ProviderName("openai")
    provider = found.snapshot.providers[name]
    assert provider.has_credential == (name in keys_of(found))
    return keys_of(found).get(name), found.missing_keys.get(name)


@pytest.mark.parametrize(
    ("section", "env", "key", "missing"),
    [
        ("{}", {"OPENAI_API_KEY": "k"}, "k", None),
        ("{}", {}, None, "OPENAI_API_KEY"),
        ("{}", {"OPENAI_API_KEY": ""}, None, "OPENAI_API_KEY"),
        ("{apiKey: x}", {"OPENAI_API_KEY": "k"}, "x", None),
        ("{apiKey: '${MINE}'}", {"MINE": "m", "OPENAI_API_KEY": "k"}, "m", None),
        ("{apiKey: '${A}-${B}'}", {"A": "a", "B": "b"}, "a-b", None),
        ("{apiKey: '${MINE}'}", {"OPENAI_API_KEY": "k"}, None, "MINE"),
        ("{api_key: '${MINE}'}", {}, None, "MINE"),
        ("{baseUrl: 'http://127.0.0.1/v1'}", {}, None, None),
        ("{baseUrl: 'http://127.0.0.1/v1'}", {"OPENAI_API_KEY": "k"}, "k", None),
        ("{baseUrl: 'https://127.0.0.1/v1'}", {}, None, "OPENAI_API_KEY"),
        ("{preset: vllm}", {"OPENAI_API_KEY": "k"}, None, None),
        ("{preset: vllm}", {"VLLM_API_KEY": "v"}, "v", None),
        ("{preset: ollama}", {"OPENAI_API_KEY": "k"}, None, None),
        ("{preset: google}", {"GOOGLE_API_KEY": "g"}, "g", None),
        ("{preset: google}", {"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": "h"}, "h", None),
        ("{preset: google}", {"GOOGLE_API_KEY": "g", "GEMINI_API_KEY": ""}, "g", None),
        ("{preset: google}", {}, None, "GEMINI_API_KEY or GOOGLE_API_KEY"),
        ("{apiKey: '${MINE}'}", {"MINE": ""}, None, "MINE"),
        ("{apiKey: '${A}-${B}'}", {"A": "a", "B": ""}, None, "B"),
        ("{apiKey: }", {"OPENAI_API_KEY": "k"}, None, "the variable in apiKey"),
        ("{apiKey: 'a$b'}", {}, "a$b", None),
        ("{apiKey: '${MINE}'}", {"MINE": "${OTHER}"}, "${OTHER}", None),
    ],
)
def test_a_key_is_the_one_given_else_that_of_the_presets_variables(
    section: str, env: dict[str, str], key: str | None, missing: str | None
) -> None:
    assert openai_keys(section, env) == (key, missing)


ID, SECRET, TOKEN = "AKIDEXAMPLE00001", "c2Vj/cmV0+x", "dG9r/ZW4+x=="
AWS = {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET}
BEARER = "ABSKQmVkcm9ja0FQSUtleS0xMjM="
EITHER = "AWS_BEARER_TOKEN_BEDROCK or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
AT_BEDROCK = "baseUrl: 'https://bedrock-runtime.eu-west-1.amazonaws.com'"


def bedrock(section: str, env: Mapping[str, str]) -> Compiled:
    where = f"providers: {{bedrock: {{{AT_BEDROCK}, {section}}}}}\n"
    model = "models: {m: {targets: [{provider: bedrock}], contextWindow: 9}}\n"
    return compiled(where + model + "routes: [{match: {default: true}, model: m}]", env)


@pytest.mark.parametrize(
    ("section", "env", "key", "signs"),
    [
        ("", {"AWS_BEARER_TOKEN_BEDROCK": BEARER}, BEARER, False),
        ("", {"AWS_BEARER_TOKEN_BEDROCK": BEARER, **AWS}, BEARER, False),
        ("", {"AWS_BEARER_TOKEN_BEDROCK": "", **AWS}, f"{ID}:{SECRET}", True),
        ("", AWS, f"{ID}:{SECRET}", True),
        ("", {**AWS, "AWS_SESSION_TOKEN": TOKEN}, f"{ID}:{SECRET}:{TOKEN}", True),
        (f"apiKey: '{ID}:{SECRET}'", {}, f"{ID}:{SECRET}", True),
        (f"apiKey: '{ID}:{SECRET}:{TOKEN}'", {}, f"{ID}:{SECRET}:{TOKEN}", True),
        ("apiKey: '${A}:${B}'", {"A": ID, "B": SECRET}, f"{ID}:{SECRET}", True),
        (f"apiKey: '{BEARER}'", AWS, BEARER, False),
        (f"apiKey: '{ID}'", {}, ID, False),
        (f"apiKey: 'B{ID}:{SECRET}'", {}, f"B{ID}:{SECRET}", False),
        (f"apiKey: 'bedrock-{ID}:{SECRET}'", {}, f"bedrock-{ID}:{SECRET}", False),
        (f"apiKey: '{ID[:15]}:{SECRET}'", {}, f"{ID[:15]}:{SECRET}", False),
        (f"apiKey: '{ID}:{SECRET}:'", {}, f"{ID}:{SECRET}:", False),
        (f"apiKey: '{ID}:{SECRET}', api: openai", {}, f"{ID}:{SECRET}", False),
    ],
)
def test_bedrock_takes_a_bearer_key_or_signs_with_a_key_of_that_form(
    section: str,
    env: Mapping[str, str],
    key: str,
    signs: bool,  # noqa: FBT001
) -> None:
    found = bedrock(section, env)
    (provider,) = found.snapshot.providers.values()
    assert keys_of(found) == {provider.name: key}
    assert found.missing_keys == {}
    assert provider.has_credential
    credential = (provider.credential_header, provider.credential_prefix)
    assert credential == (("", "") if signs else ("authorization", "Bearer "))


@pytest.mark.parametrize(
    ("section", "env", "missing"),
    [
        ("", {}, EITHER),
        ("", {"AWS_ACCESS_KEY_ID": ID}, EITHER),
        ("", {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}, EITHER),
        ("apiKey: '${MINE}'", AWS, "MINE"),
        ("api: openai", AWS, "AWS_BEARER_TOKEN_BEDROCK"),
    ],
)
def test_a_bedrock_without_a_key_says_which_it_could_have(
    section: str, env: Mapping[str, str], missing: str
) -> None:
    found = bedrock(section, env)
    assert found.missing_keys == {"bedrock": missing}
    assert not keys_of(found)
    (provider,) = found.snapshot.providers.values()
    assert (provider.has_credential, provider.credential_header) == (False, "authorization")


def test_a_key_of_awss_variables_that_can_not_be_one_is_a_mistake_told_without_it() -> None:
    with pytest.raises(ConfigError) as raised:
        bedrock("", {**AWS, "AWS_SECRET_ACCESS_KEY": f"{CANARY}\n"})
    assert str(raised.value) == (
        "providers.bedrock.apiKey: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN"
        " can't be a key of AWS; check them for stray characters"
    )


def test_only_bedrock_signs() -> None:
    found = compiled(f"providers: {{openai: {{apiKey: '{ID}:{SECRET}'}}}}" + CATCH_ALL, AWS)
    provider = found.snapshot.providers[ProviderName("openai")]
    assert provider.credential_header == "authorization"


def test_a_provider_without_a_preset_needs_no_key() -> None:
    text = "providers: {mine: {baseUrl: 'https://mine.test/v1'}}\n"
    text += "models: {m: {targets: [{provider: mine}], contextWindow: 9}}" + CATCH_ALL
    assert compiled(text, {"OPENAI_API_KEY": "k"}).missing_keys == {}


def test_a_key_of_the_environment_that_no_header_can_hold_is_a_mistake() -> None:
    (line,) = problems_of(CATCH_ALL, {"OPENAI_API_KEY": f"{CANARY}\r\n"})
    assert line.startswith("providers.openai.apiKey: holds characters that a header can't")
    assert CANARY not in line


def test_a_reference_is_replaced_in_values_after_parsing_and_only_once() -> None:
    text = "aliases: {fast: '${MODEL}'}" + CATCH_ALL
    assert snapshot_of(text, KEYS | {"MODEL": "gpt-4o-mini"}).models["fast"]
    (line,) = problems_of(text, KEYS | {"MODEL": "a: [b"})
    assert line.startswith("aliases.fast: no model is called a: [b; ")
    (line,) = problems_of(text, KEYS | {"MODEL": "${OPENAI_API_KEY}"})
    assert line.startswith("aliases.fast: no model is called ${OPENAI_API_KEY}; ")


# Guards


def orders_of(
    first: tuple[Target, ...], fallback: tuple[Target, ...], objective: Objective
) -> Iterator[tuple[TargetId, ...]]:
    """In which order targets may stand: as written, or the first ones ranked in any way."""
    ways = [first] if objective is Objective.ORDER else permutations(first)
    for way in ways:
        yield tuple(dict.fromkeys(target.id for target in (*way, *fallback)))


def windows_that_requests_can_need(snapshot: Snapshot) -> set[tuple[TargetId, ...]]:
    """By hand: whoever drops out of an order, the rest is planned; each attempt needs a tail."""
    orders = {
        order
        for route in snapshot.routes
        for first, objective in (
            (route.candidates, route.objective),
            *((pinned, Objective.ORDER) for pinned in snapshot.models.values()),
        )
        for order in orders_of(first, route.fallback, objective)
    }
    needed = set()
    for order in orders:
        for size in range(1, len(order) + 1):
            for able in combinations(order, size):
                chain = able[: snapshot.max_attempts]
                needed |= {chain[i : i + snapshot.guard_depth] for i in range(len(chain))}
    return needed


@pytest.mark.parametrize("text", [SEED, EXPLICIT, SPELLINGS], ids=["seed", "explicit", "spellings"])
@pytest.mark.parametrize("attempts", [1, 2, 3, 10])
def test_small_configs_have_a_guard_for_every_selection_of_targets_in_order(
    text: str, attempts: int
) -> None:
    text = text.replace("maxAttempts: 2\n", "") + f"\nmaxAttempts: {attempts}\n"
    snapshot = snapshot_of(text, KEYS | {"OPENAI_EU_KEY": CANARY})
    assert snapshot.guard_depth == attempts
    assert set(snapshot.guards) == windows_that_requests_can_need(snapshot)
    assert len(set(snapshot.guards)) == len(snapshot.guards)


@pytest.mark.parametrize(("models", "attempts"), [(12, 3), (30, 3), (30, 10), (200, 2), (400, 10)])
def test_with_many_targets_guards_are_shallower_and_never_too_many(
    models: int, attempts: int
) -> None:
    names = [f"m{i}" for i in range(models)]
    tree = {
        "maxAttempts": attempts,
        "providers": {"p": {"baseUrl": "http://127.0.0.1/v1"}},
        "models": {n: {"targets": [{"provider": "p"}], "contextWindow": 9} for n in names},
        "routes": [{"match": {"default": True}, "candidates": names}],
    }
    snapshot = snapshot_of(json.dumps(tree))
    assert 1 <= snapshot.guard_depth <= attempts
    assert len(snapshot.guards) <= GUARDS_MAX
    assert max(map(len, snapshot.guards)) == snapshot.guard_depth
    assert {window for window in snapshot.guards if len(window) == 1} == {
        (TargetId(f"p/{name}"),) for name in names
    }
    if snapshot.guard_depth < attempts:
        selections = comb(len(names), snapshot.guard_depth + 1)
        assert len(snapshot.guards) + selections > GUARDS_MAX


def test_a_models_window_is_that_of_the_preset_whatever_its_provider_is_called() -> None:
    text = """
providers: {openai-eu: {preset: openai, apiKey: k}}
models: {gpt-4.1-eu: {targets: [{provider: openai-eu, upstreamModel: gpt-4o}]}}
"""
    (target,) = snapshot_of(text + CATCH_ALL).models["gpt-4.1-eu"]
    assert target.model.context_window == 128_000


def test_a_catalog_models_window_goes_with_it_to_another_provider() -> None:
    moved = (
        "providers: {gw: {baseUrl: https://gw.corp.test/v1, apiKey: k}}\n"
        "models: {gpt-4o: {targets: [{provider: gw UPSTREAM}]}}" + CATCH_ALL
    )
    for upstream in ("", ", upstreamModel: corp-large"):
        (target,) = snapshot_of(moved.replace("UPSTREAM", upstream)).models["gpt-4o"]
        assert (target.id, target.model.context_window) == ("gw/gpt-4o", 128_000)
        assert not target.prices, "another provider's price is another"


SHADOWED = """
aliases: {gpt-4o: claude-haiku-3, house: gpt-4o, old: house, claude-3-opus: gpt-4o-mini}
apps: {allow: {a: [gpt-4o]}}
routes: [{match: {app: a}, model: gpt-4o}, {match: {default: true}, model: claude-sonnet-4}]
"""


def test_a_models_own_name_means_that_model_whatever_clients_get_by_it() -> None:
    found = snapshot_of(SHADOWED)
    assert [one.id for one in found.routes[0].candidates] == ["openai/gpt-4o"]
    assert found.apps.allowed["a"] == {"gpt-4o"}
    got = {name: found.models[name][0].model.name for name in ("gpt-4o", "house", "old")}
    assert got == {"gpt-4o": "claude-haiku-3", "house": "gpt-4o", "old": "gpt-4o"}
    assert found.models["claude-3-opus"][0].model.name == "gpt-4o-mini"
    told = "gpt-4o: claude-haiku-3 to clients, and the model itself in the rest of this file"
    assert told in {f"{fact.about}: {fact.what}" for fact in compiled(SHADOWED).facts}


def test_what_is_an_alias_only_means_the_same_in_a_route() -> None:
    text = "aliases: {house: best, best: gpt-4o}\nroutes: [{match: {default: true}, model: house}]"
    assert [one.id for one in snapshot_of(text).routes[0].candidates] == ["openai/gpt-4o"]


def test_aliases_that_lead_round_in_a_circle_are_told() -> None:
    assert problems_of("aliases: {a: b, b: a}" + CATCH_ALL) == [
        "aliases.a: leads back to itself; name a model",
        "aliases.b: leads back to itself; name a model",
    ]
