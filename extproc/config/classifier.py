"""The task classifier's fitted numbers (`extproc/text/classifier.json`), read and unfolded.

The file is made by `tests/bench/fit_task_classifier.py`. A feature takes two integers there: how
far its hash is from the one before, and its weights as the digits of one number, `DIGIT` to a
class, first class first, each raised by `WEIGHT_MAX` so that none is negative.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Any, Final

from extproc.text.classifier import FEATURE_VERSION, WEIGHT_MAX, Classifier, pack

DIGIT: Final = 2 * WEIGHT_MAX + 1


@cache
def default_classifier() -> Classifier:
    """The classifier that comes with the project."""
    text = files("extproc.text").joinpath("classifier.json").read_text("utf-8")
    return from_numbers(json.loads(text))


def from_numbers(numbers: Mapping[str, Any]) -> Classifier:
    if numbers["feature_version"] != FEATURE_VERSION:
        raise ValueError(
            f"classifier.json was fitted on features of version {numbers['feature_version']}, "
            f"this is version {FEATURE_VERSION}: fit it again."
        )
    types = tuple(numbers["types"])
    lanes = len(types) + 1
    hashes = accumulate(numbers["features"][::2])
    weights = (pack(_digits(folded, lanes)) for folded in numbers["features"][1::2])
    return Classifier(
        types=types,
        weights=dict(zip(hashes, weights, strict=True)),
        bias=pack(numbers["bias"]),
        scale=numbers["scale"],
        temperature=numbers["temperature"],
        threshold=numbers["threshold"],
    )


def fold(weights: Sequence[int]) -> int:
    """The weights of one feature as one number, the inverse of what reading does."""
    folded = 0
    for weight in reversed(weights):
        folded = folded * DIGIT + weight + WEIGHT_MAX
    return folded


def _digits(folded: int, lanes: int) -> list[int]:
    digits = []
    for _ in range(lanes):
        folded, digit = divmod(folded, DIGIT)
        digits.append(digit - WEIGHT_MAX)
    return digits
