"""What a router adds to a request: `make bench`, or `python tests/bench/overhead.py --help`.

Plain Envoy, this router and its peers answer the same requests in turns, on one machine and in one
run, over loopback, from one upstream. Only ratios mean anything elsewhere: what is measured shares
its cores with the upstream and with what makes the load, which a bigger machine would not make it
do. CPU time per request does not depend on that.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import load
import peers
import report
import stream
import upstream
from command import begin, given, load_average, machine, positive, versions
from decision import messages_of
from load import Generator
from plot import Panel, svg
from processes import settle
from samples import (
    PER_SECOND,
    Case,
    Sample,
    Samples,
    StreamSample,
    added,
    cpu_ms,
    p50_ms,
    size_name,
)
from systems import DEFAULT_ROWS, LOOPBACK, ROWS, Bench, System, started

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PATH: Final = "/v1/chat/completions"

SIZES: Final = (2_000, 50_000, 1_000_000)
CONNECTIONS: Final = (1, 32, 256)
LARGEST_AT_ONCE_BYTES: Final = 64_000_000
"""By default no case has more of prompts under way: that would measure memory and timeouts."""

HEAVY_BYTES: Final = 10_000_000
"""A case with more than that under way at once, or in one prompt a tenth, takes twice the time."""

PROMPTS: Final = 4
"""Distinct prompts of each size, in turn: nobody can remember its answer to one."""

STREAM_BYTES: Final = 2_000
STREAM_CONNECTIONS: Final = 1
STREAMS_EACH: Final = 3


# The requests.


@cache
def bodies(prompt_bytes: int, *, streaming: bool = False) -> tuple[bytes, ...]:
    """What an SDK sends: a conversation, and `auto` for a model, which is no more than a name."""
    asked = {"model": "auto", "temperature": 0.5, "stream": streaming}
    prompts = [messages_of(prompt_bytes / 1000, number) for number in range(PROMPTS)]
    payloads = [asked | {"messages": messages} for messages in prompts]
    return tuple(json.dumps(payload, ensure_ascii=False).encode() for payload in payloads)


def cases_of(sizes: Sequence[int] | None, connections: Sequence[int] | None) -> list[Case]:
    """Every combination of what was asked for; of what was not, those that make sense."""
    found = [Case(size, many) for size in sizes or SIZES for many in connections or CONNECTIONS]
    if sizes and connections:
        return found
    return [one for one in found if one.prompt_bytes * one.connections <= LARGEST_AT_ONCE_BYTES]


def seconds_of(case: Case, seconds: int) -> int:
    at_once = case.prompt_bytes * max(case.connections, 10)
    return seconds * 2 if at_once >= HEAVY_BYTES or case.connections >= 256 else seconds


# The measurement.


def measure(
    bench: Bench,
    cases: Sequence[Case],
    generator: Generator,
    *,
    rounds: int,
    seconds: int,
    streams_each: int,
) -> Samples:
    """Each round takes every system once in every case, in alternating order."""
    samples = Samples()
    for system in bench.systems:
        _warm_up(bench, system, cases, generator)
        if streams_each:
            _stream(system, Samples(), 1)
    for number in range(rounds):
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
        order = bench.systems if number % 2 == 0 else bench.systems[::-1]
        for case in cases:
            for system in order:
                taken = _sample(bench, system, case, generator, seconds_of(case, seconds))
                samples.loads.setdefault((case, system.name), []).append(taken)
        for system in order if streams_each else ():
            _stream(system, samples, streams_each)
    return samples


def _warm_up(bench: Bench, system: System, cases: Sequence[Case], generator: Generator) -> None:
    """Connections, caches, compilers that wait until it is worth it."""
    for prompt_bytes in sorted({case.prompt_bytes for case in cases}):
        _sample(bench, system, Case(prompt_bytes, 8), generator, 1)


def _sample(bench: Bench, system: System, case: Case, generator: Generator, seconds: int) -> Sample:
    url = f"http://{LOOPBACK}:{system.port}{PATH}"
    processes = (*system.processes, bench.upstream)
    before = [process.cpu_s() for process in processes]
    seen = load.run(
        generator,
        url,
        bodies(case.prompt_bytes),
        system.headers,
        connections=case.connections,
        seconds=seconds,
    )
    after = [process.cpu_s() for process in processes]
    *cpu_s, upstream_cpu_s = [b - a for a, b in zip(before, after, strict=True)]
    sample = Sample(case, seen, tuple(cpu_s), upstream_cpu_s)
    if system is bench.systems[0] and sample.has_failed():
        raise SystemExit(f"{system.name}, the yardstick, failed: {seen}")
    settle(system.processes)
    return sample


def _stream(system: System, samples: Samples, each: int) -> None:
    url = f"http://{LOOPBACK}:{system.port}{PATH}"
    name = f"{system.name}, streams"
    if name in samples.left_out:
        return
    (body, *_) = bodies(STREAM_BYTES, streaming=True)
    before = [process.cpu_s() for process in system.processes]
    try:
        seen = stream.run(url, body, system.headers, connections=STREAM_CONNECTIONS, each=each)
    except (OSError, stream.StreamError) as error:
        samples.left_out[name] = f"it answered {error}"
        samples.streams.pop(system.name, None)
        return
    after = [process.cpu_s() for process in system.processes]
    cpu_s = tuple(b - a for a, b in zip(before, after, strict=True))
    samples.streams.setdefault(system.name, []).append(StreamSample(seen, cpu_s))
    settle(system.processes)


def check(systems: Sequence[System]) -> None:
    """Each system passes on what the upstream says, and those that route by metadata say so."""
    expected = json.loads(upstream.ANSWER)["choices"][0]["message"]["content"]
    for system in systems:
        connection = HTTPConnection(LOOPBACK, system.port, timeout=30)
        headers = {"content-type": "application/json", **system.headers}
        connection.request("POST", PATH, bodies(STREAM_BYTES)[0], headers)
        response = connection.getresponse()
        said = response.read()
        is_right = response.status == 200 and (
            json.loads(said)["choices"][0]["message"]["content"] == expected
        )
        is_routed = response.headers["x-router-model"] is not None
        connection.close()
        if not is_right or is_routed != system.is_routed:
            raise SystemExit(f"{system.name}: not the answer to be measured: {said[:500]!r}")


# The report.


def plot(systems: Sequence[System], samples: Samples) -> str:
    """Of the smallest prompts; what failed has no bar."""
    smallest = samples.cases()[0].prompt_bytes
    cases = [case for case in samples.cases() if case.prompt_bytes == smallest]
    alone, busy = cases[0], report.cpu_case(cases)
    baseline, size = systems[0].name, size_name(smallest)

    def taken(case: Case) -> dict[str, list[Sample]]:
        return {
            system.name: samples.loads[case, system.name]
            for system in systems
            if not samples.failure(case, system.name)
        }

    bases = samples.loads[alone, baseline]
    panels = [
        Panel(
            f"requests/s at {busy.connections} connections, {size}",
            {name: [PER_SECOND(one) for one in found] for name, found in taken(busy).items()},
            "{:,.0f}",
        ),
        Panel(
            f"added p50 at {alone.connections} connection, ms",
            {
                name: added(found, bases, p50_ms)
                for name, found in taken(alone).items()
                if name != baseline
            },
            "{:.2f}",
        ),
        Panel(
            f"CPU per request at {busy.connections}, ms",
            {name: [cpu_ms(one) for one in found] for name, found in taken(busy).items()},
            "{:.2f}",
        ),
    ]
    return svg([system.name for system in systems], panels)


def conditions(
    chosen: argparse.Namespace, bench: Bench, samples: Samples, *, took_s: float, load_before: float
) -> str:
    baseline = bench.systems[0].name
    plain = [one for (_, name), taken in samples.loads.items() if name == baseline for one in taken]
    share = report.upstream_share(plain)
    warning = "; **so it bounds plain Envoy**" if share > 0.9 else ""
    return (
        f"{given(__file__)}: rounds: {chosen.rounds}, {took_s / 60:.1f} minutes in all; "
        f"{machine(load_before)}. {_versions()}. Load from {chosen.load}, {chosen.seconds} s for "
        f"each measurement, twice that for the large ones. Envoy has {chosen.concurrency} workers, "
        f"this router and LiteLLM one process. Answers of {len(upstream.ANSWER)} B; streams of "
        f"{upstream.CHUNKS} events {upstream.PACE_S * 1000:g} ms apart, one at a "
        f"time. Under plain Envoy the upstream took at most {share:.0%} of the one core that it "
        f"can use{warning}."
    )


def _versions() -> str:
    found = [versions(), f"LiteLLM {peers.LITELLM}", f"Portkey {peers.PORTKEY}"]
    for name, command in (("Go", ["go", "env", "GOVERSION"]), ("Node", ["node", "--version"])):
        if shutil.which(command[0]):
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
            found.append(f"{name} {told.strip().removeprefix('go').removeprefix('v')}")
    return ", ".join(found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a router adds to a request, as ratios.")
    parser.add_argument("--rounds", type=positive, default=4, help="(4)")
    parser.add_argument("--seconds", type=positive, default=2, help="of each measurement (2)")
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=DEFAULT_ROWS, help="(all but silent)"
    )
    parser.add_argument("--sizes", type=positive, nargs="+", help=f"of prompts, B {SIZES}")
    parser.add_argument("--connections", type=positive, nargs="+", help=f"{CONNECTIONS}")
    parser.add_argument("--no-streams", action="store_true", help="leave streams out")
    parser.add_argument(
        "--quick", action="store_true", help="a glance: one round of 1 s, fewer cases"
    )
    parser.add_argument("--write", action="store_true", help="into docs/benchmark.md and .svg")
    parser.add_argument(
        "--concurrency", type=positive, default=2, help="Envoy's worker threads (2, as in `up`)"
    )
    parser.add_argument(
        "--load",
        choices=load.GENERATORS,
        default=load.available(),
        help="what makes the load (wrk where it is installed)",
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds = chosen.seconds = 1
        chosen.sizes, chosen.connections = chosen.sizes or [2_000], chosen.connections or [1, 32]
    return chosen


def main() -> None:
    chosen = arguments()
    begin()
    begun_s, load_before = time.monotonic(), load_average()
    cases = cases_of(chosen.sizes, chosen.connections)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        started(Path(directory), chosen.rows, chosen.concurrency) as bench,
    ):
        check(bench.systems)
        samples = measure(
            bench,
            cases,
            chosen.load,
            rounds=chosen.rounds,
            seconds=chosen.seconds,
            streams_each=0 if chosen.no_streams else 1 if chosen.quick else STREAMS_EACH,
        )
        tables = report.report(bench.systems, samples, bench.left_out)
    took_s = time.monotonic() - begun_s
    told = conditions(chosen, bench, samples, took_s=took_s, load_before=load_before)
    text = f"{tables}\n\n{told}"
    sys.stdout.write(f"{text}\n")
    if chosen.write:
        page = DOCS / "benchmark.md"
        image = (
            "![Plain Envoy, this router and its peers](benchmark.svg)\n\n"
            "The scales are logarithmic; a line goes from the least round to the greatest."
        )
        page.write_text(report.written(page.read_text("utf-8"), f"{image}\n\n{text}"), "utf-8")
        (DOCS / "benchmark.svg").write_text(plot(bench.systems, samples), "utf-8")


if __name__ == "__main__":
    main()
