"""Token estimates: what holds for every text, and how near they come to real counts."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.feature import Feature
from extproc.text.tokens import (
    APART_BYTES,
    OUTPUT_TOKENS,
    RATIO_MAX,
    RATIO_MIN,
    SAMPLE_BYTES,
    Calibration,
    Family,
    Measure,
    Output,
    calibrated,
    first_output,
    framing_tokens,
    measure,
    measure_all,
    output_tokens,
    part_tokens,
    schema_tokens,
    tokens,
    total,
    updated,
    with_output,
)

ENGLISH = """\
A lighthouse keeper's day began before dawn. She climbed the ninety-four steps, put out the lamp,
polished the lens and wrote the weather into the book: wind from the south-west, sea moderate, two
sails in sight. Then there was nothing to do but wait, mend nets, and argue with the radio about
whether the supply boat would come on Thursday, as promised, or on Friday, as usual.
"""
GERMAN = """\
Die Bibliothek öffnet wochentags um neun Uhr. Wer einen Ausweis beantragen möchte, bringt bitte
eine Meldebescheinigung und ein Passfoto mit; Jugendliche unter sechzehn Jahren brauchen außerdem
die Unterschrift eines Erziehungsberechtigten. Ausgeliehene Bücher dürfen zweimal verlängert
werden, sofern niemand sie vorbestellt hat.
"""
RUSSIAN = """\
Поезд опоздал на сорок минут, и на перроне уже зажгли фонари. Старик в сером пальто читал вслух
письмо от дочери, хотя рядом никого не было. Она писала, что сняла комнату под самой крышей, что
работы много, но люди хорошие, и что весной обязательно приедет.
"""
CHINESE = """\
周末我们去了城外的一座小山。山路不算陡,但前一天下过雨,石阶有些滑。到了山顶,云慢慢散开,
可以看见远处的河流和刚刚收割过的稻田。朋友带了热茶,我们坐在亭子里聊了一个下午,直到太阳落山才回家。
"""
PYTHON = '''\
def merge(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping intervals become one; the result is sorted."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


if __name__ == "__main__":
    print(merge([(1, 3), (2, 6), (8, 10), (15, 18)]))
'''
JSON = """\
{"order": {"id": "A-10293", "customer": {"name": "M. Okafor", "email": "m.okafor@example.com"},
 "lines": [{"sku": "LAMP-07", "quantity": 2, "unit_price": 39.9, "gift": false},
           {"sku": "BULB-E27", "quantity": 6, "unit_price": 4.25, "gift": true}],
 "shipping": {"method": "standard", "address": null}, "created_at": "2025-03-14T09:26:53Z"}}
"""

COUNTED_FAMILIES = tuple(family for family in Family if family is not Family.DEFAULT)

# Counted by the tokenizers that tests/bench/fit_tokens.py names, in the order of COUNTED_FAMILIES;
# none of these texts was fitted to. The last figure is how far off an estimate may be: tokenizers
# with few German words cut its compounds up more than letters can tell.
COUNTED = {
    "English": (ENGLISH, (87, 88, 93, 132, 91, 88, 88, 88, 87), 0.2),
    "German": (GERMAN, (76, 96, 118, 163, 76, 96, 80, 94, 96), 0.3),
    "Russian": (RUSSIAN, (83, 123, 109, 109, 80, 88, 86, 92, 90), 0.2),
    "Chinese": (CHINESE, (85, 123, 113, 112, 72, 86, 90, 66, 60), 0.2),
    "Python": (PYTHON, (141, 141, 160, 203, 159, 141, 150, 144, 145), 0.2),
    "JSON": (JSON, (133, 132, 150, 175, 153, 132, 149, 146, 139), 0.2),
}

texts = st.one_of(
    st.text(max_size=400),
    st.text(st.sampled_from("aZk9 .\n\té漢の한яع😀"), max_size=400),
    st.lists(st.sampled_from(["the", "Überraschung", "fooBar", "42", "==", "你好", "\n\n"])).map(
        " ".join
    ),
)
families = st.sampled_from(Family)
counts = st.floats(min_value=1e-3, max_value=1e9)


@pytest.mark.parametrize("family", COUNTED_FAMILIES)
@pytest.mark.parametrize("name", COUNTED)
def test_an_estimate_is_near_what_a_real_tokenizer_counts(name: str, family: Family) -> None:
    text, counted, error_max = COUNTED[name]
    actual = counted[COUNTED_FAMILIES.index(family)]
    assert tokens(measure(text.encode()), family) == pytest.approx(actual, rel=error_max)


@pytest.mark.parametrize("name", COUNTED)
def test_a_model_of_no_known_family_gets_an_estimate_between_those_known(name: str) -> None:
    text, counted, error_max = COUNTED[name]
    estimate = tokens(measure(text.encode()), Family.DEFAULT)
    assert min(counted) * (1 - error_max) <= estimate <= max(counted)


def test_each_class_counts_what_its_name_says() -> None:
    text = (
        "Fetch kittyPhotos, 1234 of 56:\n\n\t({x}) Internationalizations"
        " αβ щ שא ع की ไทย \u1ebf ქ — 。の漢한\uff01😀"
    )
    assert measure(text.encode()) == Measure(
        words=15,
        deep=5,
        capitals=3,
        camel=1,
        uncommon=9,
        rare=2,
        digits=6,
        digit_runs=2,
        spaces=17,
        break_runs=1,
        sign_runs=4,
        sign_pairs=2,
        spaced_signs=0,
        greek=2,
        cyrillic=1,
        hebrew=2,
        arabic=1,
        devanagari=2,
        thai=3,
        vietnamese=1,
        georgian=1,
        typographic=1,
        ideographic_signs=1,
        kana=1,
        han=1,
        hangul=1,
        full_width=1,
        astral=1,
    )


@settings(deadline=None)
@given(texts, texts)
def test_measures_add_up_but_for_the_joint(one: str, other: str) -> None:
    apart = total([measure(one.encode()), measure(other.encode())])
    together = measure((one + other).encode())
    # `deep` looks back 16 letters; every other class at most one byte.
    for name in Measure._fields:
        across = 16 if name == "deep" else 1
        assert abs(getattr(together, name) - getattr(apart, name)) <= across, name


@settings(deadline=None)
@given(texts, texts, families)
def test_more_text_is_never_fewer_tokens_but_for_the_joint(
    text: str, more: str, family: Family
) -> None:
    alone = tokens(measure(text.encode()), family)
    joint = sum(tokens(measure(sample.encode()), family) for sample in ("1", "a", "=", "\n"))
    assert tokens(measure((text + more).encode()), family) >= alone - joint


@settings(deadline=None)
@given(texts, families)
def test_no_text_is_free_and_none_takes_more_tokens_than_bytes(text: str, family: Family) -> None:
    size = len(text.encode())
    assert 0.006 * size <= tokens(measure(text.encode()), family) <= 3 * size


@settings(deadline=None)
@given(st.binary(max_size=300), families)
def test_bytes_that_are_no_text_are_measured_too(raw: bytes, family: Family) -> None:
    assert min(measure(raw)) >= 0
    assert 0 <= tokens(measure(raw), family) < math.inf


def test_an_empty_text_has_no_tokens() -> None:
    assert measure(b"") == Measure()


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("size", [SAMPLE_BYTES + 1, 3 * SAMPLE_BYTES, 1_000_000])
def test_a_long_text_is_measured_by_windows_to_within_5_percent(name: str, size: int) -> None:
    text = COUNTED[name][0].encode()
    whole = text * (size // len(text) + 1)
    expected = tokens(measure(text), Family.CLAUDE) * len(whole) / len(text)
    assert tokens(measure(whole), Family.CLAUDE) == pytest.approx(expected, rel=0.05)


def test_a_long_text_of_two_halves_is_measured_as_both() -> None:
    halves = ENGLISH.encode() * 400, CHINESE.encode() * 500
    parts = [tokens(measure(half), Family.GEMINI) for half in halves]
    assert tokens(measure(b"".join(halves)), Family.GEMINI) == pytest.approx(sum(parts), rel=0.05)


def test_every_message_and_any_tools_add_framing() -> None:
    for family in Family:
        one = framing_tokens(family, 1)
        assert 0 <= one <= framing_tokens(family, 2) <= framing_tokens(family, 2, tools=True)
    assert framing_tokens(Family.OPENAI_O200K, 2) == 11
    assert framing_tokens(Family.CLAUDE, 1, tools=True) == 353


@settings(deadline=None)
@given(texts, families)
def test_a_schema_costs_at_most_the_text_it_is_written_as(text: str, family: Family) -> None:
    measured = measure(text.encode())
    assert 0 <= schema_tokens(measured, family) <= tokens(measured, family)


@pytest.mark.parametrize("family", Family)
def test_parts_that_are_not_text_have_an_allowance_and_other_features_none(family: Family) -> None:
    parts = {Feature.VISION, Feature.AUDIO, Feature.DOCUMENTS}
    assert {feature for feature in Feature if part_tokens(family, feature) > 0} == parts


@settings(deadline=None)
@given(st.floats(min_value=RATIO_MIN, max_value=RATIO_MAX), st.floats(min_value=200, max_value=1e6))
def test_calibration_converges_to_the_ratio_that_is_reported(ratio: float, size: float) -> None:
    calibration = Calibration()
    for _ in range(1000):
        calibration = updated(calibration, size, size * ratio)
    assert calibration.ratio == pytest.approx(ratio, rel=0.01)
    assert calibrated(size, calibration) == pytest.approx(size * ratio, rel=0.01)


@settings(deadline=None)
@given(st.lists(st.tuples(counts, counts), max_size=50))
def test_calibration_stays_within_its_bounds(reports: list[tuple[float, float]]) -> None:
    calibration = Calibration()
    for estimated, actual in reports:
        calibration = updated(calibration, estimated, actual)
        assert RATIO_MIN <= calibration.ratio <= RATIO_MAX
        assert 0 < calibration.weight <= 100


@settings(deadline=None)
@given(counts, counts)
def test_one_outlier_moves_a_settled_calibration_by_less_than_1_percent(
    estimated: float, actual: float
) -> None:
    settled = Calibration(ratio=1.1, weight=100)
    assert updated(settled, estimated, actual).ratio == pytest.approx(1.1, rel=0.01)


@pytest.mark.parametrize("estimated", [0.0, -1.0, math.nan, math.inf, 100.0])
@pytest.mark.parametrize("actual", [0.0, -1.0, math.nan, math.inf])
def test_a_report_that_is_no_count_of_tokens_changes_nothing(
    estimated: float, actual: float
) -> None:
    calibration = Calibration(1.2, 10)
    assert updated(calibration, estimated, actual) == calibration
    assert updated(calibration, actual, estimated) == calibration
    assert with_output(Output(400.0), actual) == Output(400.0)


outputs = st.builds(Output, counts, st.floats(min_value=1, max_value=100))


@settings(deadline=None)
@given(
    st.sampled_from([*OUTPUT_TOKENS, "haiku"]),
    st.none() | st.integers(min_value=1, max_value=10**6),
    st.none() | st.dictionaries(st.sampled_from([*OUTPUT_TOKENS]), outputs),
    st.none() | counts,
)
def test_an_answer_is_at_least_one_token_and_at_most_the_limit(
    task_type: str,
    limit: int | None,
    seen: Mapping[str, Output] | None,
    input_tokens: float | None,
) -> None:
    answer = output_tokens(task_type, limit, seen, input_tokens)
    assert 1 <= answer <= (limit if limit is not None else math.inf)


def test_a_task_that_nobody_named_is_taken_as_unknown() -> None:
    assert output_tokens("haiku", None) == OUTPUT_TOKENS["unknown"]


def test_a_translation_is_as_long_as_its_source_until_some_were_seen() -> None:
    assert output_tokens("translation", None, input_tokens=1234.4) == 1234
    seen = {"translation": Output(70.0)}
    assert output_tokens("translation", None, seen, input_tokens=1234.4) == 70


@settings(deadline=None)
@given(st.sampled_from([*OUTPUT_TOKENS]), st.floats(min_value=1, max_value=1e6))
def test_what_a_task_used_replaces_its_default(task_type: str, used: float) -> None:
    output = first_output(task_type)
    for _ in range(2000):
        output = with_output(output, used)
    assert output.mean_tokens == pytest.approx(used, rel=0.01)
    assert output.weight <= 100
    assert output_tokens(task_type, None, {task_type: output}) == max(1, round(output.mean_tokens))


def test_a_long_conversation_is_measured_as_one_long_text() -> None:
    turns = [b"The quick brown fox jumps over the lazy dog. " * 200] * 50
    together = tokens(measure_all(turns), Family.DEFAULT)
    apart = tokens(total(map(measure, turns)), Family.DEFAULT)
    assert sum(map(len, turns)) > APART_BYTES
    assert together == pytest.approx(apart, rel=0.05)


def test_a_short_conversation_is_measured_turn_by_turn() -> None:
    turns = [b"one two", b"three"]
    assert measure_all(turns) == total(map(measure, turns))
