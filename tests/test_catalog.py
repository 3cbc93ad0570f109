"""The built-in catalog holds together: no fact without its source, no place without a price.

The file is read as YAML here, so that a rule can't be bent by the code that loads the catalog.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from extproc.config.presets import PRESETS
from extproc.config.prices import listed, price_list
from extproc.feature import Feature
from extproc.text.tokens import Family

KEYS: Final = {
    *("aliases", "family", "targets", "contextWindow", "maxOutputTokens", "capabilities"),
    *("quality", "source", "date", "qualitySource", "qualityDate"),
}
TASKS: Final = {
    *("default", "code-generation", "code-review", "reasoning", "summarization", "translation"),
    *("extraction", "writing", "design", "question-answering", "chat"),
}
UNPRICED: Final[Mapping[tuple[str, str], str]] = {}
"""(provider, upstream model) → why genai-prices has no price of it."""

SEED: Final = {
    "claude-opus-4": "claude-opus-4-20250514",
    "claude-sonnet-4": "claude-sonnet-4-20250514",
    "claude-haiku-3": "claude-3-haiku-20240307",
    "gpt-4o": "gpt-4o",
    "gpt-4o-mini": "gpt-4o-mini",
    "gemini-flash-2.0": "gemini-2.0-flash",
}
"""What the seed's example names → what its provider is asked for."""

SCORE: Final = re.compile(r', "[^"]+", score (\d{1,3}\.\d)')

TEXT: Final = files("extproc.config").joinpath("catalog.yaml").read_text("utf-8")
MODELS: Final[dict[str, dict[str, Any]]] = YAML(typ="safe", pure=True).load(TEXT)["models"]

each_model = pytest.mark.parametrize("name", MODELS)


PLACES: Final[list[tuple[str, str, str]]] = [
    (name, target["provider"], target["upstreamModel"])
    for name, entry in MODELS.items()
    for target in entry["targets"]
]
"""Every place of every model: the model's name, the provider's, the upstream model's."""

each_model = pytest.mark.parametrize("name", MODELS)
each_place = pytest.mark.parametrize(("name", "provider", "upstream"), PLACES)


def listed_windows(name: str) -> list[int]:
    """What genai-prices says, of each place where it says something."""
    found = [listed(provider, upstream) for model, provider, upstream in PLACES if model == name]
    return [model.context_window for model in found if model and model.context_window]


@each_model
def test_an_entry_has_only_the_keys_that_mean_something(name: str) -> None:
    assert set(MODELS[name]) <= KEYS
    assert {"family", "targets", "source", "date"} <= set(MODELS[name])


@each_model
def test_facts_say_where_they_are_from_and_when(name: str) -> None:
    entry = MODELS[name]
    assert isinstance(entry["source"], str)
    assert "," in entry["source"], "name the site and the page's title"
    today = datetime.now(tz=UTC).date()
    for key in ("date", "qualityDate"):
        if key in entry:
            assert isinstance(entry[key], date)
            assert date(2024, 1, 1) <= entry[key] <= today
    assert ("quality" in entry) == ("qualitySource" in entry) == ("qualityDate" in entry)


def test_a_name_means_one_model() -> None:
    """Two names that differ in case only would be taken for one another by a reader."""
    names = [*MODELS, *(alias for entry in MODELS.values() for alias in entry.get("aliases", ()))]
    twice = [name for name, count in Counter(map(str.lower, names)).items() if count > 1]
    assert not twice
    assert not [name for name in names if "*" in name], "names are exact"
    assert "auto" not in names


@each_model
def test_the_family_is_one_with_prices_for_text(name: str) -> None:
    assert MODELS[name]["family"] in {family.value for family in Family}


@each_model
def test_capabilities_are_features_known_to_be_there_or_not(name: str) -> None:
    capabilities = MODELS[name].get("capabilities", {})
    order = [feature.value for feature in Feature]
    assert set(capabilities) <= set(order)
    assert list(capabilities) == sorted(capabilities, key=order.index)
    assert all(isinstance(known, bool) for known in capabilities.values())


@each_model
def test_quality_is_the_source_s_score_on_the_documented_scale(name: str) -> None:
    quality = MODELS[name].get("quality")
    if quality is None:
        return
    assert set(quality) <= TASKS
    assert all(0 <= value <= 1 for value in quality.values())
    score = SCORE.search(MODELS[name]["qualitySource"])
    assert score, "write the score as the source has it"
    assert quality["default"] == pytest.approx(round(float(score[1]) / 5) * 0.05)


@each_place
def test_a_place_is_a_preset_that_needs_nothing_but_a_key(
    name: str, provider: str, upstream: str
) -> None:
    assert provider in PRESETS
    assert PRESETS[provider].base_url, f"{name}: whoever names it would have to write a base URL"
    assert upstream


@each_model
def test_a_model_is_nowhere_twice(name: str) -> None:
    providers = [target["provider"] for target in MODELS[name]["targets"]]
    assert providers
    assert len(providers) == len(set(providers))


@each_place
def test_a_place_has_a_price(name: str, provider: str, upstream: str) -> None:
    model = listed(provider, upstream)
    if (provider, upstream) in UNPRICED:
        assert model is None, f"{name}: there is a price by now"
    else:
        assert model is not None
        only_embeds = MODELS[name].get("capabilities", {}).get("embeddings", False)
        prices = [period.price for period in price_list(model)]
        assert any((price.input if only_embeds else price.output).base > 0 for price in prices)


@each_model
def test_the_context_window_is_known_and_written_in_one_place_only(name: str) -> None:
    written = MODELS[name].get("contextWindow")
    windows = listed_windows(name)
    if written is None:
        assert windows
    else:
        assert isinstance(written, int)
        assert written > 0
        assert written != min(windows, default=None), "genai-prices has it: leave it out"


@each_model
def test_every_claude_says_how_much_it_can_answer_and_no_answer_overfills_the_window(
    name: str,
) -> None:
    """Anthropic's API wants a limit in every request; what a client leaves open is filled in."""
    limit = MODELS[name].get("maxOutputTokens")
    if any(target["provider"] == "anthropic" for target in MODELS[name]["targets"]):
        assert limit
    if limit is not None:
        window = MODELS[name].get("contextWindow") or min(listed_windows(name))
        assert isinstance(limit, int)
        assert 0 < limit <= window


@each_model
def test_a_model_that_embeds_is_known_to_do_nothing_else(name: str) -> None:
    capabilities = MODELS[name].get("capabilities", {})
    if capabilities.get("embeddings"):
        assert capabilities == {feature.value: feature.value == "embeddings" for feature in Feature}


@pytest.mark.parametrize(("name", "upstream"), SEED.items())
def test_the_seed_s_models_are_what_they_were(name: str, upstream: str) -> None:
    assert [place for model, _, place in PLACES if model == name] == [upstream]
    if name.startswith("claude-"):
        assert MODELS[name]["capabilities"]["structuredOutput"] is False
