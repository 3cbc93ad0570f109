"""The soak sends requests that differ, and tells memory that grows from memory that does not."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import load
import pytest
import soak
from load import numbered
from soak import Sample, Soaked, routing, series_of, table, value_of
from systems import KEYS

from extproc.config import compile_config, read_config

MIB_A_MINUTE = 3.0
METRICS = """# HELP extproc_x_total What x counts.
# TYPE extproc_x_total counter
extproc_x_total{kind="request"} 12.0
extproc_y 3.0
"""


def soaked(rss_mib: Sequence[float], started_mib: float = 80.0) -> Soaked:
    samples = [Sample(float(i), i * 1000, one) for i, one in enumerate(rss_mib)]
    return Soaked("lean", started_mib, samples, errors=0, recorded=9, dropped=0, series=7)


@pytest.mark.parametrize("generator", load.GENERATORS)
def test_every_request_is_another_ones_and_all_are_recorded(
    generator: load.Generator, tmp_path: Path
) -> None:
    if generator == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed; the benchmark does without")
    seen = soak.soak(tmp_path, "lean", generator, requests=50, sessions=20, stretch_s=1)
    answered = seen.samples[-1].requests
    assert (seen.errors, seen.dropped) == (0, 0)
    assert answered >= 50
    assert seen.recorded >= answered
    assert seen.started_mib > 1
    lines = (tmp_path / "decisions.jsonl").read_text("utf-8").splitlines()
    apps = {json.loads(line)["app"] for line in lines}
    assert apps == {f"app-{number:08d}" for number in range(20)}


def test_no_number_comes_twice_and_sessions_begin_anew() -> None:
    drawn = numbered([b"@request @session", b"again: @request"], first=5, step=2, sessions=4)
    assert [next(drawn) for _ in range(3)] == [
        b"00000005 00000001",
        b"again: 00000007",
        b"00000009 00000001",
    ]


def test_no_text_of_a_prompt_is_taken_for_a_number() -> None:
    for body in soak.bodies():
        payload = json.loads(body)
        said = json.dumps(payload.pop("messages"))
        assert said.count("@request") == 1
        assert "@session" not in said
        assert json.dumps(payload).count("@session") == 2


def test_its_config_is_the_seeds_with_all_providers_here() -> None:
    text = routing(1234, "lean", Path("/tmp/decisions.jsonl"))
    snapshot = compile_config(read_config(text, KEYS), KEYS).snapshot
    assert len(snapshot.routes) == 4
    assert {one.host for one in snapshot.providers.values()} == {"127.0.0.1"}
    assert snapshot.decision_log.path == "/tmp/decisions.jsonl"


def test_the_slope_is_that_after_the_warm_up() -> None:
    grows = soaked([10.0, 50.0, *(60 + MIB_A_MINUTE * i for i in range(9))])
    assert [one.requests for one in grows.warmed_up()] == [i * 1000 for i in range(2, 11)]
    assert grows.slope() == pytest.approx(MIB_A_MINUTE)
    assert soaked([10.0, 50.0]).slope() is None


def test_the_report_says_each_bar_and_whether_it_is_met() -> None:
    text = table([soaked([80.0, 90.0, 91.0, 91.0, 91.0])])
    assert "| lean | 4,000 | 0 | 9 | 0 | 17 | 7 | 80.0 | 90.0 | 91.0 | 91.0 | +0.30 |" in text
    assert "lean, under 90 MB at first: met, **83.9**" in text
    assert "lean, under 1 MiB a minute: met, **+0.30**" in text
    text = table([soaked([80.0, 90.0, 99.0, 108.0], started_mib=88.0)])
    assert "at first: MISSED, **92.3**" in text
    assert "a minute: MISSED, **+9.00**" in text
    assert "flat: not known" in table([soaked([80.0, 90.0])])


def test_series_are_what_metrics_hold_beside_comments() -> None:
    assert len(series_of(METRICS)) == 2
    assert value_of(METRICS, 'extproc_x_total{kind="request"}') == 12
    assert value_of(METRICS, "extproc_z") == 0
