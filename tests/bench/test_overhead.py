"""The benchmark runs, measures what it says and reports it right. Its figures are not tested."""

import shutil
from collections.abc import Iterator

import load
import pytest
from load import Load
from overhead import BODY, CONNECTIONS, PATH, Sample, System, check, report, systems
from processes import Process


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, ...]]:
    with systems(tmp_path_factory.mktemp("bench"), concurrency=1) as all_three:
        yield all_three


def sample(requests: int, p50_ms: float, *cpu_s: float) -> Sample:
    return Sample(Load(requests, 2.0, p50_ms, p50_ms * 4, errors=0), cpu_s)


def test_all_systems_pass_on_the_upstreams_answer(measured: tuple[System, ...]) -> None:
    check(measured)


@pytest.mark.parametrize("generator", load.GENERATORS)
def test_load_counts_answers_and_moves_the_clocks_of_what_gives_them(
    measured: tuple[System, ...], generator: load.Generator
) -> None:
    if generator == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed; the benchmark does without")
    router = measured[1]
    url = f"http://127.0.0.1:{router.port}{PATH}"
    before = [process.cpu_s() for process in router.processes]
    seen = load.run(generator, url, BODY, connections=3, seconds=1)
    assert seen.errors == 0
    assert seen.requests > 10
    assert 0 < seen.p50_ms <= seen.p99_ms < 1000
    for process, cpu_s in zip(router.processes, before, strict=True):
        assert process.cpu_s() > cpu_s
        assert process.rss_bytes() > 1024 * 1024


def test_an_answer_other_than_200_is_an_error_and_not_a_fast_request(
    measured: tuple[System, ...],
) -> None:
    url = f"http://127.0.0.1:{measured[1].port}/nowhere"
    seen = load.run("python", url, BODY, connections=2, seconds=1)
    assert (seen.requests, seen.errors) == (0, 2)


def test_the_report_gives_medians_with_their_range_and_ratios_of_the_same_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Process, "rss_bytes", lambda _: 64 * 2**20)
    envoy, python = Process("Envoy", 1), Process("Python", 2)
    compared = (System("plain", 1, (envoy,)), System("ours", 2, (envoy, python)))
    plain = [sample(2000, 1.0, 0.2), sample(1000, 2.0, 0.1), sample(4000, 0.5, 0.4)]
    ours = [sample(1000, 2.0, 0.2, 0.1), sample(800, 2.5, 0.16, 0.08), sample(1000, 2.0, 0.2, 0.1)]
    samples = {(n, "plain"): plain for n in CONNECTIONS} | {(n, "ours"): ours for n in CONNECTIONS}
    text = report(compared, samples)
    assert "| 32 | plain | 1,000 (500 to 2,000) |" in text
    assert "| 1 | **ours ÷ plain** | 0.50 (0.25 to 0.80) | 2.00 (1.25 to 4.00) |" in text
    assert "0.300 (0.300 to 0.300): Envoy 0.200 + Python 0.100 |" in text
    assert "plain: Envoy 64 MiB, ours: Envoy 64 MiB + Python 64 MiB" in text
