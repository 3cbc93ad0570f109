"""What a request came to: usage as told or as expected, and its cost to the cent's fraction."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from configs import snapshot_of

from extproc.outcome import Ended, Ending, Usage
from extproc.settle import settled
from extproc.vocabulary import TargetId

SNAPSHOT = snapshot_of(
    """
unknownCapability: allow
providers: {home: {baseUrl: http://home.test/v1}}
models:
  plain: {targets: [{provider: home}], price: {inputPerMTok: 2, outputPerMTok: 10}}
  detailed:
    targets: [{provider: home}]
    price: {inputPerMTok: 3, outputPerMTok: 15, cachedInputPerMTok: 0.3, cacheWritePerMTok: 3.75,
            reasoningPerMTok: 20}
  unpriced: {targets: [{provider: home}]}
routes: [{match: {default: true}, candidates: [plain, detailed, unpriced]}]
telemetry: {baselineModel: plain}
"""
)
RECORD: Mapping[str, Any] = {"estimate": {"input_tokens": 1000, "output_tokens": 100}}
ENDED = Ended(
    request_id="r",
    record="",
    began=1_767_225_600.0,
    target=TargetId("home/plain"),
    attempts=1,
    status=200,
    ttfb_ms=10.0,
    duration_ms=20.0,
    ending=Ending.COMPLETE,
)
USAGE = Usage(2000, 300, cache_read_tokens=1200, cache_write_tokens=400, reasoning_tokens=100)


@pytest.mark.parametrize(
    ("model", "usage", "cost_usd"),
    [
        ("plain", Usage(2000, 300), (2000 * 2 + 300 * 10) / 1e6),
        # What has no price of its own costs as plain input and output do.
        ("plain", USAGE, (2000 * 2 + 300 * 10) / 1e6),
        (
            "detailed",
            USAGE,
            (400 * 3 + 1200 * 0.3 + 400 * 3.75 + 200 * 15 + 100 * 20) / 1e6,
        ),
    ],
)
def test_the_cost_is_that_of_the_tokens_that_were_reported(
    model: str, usage: Usage, cost_usd: float
) -> None:
    ended = replace(ENDED, target=TargetId(f"home/{model}"), usage=usage)
    outcome = settled(ended, RECORD, SNAPSHOT)
    assert outcome.cost_usd == pytest.approx(cost_usd)
    assert (outcome.usage, outcome.usage_estimated) == (usage, False)


def test_without_a_report_the_estimate_counts_and_is_marked() -> None:
    outcome = settled(ENDED, RECORD, SNAPSHOT)
    assert (outcome.usage, outcome.usage_estimated) == (Usage(1000, 100), True)
    assert outcome.cost_usd == pytest.approx((1000 * 2 + 100 * 10) / 1e6)


def test_to_count_tokens_takes_none_and_costs_nothing() -> None:
    outcome = settled(ENDED, {**RECORD, "counting": True}, SNAPSHOT)
    assert (outcome.usage, outcome.usage_estimated) == (None, False)
    assert (outcome.cost_usd, outcome.baseline_cost_usd) == (0.0, 0.0)


def test_a_price_that_is_unknown_is_no_cost_at_all() -> None:
    outcome = settled(replace(ENDED, target=TargetId("home/unpriced")), RECORD, SNAPSHOT)
    assert outcome.cost_usd is None


def test_a_target_that_the_config_no_longer_has_costs_nobody_knows_what() -> None:
    outcome = settled(replace(ENDED, target=TargetId("gone/plain"), usage=USAGE), RECORD, SNAPSHOT)
    assert outcome.cost_usd is None


@pytest.mark.parametrize(
    ("target", "status"), [(None, 503), ("home/plain", 500), ("home/plain", 400), (None, 0)]
)
def test_what_was_not_answered_costs_nothing(target: str | None, status: int) -> None:
    ended = replace(ENDED, target=TargetId(target) if target else None, status=status)
    outcome = settled(ended, RECORD, SNAPSHOT)
    assert (outcome.usage, outcome.usage_estimated, outcome.cost_usd) == (None, False, 0.0)


def test_an_answer_cut_off_is_expected_to_have_cost_what_it_would_have() -> None:
    outcome = settled(replace(ENDED, ending=Ending.TRUNCATED), RECORD, SNAPSHOT)
    assert (outcome.usage_estimated, outcome.ending) == (True, Ending.TRUNCATED)


def test_the_baseline_is_the_same_usage_at_the_declared_model() -> None:
    ended = replace(ENDED, target=TargetId("home/detailed"), usage=USAGE)
    outcome = settled(ended, RECORD, SNAPSHOT)
    assert outcome.baseline_cost_usd == pytest.approx((2000 * 2 + 300 * 10) / 1e6)


def test_a_refusal_has_no_estimate_and_no_usage() -> None:
    ended = replace(ENDED, target=None, attempts=0, status=400)
    assert settled(ended, {"estimate": None}, SNAPSHOT).usage is None
