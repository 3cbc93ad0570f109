from __future__ import annotations

import json
import re
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from extproc.config.classifier import default_classifier, fold, from_numbers
from extproc.text.classifier import (
    CHARS_MAX,
    FEATURE_VERSION,
    FEATURES_MAX,
    LANE_BITS,
    WEIGHT_MAX,
    Classifier,
    features,
    pack,
    unpack,
)

HERE = Path(__file__).parent
PROMPTS: list[dict[str, Any]] = YAML(typ="safe").load(HERE / "task_prompts.yaml")
FILE = files("extproc.text").joinpath("classifier.json").read_text("utf-8")
NUMBERS: dict[str, Any] = json.loads(FILE)

TYPES = (
    "code-generation", "code-review", "reasoning", "summarization", "translation", "extraction",
    "writing", "design", "question-answering", "chat",
)  # fmt: skip
LANGUAGES = ("en", "zh", "de", "es", "fr", "pt", "ru", "cs")


def classify(text: str) -> str | None:
    return default_classifier().classify(text).type


def share_right(prompts: list[dict[str, Any]]) -> float:
    right = [prompt for prompt in prompts if classify(prompt["prompt"]) == prompt["type"]]
    return len(right) / len(prompts)


@pytest.mark.parametrize("task", TYPES)
def test_four_in_five_prompts_of_each_type_are_recognised(task: str) -> None:
    assert share_right([prompt for prompt in PROMPTS if prompt["type"] == task]) >= 0.8


@pytest.mark.parametrize("lang", LANGUAGES)
def test_four_in_five_prompts_of_each_language_are_recognised(lang: str) -> None:
    assert share_right([p for p in PROMPTS if p["lang"] == lang and p["type"]]) >= 0.8


def test_the_mean_recall_over_the_types_stays_above_nine_in_ten() -> None:
    by_type = defaultdict(list)
    for prompt in PROMPTS:
        by_type[prompt["type"]].append(prompt)
    assert sum(share_right(by_type[task]) for task in TYPES) / len(TYPES) >= 0.9


def test_what_has_no_task_gets_none() -> None:
    assert share_right([prompt for prompt in PROMPTS if prompt["type"] is None]) >= 0.85


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "?", "...", "\x00", "\u200b", "\ud800", "x", "17"]
)
def test_next_to_nothing_is_an_abstention(text: str) -> None:
    assert classify(text) is None


@pytest.mark.parametrize("text", ["Debug this", "Fix the bug", "Write code", "test", "asdfghjkl"])
def test_an_instruction_without_an_object_and_a_mashed_keyboard_are_abstentions(text: str) -> None:
    assert classify(text) is None


@pytest.mark.parametrize("greeting", ["Hello", "hi", "Bonjour", "Hola", "Hallo", "Привет", "你好"])
def test_a_greeting_is_chat(greeting: str) -> None:
    assert classify(greeting) == "chat"


FILLER = "The council met on Tuesday and talked about the new library for a long time. " * 200


def test_the_instruction_counts_before_and_after_a_long_text() -> None:
    assert (
        classify("Summarize the following article in three sentences:\n\n" + FILLER)
        == "summarization"
    )
    assert classify(FILLER + "\n\nSummarize this article in three sentences.") == "summarization"


def test_case_and_width_of_letters_do_not_matter() -> None:
    assert features("TRANSLATE THIS TO FRENCH") == features("translate this to french")
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "translate")
    assert classify(f"{wide} this sentence to french") == "translation"


def test_code_is_read_as_code_and_not_as_words() -> None:
    fenced = "Why does this crash?\n```\n{}\n```"
    assert features(fenced.format("summarize(poem)")) == features(fenced.format("translate(news)"))


def test_only_the_first_and_last_characters_of_a_long_text_matter() -> None:
    half = CHARS_MAX // 2
    head = ("Please translate this into German. " * half)[:half]
    tail = ("It was a dark and stormy night. " * half)[-half:]
    answers = {
        default_classifier().classify(head + middle + tail)
        for middle in ("x" * 3000, "Write code! " * 300, "\u00e9" * 2500, "```\n{}" * 500)
    }
    assert len(answers) == 1


@pytest.mark.parametrize("character", ["a", "\u00e9", "\u4e2d", "\U0001f600"])
def test_no_text_up_to_the_limit_is_cut(character: str) -> None:
    room = CHARS_MAX - 10
    assert features(character * room + "?") != features(character * room + "!")
    assert features("? " + character * room) != features("! " + character * room)


def test_a_megabyte_has_no_more_features_than_the_windows_allow() -> None:
    for unit in (
        "word%d ",
        "\u4e2d%d",
        "%d\u3002",
        "\ufdfa%d",
        "%d.a\n",
        "```%d",
        "\u0315\u0301%d",
    ):
        text = "".join(unit % number for number in range(100_000))
        assert len(features(text)) <= FEATURES_MAX


@given(st.text(st.characters(codec=None), max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_text_gets_an_answer_and_the_same_one_twice(text: str) -> None:
    classifier = default_classifier()
    answer = classifier.classify(text)
    assert answer == classifier.classify(text)
    assert 0.0 <= answer.confidence <= 1.0
    assert answer.type is None or answer.type in TYPES
    assert answer.type is None or answer.confidence >= classifier.threshold


@given(
    st.sampled_from(
        ["\u0300", "\u0315\u0300", "`", "```", "{", "\n", ".", "\ufdfa", "\ud800", "\u202e", " "]
    ),
    st.integers(0, 40_000),
    st.text(max_size=20),
)
@settings(max_examples=50, deadline=1000)
def test_hostile_repetition_costs_no_more_than_other_text(unit: str, times: int, rest: str) -> None:
    default_classifier().classify(unit * times + rest)


def test_features_are_the_same_in_every_process() -> None:
    # A known answer: a seeded hash such as that of str would change from run to run.
    assert crc32(b"hello") in features("Hello there")
    assert crc32(b"hellothere") in features("Hello there")
    assert crc32(b"^hello") in features("Hello there")
    assert crc32(b".there") in features("Hello. There")


def test_the_committed_numbers_have_the_documented_shape() -> None:
    assert NUMBERS["feature_version"] == FEATURE_VERSION
    assert tuple(NUMBERS["types"]) == TYPES
    assert len(NUMBERS["bias"]) == len(TYPES) + 1
    assert all(type(number) is int for number in NUMBERS["features"])
    gaps, folded = NUMBERS["features"][::2], NUMBERS["features"][1::2]
    assert len(gaps) == len(folded) > 1000
    assert min(gaps[1:]) > 0
    assert sum(gaps) < 1 << 32
    assert 0 <= min(folded) <= max(folded) < (2 * WEIGHT_MAX + 1) ** (len(TYPES) + 1)
    assert 0 < NUMBERS["threshold"] < 1
    assert NUMBERS["temperature"] >= 1
    assert len(FILE) < 400_000


def test_the_committed_numbers_hold_no_words() -> None:
    keys = {*NUMBERS} | {word for task in NUMBERS["types"] for word in task.split("-")}
    words = {word for key in keys for word in key.split("_")}
    assert set(re.findall(r"[^\W\d_]{2,}", FILE)) <= words


def test_numbers_for_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match="fit it again"):
        from_numbers(NUMBERS | {"feature_version": FEATURE_VERSION + 1})


@given(
    st.lists(st.lists(st.integers(-WEIGHT_MAX, WEIGHT_MAX), min_size=3, max_size=3), max_size=50)
)
def test_packed_weights_add_up_lane_by_lane(rows: list[list[int]]) -> None:
    columns = tuple(sum(row[lane] for row in rows) for lane in range(3))
    assert unpack(sum(map(pack, rows)), 3) == columns


def test_a_lane_holds_the_weights_of_as_many_features_as_there_can_be() -> None:
    assert FEATURES_MAX * WEIGHT_MAX + max(map(abs, NUMBERS["bias"])) < 1 << (LANE_BITS - 1)


@given(st.lists(st.integers(-WEIGHT_MAX, WEIGHT_MAX), min_size=3, max_size=3))
def test_a_written_feature_reads_back(weights: list[int]) -> None:
    numbers = {
        "feature_version": FEATURE_VERSION,
        "types": ["one", "two"],
        "bias": [0, 0, 0],
        "scale": 0.1,
        "temperature": 1.0,
        "threshold": 0.5,
        "features": [7, fold(weights), 5, fold(weights[::-1])],
    }
    assert from_numbers(numbers).weights == {7: pack(weights), 12: pack(weights[::-1])}


def test_the_likeliest_type_wins_unless_no_task_or_doubt_does() -> None:
    def answer(*bias: int) -> str | None:
        return Classifier(("a", "b"), {}, pack(bias), 0.1, 1.0, 0.5).classify("").type

    assert answer(90, 10, 0) == "a"
    assert answer(10, 90, 0) == "b"
    assert answer(10, 20, 90) is None
    assert answer(50, 51, 48) is None
