"""Metrics: what each event counts, in series that clients can't multiply."""

import time
from typing import Any

import pytest
from configs import CATCH_ALL, SEED, snapshot_of
from outcomes import NOW, attempt, decision_on, finished
from prometheus_client import generate_latest

from extproc.decide import refused_unread
from extproc.exchange import UNKNOWN_PATH
from extproc.outcome import Ending, Failure, Usage
from extproc.servers import metrics as limits
from extproc.servers.metrics import APPS_MAX, Metrics
from extproc.state.view import Breaker
from extproc.vocabulary import TargetId

GPT = TargetId("openai/gpt-4o")
HAIKU = TargetId("anthropic/claude-haiku-3")
FLASH = TargetId("google/gemini-flash-2.0")
SUMMARY = {"x-router-task": "summarization"}
SNAPSHOT = snapshot_of(SEED)


@pytest.fixture
def metrics() -> Metrics:
    found = Metrics()
    found.configured(SNAPSHOT)
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"extproc_{name}", labels)


def series_of(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """A metric's samples by their label values, histograms' buckets left out."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"extproc_{name}"
    }


# Decisions


def test_a_decision_is_counted_by_its_route_first_target_and_choice(metrics: Metrics) -> None:
    metrics.decided(decision_on(SNAPSHOT, SUMMARY), 250)
    metrics.decided(decision_on(SNAPSHOT, model="gpt-4o"), 250)
    assert series_of(metrics, "decisions_total") == {
        (HAIKU, "route-3", "order"): 1,
        (GPT, "default", "requested"): 1,
    }


def test_the_overhead_is_in_seconds(metrics: Metrics) -> None:
    metrics.decided(decision_on(SNAPSHOT), 250)
    assert value(metrics, "overhead_seconds_sum") == pytest.approx(0.00025)
    assert value(metrics, "overhead_seconds_bucket", le="0.00025") == 1


def test_a_refusal_is_counted_by_its_kind_and_is_no_decision(metrics: Metrics) -> None:
    metrics.decided(decision_on(SNAPSHOT, max_tokens=10**7), 100)
    metrics.decided(refused_unread(SNAPSHOT, UNKNOWN_PATH, now=NOW, draw=1), 10)
    assert series_of(metrics, "refusals_total") == {
        ("no_eligible_target",): 1,
        ("not_found",): 1,
    }
    assert series_of(metrics, "decisions_total") == {}
    assert value(metrics, "overhead_seconds_count") == 2


def test_every_rejected_target_is_counted_by_its_reason(metrics: Metrics) -> None:
    metrics.decided(decision_on(SNAPSHOT, max_tokens=10**7), 100)
    assert series_of(metrics, "rejections_total") == {("context_window",): 2}


def test_tasks_are_told_apart_by_who_named_them(metrics: Metrics) -> None:
    metrics.decided(decision_on(SNAPSHOT, SUMMARY), 1)
    metrics.decided(decision_on(SNAPSHOT, metadata={"task_type": "translation"}), 1)
    assert series_of(metrics, "tasks_total") == {
        ("summarization", "header"): 1,
        ("translation", "metadata"): 1,
    }


# Attempts and outcomes


@pytest.mark.parametrize(
    ("status", "failure", "result"),
    [
        (200, None, "ok"),
        (429, None, "429"),
        (404, None, "client_error"),
        (500, Failure.STATUS, "status"),
        (None, Failure.RESET, "reset"),
        (None, Failure.CONNECT, "connect"),
        (None, Failure.TIMEOUT, "timeout"),
        (None, None, "none"),
    ],
)
def test_an_attempt_is_counted_by_its_result(
    metrics: Metrics, status: int | None, failure: Failure | None, result: str
) -> None:
    metrics.attempted(attempt(GPT, status, failure))
    assert series_of(metrics, "attempts_total") == {(GPT, result): 1}


def test_a_request_is_counted_by_its_route_and_the_class_of_its_status(metrics: Metrics) -> None:
    decision = decision_on(SNAPSHOT)
    for status in (200, 201, 400, 503, 0):
        metrics.finished(finished(decision, status=status))
    assert series_of(metrics, "requests_total") == {
        ("default", "2xx"): 2,
        ("default", "4xx"): 1,
        ("default", "5xx"): 1,
        ("default", "none"): 1,
    }


def test_it_is_a_fallback_when_another_than_the_first_target_served(metrics: Metrics) -> None:
    decision = decision_on(SNAPSHOT, SUMMARY)
    metrics.finished(finished(decision))
    assert series_of(metrics, "fallbacks_total") == {}
    metrics.finished(finished(decision, target=FLASH, attempts=2))
    assert series_of(metrics, "fallbacks_total") == {("route-3",): 1}


def test_when_nobody_served_only_the_request_is_counted(metrics: Metrics) -> None:
    metrics.finished(finished(decision_on(SNAPSHOT), target=None, status=503, usage=None))
    for name in ("fallbacks_total", "tokens_total", "cost_usd_total", "duration_seconds_count"):
        assert series_of(metrics, name) == {}


def test_times_are_in_seconds_by_target(metrics: Metrics) -> None:
    metrics.finished(finished(decision_on(SNAPSHOT), target=GPT))
    assert value(metrics, "ttfb_seconds_sum", target=GPT) == pytest.approx(0.31)
    assert value(metrics, "duration_seconds_sum", target=GPT) == pytest.approx(1.84)


def test_only_an_answer_that_is_not_whole_is_counted_by_its_ending(metrics: Metrics) -> None:
    for ending in Ending:
        metrics.finished(finished(decision_on(SNAPSHOT), target=GPT, ending=ending))
    assert series_of(metrics, "incomplete_total") == {
        (GPT, "truncated"): 1,
        (GPT, "aborted"): 1,
    }


def test_tokens_are_counted_by_target_and_kind(metrics: Metrics) -> None:
    usage = Usage(100, 20, cache_read_tokens=60, reasoning_tokens=5)
    metrics.finished(finished(decision_on(SNAPSHOT), target=GPT, usage=usage))
    assert series_of(metrics, "tokens_total") == {
        (GPT, "input"): 100,
        (GPT, "output"): 20,
        (GPT, "cache_read"): 60,
        (GPT, "reasoning"): 5,
    }


def test_the_error_of_an_estimate_is_what_was_reported_by_what_was_expected(
    metrics: Metrics,
) -> None:
    decision = decision_on(SNAPSHOT)
    assert decision.estimate
    twice = Usage(2 * decision.estimate.input_tokens, 5)
    metrics.finished(finished(decision, usage=twice))
    assert value(metrics, "input_tokens_ratio_sum") == 2


def test_an_estimated_usage_says_nothing_of_the_estimates_error(metrics: Metrics) -> None:
    metrics.finished(finished(decision_on(SNAPSHOT), target=GPT, usage_estimated=True))
    assert value(metrics, "input_tokens_ratio_count") == 0
    assert series_of(metrics, "estimated_usage_total") == {(GPT,): 1}
    assert value(metrics, "tokens_total", target=GPT, kind="input") == 20


def test_cost_is_counted_by_target_route_and_app_and_the_baseline_beside_it(
    metrics: Metrics,
) -> None:
    decision = decision_on(SNAPSHOT, {"x-router-app": "billing"})
    metrics.finished(finished(decision, target=GPT, cost_usd=0.25, baseline_cost_usd=1.5))
    metrics.finished(finished(decision, target=GPT, cost_usd=0.25, baseline_cost_usd=0.5))
    metrics.finished(finished(decision_on(SNAPSHOT), target=GPT, cost_usd=0.125))
    assert series_of(metrics, "cost_usd_total") == {
        (GPT, "default", "billing"): 0.5,
        (GPT, "default", "none"): 0.125,
    }
    assert series_of(metrics, "baseline_cost_usd_total") == {("default", "billing"): 2}


def test_where_the_price_is_unknown_neither_cost_nor_savings_are_counted(metrics: Metrics) -> None:
    metrics.finished(finished(decision_on(SNAPSHOT), cost_usd=None, baseline_cost_usd=1.0))
    assert series_of(metrics, "cost_usd_total") == {}
    assert series_of(metrics, "baseline_cost_usd_total") == {}


# The router itself


def test_the_config_that_runs_is_the_only_one_shown(metrics: Metrics) -> None:
    other = snapshot_of(CATCH_ALL)
    metrics.configured(other)
    assert series_of(metrics, "config_info") == {(other.config,): 1}


def test_a_failed_reload_leaves_the_time_of_the_last_good_one(metrics: Metrics) -> None:
    metrics.loaded(50.0)
    assert series_of(metrics, "config_reloads_total") == {("ok",): 0, ("failed",): 0}
    metrics.reloaded(ok=True, now=100.0)
    metrics.reloaded(ok=False, now=200.0)
    assert value(metrics, "config_last_reload_success_timestamp_seconds") == 100
    assert value(metrics, "config_last_reload_successful") == 0
    assert series_of(metrics, "config_reloads_total") == {("ok",): 1, ("failed",): 1}


@pytest.mark.parametrize(("state", "shown"), [("closed", 0), ("half_open", 1), ("open", 2)])
def test_a_breaker_is_a_number(metrics: Metrics, state: str, shown: float) -> None:
    metrics.breaker_changed(GPT, Breaker(state))
    assert series_of(metrics, "breaker_state") == {(GPT,): shown}


def test_entries_lag_and_dropped_lines_are_counted(metrics: Metrics) -> None:
    metrics.entries("attempt", 3)
    metrics.entries("duplicate")
    metrics.loop_lagged(0.02)
    metrics.log_dropped(7)
    metrics.undecided(413)
    metrics.undecided(70_000)
    assert series_of(metrics, "access_log_entries_total") == {("attempt",): 3, ("duplicate",): 1}
    assert value(metrics, "event_loop_lag_seconds_sum") == pytest.approx(0.02)
    assert value(metrics, "decision_log_dropped_total") == 7
    assert series_of(metrics, "undecided_total") == {("413",): 1, ("other",): 1}


def test_the_series_of_targets_that_are_gone_are_dropped_and_do_not_come_back(
    metrics: Metrics,
) -> None:
    decision = decision_on(SNAPSHOT, SUMMARY)

    def tell() -> None:
        metrics.decided(decision, 1)
        for target in (HAIKU, GPT):
            metrics.finished(finished(decision, target=target, ending=Ending.ABORTED))
            metrics.attempted(attempt(target))
            metrics.breaker_changed(target, Breaker.OPEN)

    tell()
    assert HAIKU in generate_latest(metrics.registry).decode()
    metrics.configured(snapshot_of(CATCH_ALL))
    tell()  # under way when the config changed
    text = generate_latest(metrics.registry).decode()
    assert HAIKU not in text
    assert series_of(metrics, "attempts_total") == {(GPT, "ok"): 2}
    assert series_of(metrics, "requests_total") == {("route-3", "2xx"): 4}
    metrics.configured(SNAPSHOT)
    tell()
    assert series_of(metrics, "attempts_total") == {(GPT, "ok"): 3, (HAIKU, "ok"): 1}


# What clients say


def apps_of(metrics: Metrics) -> set[str]:
    return {labels[2] for labels in series_of(metrics, "cost_usd_total")}


def test_only_so_many_apps_have_series_of_their_own(metrics: Metrics) -> None:
    for i in range(5 * APPS_MAX):
        metrics.finished(finished(decision_on(SNAPSHOT, {"x-router-app": f"app-{i}"})))
    assert len(apps_of(metrics)) == APPS_MAX + 1
    assert "other" in apps_of(metrics)


def test_apps_that_the_config_names_are_always_told_apart() -> None:
    text = "apps: {allow: {billing: [gpt-4o]}}\n"
    text += "routes: [{match: {app: [support, 'x*']}, model: gpt-4o}, "
    snapshot = snapshot_of(text + "{match: {default: true}, model: gpt-4o}]")
    metrics = Metrics()
    metrics.configured(snapshot)
    for i in range(APPS_MAX + 10):
        metrics.finished(finished(decision_on(snapshot, {"x-router-app": f"xyz-{i}"})))
    for app in ("billing", "support"):
        metrics.finished(finished(decision_on(snapshot, {"x-router-app": app})))
    assert {"billing", "support", "other"} <= apps_of(metrics)
    assert "x*" not in apps_of(metrics)


def test_the_cost_of_very_many_combinations_is_not_told_apart(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COST_SERIES_MAX", 3)
    for i in range(10):
        metrics.finished(finished(decision_on(SNAPSHOT, {"x-router-app": f"app-{i}"})))
    assert apps_of(metrics) == {"app-0", "app-1", "app-2", "other"}


def test_a_task_type_that_nobody_configured_is_other(metrics: Metrics) -> None:
    for i in range(10):
        metrics.decided(decision_on(SNAPSHOT, {"x-router-task": f"made-up-{i}"}), 1)
    assert series_of(metrics, "tasks_total") == {("other", "header"): 10}


def test_a_task_type_of_the_config_is_told_apart() -> None:
    text = "routes: [{match: {taskType: legal}, model: gpt-4o}, "
    snapshot = snapshot_of(text + "{match: {default: true}, model: gpt-4o}]")
    metrics = Metrics()
    metrics.configured(snapshot)
    metrics.decided(decision_on(snapshot, {"x-router-task": "legal"}), 1)
    assert series_of(metrics, "tasks_total") == {("legal", "header"): 1}


def test_the_model_that_a_client_names_is_no_label(metrics: Metrics) -> None:
    metrics.decided(decision_on(SNAPSHOT, model="canary-8d2f"), 1)
    assert "canary-8d2f" not in generate_latest(metrics.registry).decode()


# Cost


def test_all_that_one_request_counts_takes_microseconds(metrics: Metrics) -> None:
    decision = decision_on(SNAPSHOT, SUMMARY)
    usage = Usage(100, 20, cache_read_tokens=60, reasoning_tokens=5)
    ended = finished(decision, usage=usage, cost_usd=0.1, baseline_cost_usd=0.2)
    tried = attempt(HAIKU)

    def one_request() -> None:
        metrics.decided(decision, 300)
        metrics.attempted(tried)
        metrics.entries("attempt", 1)
        metrics.entries("request", 1)
        metrics.finished(ended)

    one_request()
    best_us = min(_mean_us(one_request) for _ in range(5))
    assert best_us < 100  # about 15 on an idle machine


def _mean_us(work: Any, times: int = 500) -> float:  # noqa: ANN401  a function
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times * 1e6
