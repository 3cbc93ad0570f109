"""The benchmark measures what it says and reports it right. Its figures are not tested."""

import argparse
import sys
from pathlib import Path

import decision
import peers
import pytest
from decision import (
    COST_WAY,
    DEFAULT_WAYS,
    ONE_TURN,
    PROMPTS,
    Key,
    NoLitellmError,
    Samples,
    body_message,
    check,
    interleaved,
    litellm,
    messages_of,
    name_of,
    ours,
    ratios,
    report,
    run,
    snapshot_of,
    theirs,
    unmatched_name,
)
from peers import LeftOutError

STAND_IN = """
class Router:
    def __init__(self, model_list, routing_strategy, enable_pre_call_checks):
        assert enable_pre_call_checks
        self.model_list = model_list

    def get_available_deployment(self, model, messages, request_kwargs):
        print("what a library prints is no answer")
        assert messages[-1]["role"] == "user"
        return self.model_list[-1]

    async def async_get_available_deployment(self, model, messages, request_kwargs):
        return self.get_available_deployment(model, messages, request_kwargs)
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python that has something like litellm."""
    (tmp_path / "litellm.py").write_text(STAND_IN, "utf-8")
    about = tmp_path / "litellm-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 0.1\n", "utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n', "utf-8")
    python.chmod(0o755)
    return python


def samples(*rounds_us: list[int]) -> Samples:
    return Samples([[us * 1000 for us in taken] for taken in rounds_us])


@pytest.mark.parametrize("size_kb", [0.2, 2.0, 50.0])
def test_a_prompt_has_the_bytes_it_says_and_ends_with_the_user(size_kb: float) -> None:
    system, *turns = messages_of(size_kb, number=3)
    size = sum(len(turn["content"].encode()) for turn in turns)
    assert size == pytest.approx(size_kb * 1000, rel=0.02)
    assert (system["role"], turns[-1]["role"]) == ("system", "user")


def test_no_two_prompts_of_a_size_are_the_same() -> None:
    assert len({body_message(messages_of(0.2, i)) for i in range(PROMPTS)}) == PROMPTS


def test_what_is_measured_is_a_request_sent_on_and_anything_else_ends_the_benchmark() -> None:
    check(snapshot_of(5), body_message(messages_of(0.2, 0)), 5)
    with pytest.raises(SystemExit, match="a chain of 0"):
        check(snapshot_of(5), body_message([]), 5)


def test_routes_that_do_not_match_hold_the_other_targets_and_the_last_takes_the_request() -> None:
    snapshot = snapshot_of(3, unmatched=10, routes=2)
    assert [len(route.candidates) for route in snapshot.routes] == [5, 5, 3]
    check(snapshot, body_message(messages_of(0.2, 0)), 3)


def test_litellm_is_asked_in_every_way_and_what_it_prints_is_no_answer(python: Path) -> None:
    with litellm(python, {name_of(0.2): [messages_of(0.2, 0)]}) as worker:
        assert worker.version == "0.1"
        found = interleaved(theirs(worker, [0.2], [3, 10], seconds=0), rounds=2)
    assert {key[0] for key in found} == {"sync", "async", "cost"}
    assert {key[2] for key in found} == {3, 10}
    assert all(one.p99_us() >= one.p50_us() > 0 for one in found.values())


def test_a_worker_that_fails_is_a_reason_to_leave_litellm_out(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (python.parent / "litellm.py").write_text("raise ImportError('broken')", "utf-8")
    monkeypatch.setattr(decision, "environment", lambda _: python)
    chosen = argparse.Namespace(
        sizes=[0.2], targets=[3], rounds=1, without_litellm=False, litellm="0.1"
    )
    assert "litellm is left out: its worker ended, or did not answer" in (text := run(chosen))
    assert "ImportError: broken" in text
    assert "| 0.2 KB | 3 |" in text


def test_an_environment_that_cannot_be_made_is_a_reason_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(requirement: str) -> Path:
        raise LeftOutError(f"no {requirement}")

    monkeypatch.setattr(peers, "python_environment", refused)
    with pytest.raises(NoLitellmError, match=r"no litellm==0\.1"):
        decision.environment("0.1")


def test_ratios_are_of_one_round_and_take_the_faster_way() -> None:
    found: dict[Key, Samples] = {
        ("ours", "2 KB", 10): samples([10, 10], [20, 20]),
        ("sync", "2 KB", 10): samples([300], [800]),
        ("async", "2 KB", 10): samples([400], [600]),
        ("cost", "2 KB", 10): samples([500], [1000]),
    }
    assert ratios(found, DEFAULT_WAYS, 2.0, 10) == [30.0, 30.0]
    assert ratios(found, COST_WAY, 2.0, 10) == [50.0, 50.0]
    text = report(found, [2.0], [10])
    assert "| 2 KB | 10 | 15 | 20* | 550 | 800* | 500 | 600* | 750 | 1,000* | **30.0x** " in text
    assert "20x litellm's default strategy: met, **30.0x** (30.0 to 30.0)" in text


def test_the_report_says_a_missed_bar_and_how_cost_grows() -> None:
    found: dict[Key, Samples] = {
        (what, name_of(size), number): samples([us])
        for what, us in (("ours", 100), ("sync", 900), ("async", 1000), ("cost", 2000))
        for size in (2.0, 400.0)
        for number in (10, 50)
    }
    found[ONE_TURN, "400 KB", 10] = samples([80])
    found[unmatched_name(0), "2 KB", 10] = samples([100])
    found[unmatched_name(100), "2 KB", 10] = samples([150])
    text = report(found, [2.0, 400.0], [10, 50])
    assert "20x litellm's default strategy: MISSED, **9.0x** (9.0 to 9.0)" in text
    assert "10x litellm's cost strategy: met, **20.0x** (20.0 to 20.0)" in text
    assert "From 2 KB to 400 KB at 10 targets: 200.0x the bytes, 1.0x the time" in text
    assert "101x the targets, **1.5x** (1.5 to 1.5) the time" in text


def test_this_router_is_measured_on_the_table_and_on_the_cases_of_their_own() -> None:
    found = interleaved(ours([0.2], [3], seconds=0), rounds=1)
    names = ["ours", ONE_TURN, *map(unmatched_name, (0, 1, 100))]
    assert sorted(key[0] for key in found) == sorted(names)
    assert all(one.count() >= 5 for one in found.values())
