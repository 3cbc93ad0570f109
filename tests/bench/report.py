"""Markdown of what was measured, and its place in the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from samples import (
    PER_SECOND,
    STREAM_FIGURES,
    Case,
    Sample,
    Samples,
    added,
    cpu_ms,
    cpu_us,
    p50_ms,
    p99_ms,
    ratios,
    size_name,
    spread,
)
from systems import System

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"
CPU_CONNECTIONS: Final = 32
_MIB: Final = 2**20
_NOTHING: Final = "-"


def report(systems: Sequence[System], samples: Samples, left_out: Mapping[str, str]) -> str:
    """Tables of each prompt size, of streams and of memory; then what is not there, and why."""
    sizes = sorted({case.prompt_bytes for case in samples.cases()})
    blocks = [_loads(systems, samples, size) for size in sizes]
    if samples.streams:
        blocks.append(_streams(systems, samples))
    blocks.append(_memory(systems))
    reasons = {**left_out, **samples.left_out}
    blocks += [f"Left out: {name}: {reason}." for name, reason in reasons.items()]
    return "\n\n".join(blocks)


def written(document: str, measured: str, name: str = "measured") -> str:
    """`document` with `measured` between its marks of that name.

    Raises:
        ValueError: it has none.

    """
    marks = BEGIN.replace("measured", name), END.replace("measured", name)
    before, begin, rest = document.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"no {marks[0]} … {marks[1]}")
    return f"{before}{begin}\n{measured}\n{end}{after}"


def cpu_case(cases: Sequence[Case]) -> Case:
    """Where CPU time is reported: under load, but not under more than there is to be had."""
    return next((case for case in cases if case.connections == CPU_CONNECTIONS), cases[-1])


def _loads(systems: Sequence[System], samples: Samples, prompt_bytes: int) -> str:
    cases = [case for case in samples.cases() if case.prompt_bytes == prompt_bytes]
    heads = [f"requests/s, {_connections(case)}" for case in cases]
    alone, busy = cases[0], cpu_case(cases)
    heads += [
        f"p50 ms, {_connections(alone)}",
        f"p99 ms, {_connections(alone)}",
        f"CPU ms per request, {_connections(busy)}",
    ]
    lines = [row(f"{size_name(prompt_bytes)} prompts", *heads), row(*["---"] * (len(heads) + 1))]
    for system in systems:
        cells = [
            *(_throughput(samples, case, system, systems[0]) for case in cases),
            *(_latencies(samples, alone, system, systems[0])),
            _cpu(samples, busy, system, systems[0]),
        ]
        lines.append(row(system.name, *cells))
    return "\n".join(lines)


def _connections(case: Case) -> str:
    return f"{case.connections} connection{'' if case.connections == 1 else 's'}"


def _throughput(samples: Samples, case: Case, system: System, baseline: System) -> str:
    if failure := samples.failure(case, system.name):
        return failure
    taken, bases = samples.loads[case, system.name], samples.loads[case, baseline.name]
    per_second = [PER_SECOND(sample) for sample in taken]
    if system is baseline:
        return spread(per_second, "{:,.0f}")
    return f"{median(per_second):,.0f}: **{spread(ratios(taken, bases, PER_SECOND), '{:.3f}')}**"


def _latencies(samples: Samples, case: Case, system: System, baseline: System) -> Iterator[str]:
    taken, bases = samples.loads[case, system.name], samples.loads[case, baseline.name]
    for of in (p50_ms, p99_ms):
        if samples.failure(case, system.name):
            yield _NOTHING
        elif system is baseline:
            yield spread([of(sample) for sample in taken], "{:.2f}")
        else:
            yield spread(added(taken, bases, of), "{:+.2f}")


def _cpu(samples: Samples, case: Case, system: System, baseline: System) -> str:
    if samples.failure(case, system.name):
        return _NOTHING
    taken, bases = samples.loads[case, system.name], samples.loads[case, baseline.name]
    if system is baseline:
        return spread([cpu_ms(sample) for sample in taken], "{:.3f}")
    shares = _shares(system, [sample.cpu_ms() for sample in taken], "{:.2f}")
    return f"{shares}: **{spread(ratios(taken, bases, cpu_ms), '{:.1f}')}**"


def _shares(system: System, spent: Sequence[tuple[float, ...]], form: str) -> str:
    """How the CPU time divides between the processes."""
    return " + ".join(
        f"{process.name} {form.format(median(one[i] for one in spent))}"
        for i, process in enumerate(system.processes)
    )


def _streams(systems: Sequence[System], samples: Samples) -> str:
    heads = [*(name for name, _ in STREAM_FIGURES), "CPU µs per event"]
    lines = [row("a stream", *heads), row(*["---"] * (len(heads) + 1))]
    bases = samples.streams[systems[0].name]
    for system in systems:
        taken = samples.streams.get(system.name, [])
        if not taken:
            continue
        cells = [
            spread([of(sample) for sample in taken], "{:.2f}")
            if system is systems[0]
            else spread(added(taken, bases, of), "{:+.2f}")
            for _, of in STREAM_FIGURES
        ]
        shares = _shares(system, [sample.cpu_us() for sample in taken], "{:.0f}")
        if system is not systems[0]:
            shares += f": **{spread(ratios(taken, bases, cpu_us), '{:.1f}')}**"
        lines.append(row(system.name, *cells, shares))
    return "\n".join(lines)


def _memory(systems: Sequence[System]) -> str:
    lines = [row("", "resident memory afterwards, MiB"), row("---", "---")]
    for system in systems:
        each = [f"{p.name} {p.rss_bytes() / _MIB:.0f}" for p in system.processes]
        lines.append(row(system.name, " + ".join(each)))
    return "\n".join(lines)


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def upstream_share(samples: Sequence[Sample]) -> float:
    """The greatest part of one core that the upstream, which can use no more than one, took."""
    return max((one.upstream_cpu_s / one.load.seconds for one in samples), default=0.0)
