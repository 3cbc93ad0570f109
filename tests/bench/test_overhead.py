"""The benchmark runs, measures what it says and reports it right. Its figures are not tested.

Peers are not installed here: only `make bench` does that.
"""

import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import load
import peers
import pytest
import report
import stream
import systems
from load import Load
from overhead import PATH, arguments, bodies, cases_of, check, measure, plot, seconds_of
from peers import LeftOutError
from processes import Process
from samples import Case, Sample, Samples, StreamSample
from stream import Streams
from systems import Bench, Place, System, started
from upstream import CHUNKS

ALONE, BUSY = Case(2000, 1), Case(2000, 32)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with started(tmp_path_factory.mktemp("bench"), ["grpcio", "lean"], concurrency=1) as running:
        yield running


def url_of(system: System) -> str:
    return f"http://127.0.0.1:{system.port}{PATH}"


def sample(case: Case, requests: int, p50_ms: float, *cpu_s: float, errors: int = 0) -> Sample:
    return Sample(case, Load(requests, 2.0, p50_ms, p50_ms * 4, errors), cpu_s)


def test_all_systems_pass_on_what_the_upstream_says(bench: Bench) -> None:
    assert [system.name for system in bench.systems][:2] == ["plain Envoy", "this router, grpcio"]
    check(bench.systems)


def test_a_transport_the_router_does_not_have_is_left_out_with_the_reason(
    bench: Bench, tmp_path: Path
) -> None:
    has_lean = any(system.name.endswith("lean") for system in bench.systems)
    assert has_lean != ("this router, lean" in bench.left_out)
    with pytest.raises(LeftOutError, match="transport"):
        systems.routing_config("pigeon", tmp_path)


@pytest.mark.parametrize("generator", load.GENERATORS)
def test_load_counts_answers_and_moves_the_clocks_of_what_gives_them(
    bench: Bench, generator: load.Generator
) -> None:
    if generator == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed; the benchmark does without")
    router = bench.systems[1]
    before = [process.cpu_s() for process in router.processes]
    seen = load.run(
        generator, url_of(router), bodies(2000), router.headers, connections=3, seconds=1
    )
    assert seen.errors == 0
    assert seen.requests > 10
    assert 0 < seen.p50_ms <= seen.p99_ms < 1000
    for process, cpu_s in zip(router.processes, before, strict=True):
        assert process.cpu_s() > cpu_s
        assert process.rss_bytes() > 1024 * 1024


@pytest.mark.parametrize("generator", load.GENERATORS)
def test_an_answer_other_than_200_is_an_error_and_not_a_fast_request(
    bench: Bench, generator: load.Generator
) -> None:
    if generator == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed; the benchmark does without")
    url = f"http://127.0.0.1:{bench.systems[1].port}/nowhere"
    seen = load.run(generator, url, bodies(2000), {}, connections=2, seconds=1)
    assert seen.requests == 0
    assert seen.errors > 0
    assert Sample(ALONE, seen, (0.1,)).has_failed()


def test_a_stream_comes_whole_and_each_event_after_it_was_sent(bench: Bench) -> None:
    (body, *_) = bodies(2000, streaming=True)
    router = bench.systems[1]
    seen = stream.run(url_of(router), body, router.headers, connections=2, each=1)
    assert len(seen.first_byte_ms) == 2
    assert len(seen.delays_ms) == 2 * CHUNKS
    assert len(seen.gaps_ms) == 2 * (CHUNKS - 1)
    assert min(seen.delays_ms) > 0
    assert min(seen.gaps_ms) >= 0


def test_an_answer_that_is_no_stream_is_none_measured(bench: Bench) -> None:
    (body, *_) = bodies(2000)
    with pytest.raises(stream.StreamError, match="404"):
        stream.run(url_of(bench.systems[1]).replace("chat", "no"), body, {}, connections=1, each=1)


def test_large_prompts_pass_whole(bench: Bench) -> None:
    router = bench.systems[1]
    seen = load.run("python", url_of(router), bodies(1_000_000), {}, connections=1, seconds=1)
    assert seen.errors == 0
    assert seen.requests > 1


def test_what_is_measured_is_every_system_in_every_case(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "run", lambda *_, **__: Load(100, 1.0, 1.0, 2.0, errors=0))
    monkeypatch.setattr(stream, "run", lambda *_, **__: Streams((1.0,), (0.1,) * 9, (2.0,) * 8))
    samples = measure(bench, [ALONE, BUSY], "python", rounds=1, seconds=1, streams_each=1)
    names = {system.name for system in bench.systems}
    assert {name for _, name in samples.loads} == names == set(samples.streams)
    assert all(len(taken) == 1 for taken in samples.loads.values())
    text = report.report(bench.systems, samples, {"LiteLLM proxy": "no network"})
    assert "| 2 KB prompts | requests/s, 1 connection | requests/s, 32 connections |" in text
    assert "Left out: LiteLLM proxy: no network." in text


def test_by_default_no_more_is_under_way_than_there_is_memory_for() -> None:
    assert Case(1_000_000, 256) not in cases_of(None, None)
    assert cases_of([1_000_000], [256]) == [Case(1_000_000, 256)]
    assert [seconds_of(case, 2) for case in (ALONE, Case(1_000_000, 1), Case(2000, 256))] == [
        2,
        4,
        4,
    ]


def compared(monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[System, ...], Samples]:
    monkeypatch.setattr(Process, "rss_bytes", lambda _: 64 * 2**20)
    envoy, python = Process("Envoy", 1), Process("Python", 2)
    plain, ours = System("plain", 1, (envoy,)), System("ours", 2, (envoy, python))
    samples = Samples()
    for case, base, own in ((ALONE, 2000, 1000), (BUSY, 4000, 800)):
        samples.loads[case, "plain"] = [sample(case, base, 1.0, 0.2), sample(case, base, 2.0, 0.2)]
        samples.loads[case, "ours"] = [
            sample(case, own, 3.0, 0.2, 0.1),
            sample(case, own * 2, 3.0, 0.4, 0.2),
        ]
    for name, delay_ms, cpu_s in (("plain", 0.1, (0.01,)), ("ours", 0.3, (0.01, 0.02))):
        seen = Streams((delay_ms * 10,), (delay_ms,) * 1000, (1.0,) * 999)
        samples.streams[name] = [StreamSample(seen, cpu_s)]
    return (plain, ours), samples


def test_the_report_gives_medians_with_their_range_and_ratios_of_the_same_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = report.report(*compared(monkeypatch), {})
    assert (
        "| plain | 1,000 (1,000 to 1,000) | 2,000 (2,000 to 2,000) | 1.50 (1.00 to 2.00) |" in text
    )
    assert "| ours | 750: **0.750 (0.500 to 1.000)** | 600: **0.300 (0.200 to 0.400)** |" in text
    assert "| +1.50 (+1.00 to +2.00) | +6.00 (+4.00 to +8.00) |" in text
    assert "| Envoy 0.25 + Python 0.12: **7.4 (7.4 to 7.5)** |" in text
    assert "| ours | +2.00 | +2.00 | +0.20 | +0.20 | +0.00 | +0.00 |" in text
    assert "Envoy 10 + Python 20: **3.0**" in text
    assert "| ours | Envoy 64 + Python 64 |" in text


def test_a_load_that_failed_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    systems_, samples = compared(monkeypatch)
    samples.loads[BUSY, "ours"][1] = sample(BUSY, 90, 1.0, 0.2, 0.1, errors=30)
    assert "| 25% failed | +1.50" in report.report(systems_, samples, {})
    samples.loads[BUSY, "ours"][1] = sample(BUSY, 0, 1.0, 0.2, 0.1)
    assert "| none answered in 2 s | +1.50" in report.report(systems_, samples, {})
    samples.loads[ALONE, "ours"][0] = sample(ALONE, 0, 1.0, 0.2, 0.1)
    assert "| none answered in 2 s | none answered in 2 s | - | - | - |" in report.report(
        systems_, samples, {}
    )


def test_the_plot_is_well_formed_and_names_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    systems_, samples = compared(monkeypatch)
    samples.loads[BUSY, "ours"][1] = sample(BUSY, 0, 1.0, 0.2, 0.1)
    root = ET.fromstring(plot(systems_, samples))
    said = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert said[:2] == ["plain", "ours"]
    assert "1.50" in said
    assert "-" in said


def test_figures_are_written_between_their_marks_and_nowhere_else() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter"
    assert report.written(page, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter"
    with pytest.raises(ValueError, match="measured: begin"):
        report.written("no marks", "new")


def test_a_tool_that_is_missing_or_fails_is_a_reason_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for install in (peers.go_ext_proc, peers.portkey_gateway):
        with pytest.raises(LeftOutError, match="is not installed"):
            install()
    go = tmp_path / "go"
    go.write_text(
        "#!/bin/sh\necho checking >&2\necho 'error: no such module' >&2\nexit 1\n", "ascii"
    )
    go.chmod(0o755)
    with pytest.raises(LeftOutError, match="go failed: error: no such module"):
        peers.go_ext_proc()
    assert not list(tmp_path.rglob(".installed"))
    go.write_text("#!/bin/sh\n", "ascii")
    built = peers.go_ext_proc()
    assert (built.parent / ".installed").exists()
    go.unlink()
    assert peers.go_ext_proc() == built


def test_a_peer_that_does_not_start_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "portkey_gateway", lambda: Path("gateway.js"))
    monkeypatch.setattr(peers, "tool", lambda _: "/bin/false")
    monkeypatch.setitem(systems.ROWS, systems.BASELINE, ("plain", stand_in))
    with started(tmp_path, ["portkey"], concurrency=1) as running:
        assert [system.name for system in running.systems] == ["plain"]
        assert "did not start" in running.left_out["Portkey gateway"]


def stand_in(name: str, place: Place) -> System:
    return System(name, place.upstream_port, ())


def test_the_go_server_is_told_chains_that_envoy_has_guards_for() -> None:
    snapshot = systems.compiled("http://127.0.0.1:1/v1").snapshot
    for route in systems.go_routes(snapshot):
        assert len(route["Chain"]) == 2
        assert {step["Guard"] for step in route["Chain"]} <= set(snapshot.guards.values())


def test_a_glance_takes_one_round_of_few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["overhead.py", "--quick", "--rows", "go"])
    chosen = arguments()
    assert (chosen.rounds, chosen.seconds, chosen.rows) == (1, 1, ["go"])
    assert cases_of(chosen.sizes, chosen.connections) == [ALONE, BUSY]
