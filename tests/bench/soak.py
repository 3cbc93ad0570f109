"""The router's memory under many different requests: `python tests/bench/soak.py --help`.

A million requests of a hundred thousand apps, sessions and client keys, no prompt of which comes
twice, through the real Envoy and the real router with access logs and decision log. What it keeps
of them has bounds; its memory is measured after every few seconds of load, and has to stay flat.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Final

import load
import report
import upstream
from command import ROOT, begin, given, load_average, machine, positive, versions
from decision import messages_of
from load import Generator, Numbers
from processes import answers, free_ports, running, settle
from product import LOOPBACK, TRANSPORTS, Product, product
from systems import KEYS, SEED

REQUESTS: Final = 1_000_000
SESSIONS: Final = 100_000
WARM_UP_SHARE: Final = 0.2
"""Of the requests: the longest of the router's lists, of 65,536, is full by then."""

CONNECTIONS: Final = 32
STRETCH_S: Final = 5
STARTED_MB_MAX: Final = 90.0
SLOPE_MAX: Final = 1.0
"""MiB a minute."""

SLOPE_SAMPLES_MIN: Final = 3

PROMPT_BYTES: Final = 2_000
PROMPTS: Final = 64
HEADERS: Final = {
    "authorization": "Bearer sk-@session",
    "x-router-app": "app-@session",
    "x-session-id": "@session",
}
PATH: Final = "/v1/chat/completions"
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """After so many minutes and requests."""

    minutes: float
    requests: int
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Soaked:
    """`samples` begin before the first request; `series` are those of `/metrics`."""

    transport: str
    started_mib: float
    samples: Sequence[Sample]
    errors: int
    recorded: int
    dropped: int
    series: int

    def warmed_up(self) -> Sequence[Sample]:
        first = self.samples[-1].requests * WARM_UP_SHARE
        return [one for one in self.samples if one.requests >= first]

    def slope(self) -> float | None:
        """MiB a minute after the warm-up, by least squares, if there are samples enough."""
        taken = self.warmed_up()
        if len(taken) < SLOPE_SAMPLES_MIN:
            return None
        minutes, rss_mib = [one.minutes for one in taken], [one.rss_mib for one in taken]
        return linear_regression(minutes, rss_mib).slope


# The measurement.


def routing(upstream_port: int, transport: str, log: Path) -> str:
    """The seed's, with all providers on this machine and the decision log in a file."""
    url = f"http://{LOOPBACK}:{upstream_port}/v1"
    more = {
        "providers": {
            "anthropic": {"api": "openai", "baseUrl": url},
            "google": {"api": "openai", "baseUrl": url},
            "openai": {"baseUrl": url},
        },
        "decisionLog": {"path": str(log), "maxBytes": "16MiB", "keep": 2},
        "server": {"transport": transport},
    }
    sections = [f"{name}: {json.dumps(value)}" for name, value in more.items()]
    return "\n".join([SEED.read_text("utf-8"), *sections])


def bodies() -> tuple[bytes, ...]:
    """Conversations, each of which says in its last turn which request it is."""
    return tuple(_body(number) for number in range(PROMPTS))


def _body(number: int) -> bytes:
    messages = messages_of(PROMPT_BYTES / 1000, number)
    messages[-1]["content"] = f"@request: {messages[-1]['content']}"
    payload = {
        "model": "auto",
        "user": "user-@session",
        "metadata": {"session": "@session", "request": "@request"},
        "messages": messages,
    }
    return json.dumps(payload).encode()


def soak(
    directory: Path,
    transport: str,
    generator: Generator,
    *,
    requests: int,
    sessions: int,
    stretch_s: int,
) -> Soaked:
    (upstream_port,) = free_ports(1)
    provider = [sys.executable, str(upstream.__file__), str(upstream_port)]
    config = routing(upstream_port, transport, directory / "decisions.jsonl")
    with (
        running("the upstream", provider, answers(upstream_port, "/")),
        product(directory, config, KEYS) as run,
    ):
        samples, errors = _samples(run, generator, requests, sessions, stretch_s)
        settle([run.router, run.envoy])
        told = run.metrics()
    return Soaked(
        transport,
        run.started_bytes / _MIB,
        samples,
        errors,
        recorded=int(value_of(told, 'extproc_access_log_entries_total{kind="request"}')),
        dropped=int(value_of(told, "extproc_decision_log_dropped_total")),
        series=len(series_of(told)),
    )


def _samples(
    run: Product, generator: Generator, requests: int, sessions: int, stretch_s: int
) -> tuple[list[Sample], int]:
    url, drawn = f"http://{LOOPBACK}:{run.port}{PATH}", bodies()
    done = errors = 0
    samples = [Sample(0.0, 0, run.router.rss_bytes() / _MIB)]
    begun_s = time.monotonic()
    while done < requests:
        seen = load.run(
            generator,
            url,
            drawn,
            HEADERS,
            connections=CONNECTIONS,
            seconds=stretch_s,
            numbers=Numbers(done, sessions),
        )
        if not seen.requests:
            raise SystemExit(f"nothing was answered any more, after {done:,} requests")
        done, errors = done + seen.requests, errors + seen.errors
        minutes = (time.monotonic() - begun_s) / 60
        samples.append(Sample(minutes, done, run.router.rss_bytes() / _MIB))
        sys.stderr.write(f"{done:,} requests, {samples[-1].rss_mib:.1f} MiB\n")
    return samples, errors


def series_of(metrics: str) -> list[str]:
    """Lines of `/metrics` that are values, each of which is memory."""
    return [line for line in metrics.splitlines() if line and not line.startswith("#")]


def value_of(metrics: str, series: str) -> float:
    values = [line.rpartition(" ") for line in series_of(metrics)]
    return next((float(value) for name, _, value in values if name == series), 0.0)


# The report.


def table(rows: Sequence[Soaked]) -> str:
    heads = (
        "answered",
        "failed",
        "records",
        "records dropped",
        "requests/s",
        "series in `/metrics`",
        "MiB at the start",
        "after the warm-up",
        "at the end",
        "at most",
        "MiB a minute",
    )
    lines = [report.row("", *heads), report.row(*["---"] * (len(heads) + 1))]
    for one in rows:
        last = one.samples[-1]
        cells = (
            f"{last.requests:,}",
            f"{one.errors:,}",
            f"{one.recorded:,}",
            f"{one.dropped:,}",
            f"{last.requests / last.minutes / 60:,.0f}",
            f"{one.series:,}",
            f"{one.started_mib:.1f}",
            f"{one.warmed_up()[0].rss_mib:.1f}",
            f"{last.rss_mib:.1f}",
            f"{max(sample.rss_mib for sample in one.samples):.1f}",
            "-" if (slope := one.slope()) is None else f"{slope:+.2f}",
        )
        lines.append(report.row(one.transport, *cells))
    return "\n".join([*lines, "", *(f"- {line}" for line in verdicts(rows))])


def verdicts(rows: Sequence[Soaked]) -> Iterator[str]:
    """What was asked for, and whether each has it."""
    for one in rows:
        started_mb, slope = one.started_mib * _MIB / 1e6, one.slope()
        met = "met" if started_mb < STARTED_MB_MAX else "MISSED"
        yield f"{one.transport}, under {STARTED_MB_MAX:g} MB at first: {met}, **{started_mb:.1f}**"
        if slope is None:
            yield f"{one.transport}, flat: not known, too few samples"
        else:
            met = "met" if slope < SLOPE_MAX else "MISSED"
            yield f"{one.transport}, under {SLOPE_MAX:g} MiB a minute: {met}, **{slope:+.2f}**"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The router's memory under different requests.")
    parser.add_argument("--requests", type=positive, default=REQUESTS, help=f"({REQUESTS:,})")
    parser.add_argument(
        "--sessions", type=positive, default=SESSIONS, help=f"and apps, keys ({SESSIONS:,})"
    )
    parser.add_argument(
        "--stretch", type=positive, default=STRETCH_S, help=f"s between samples ({STRETCH_S})"
    )
    parser.add_argument(
        "--transport", nargs="+", choices=TRANSPORTS, default=TRANSPORTS[:1], help="(lean)"
    )
    parser.add_argument("--write", action="store_true", help="into docs/benchmark.md")
    parser.add_argument(
        "--load",
        choices=load.GENERATORS,
        default=load.available(),
        help="what makes the load (wrk where it is installed)",
    )
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    begin()
    load_before, rows = load_average(), []
    for transport in chosen.transport:
        with tempfile.TemporaryDirectory(prefix="soak-") as directory:
            soaked = soak(
                Path(directory),
                transport,
                chosen.load,
                requests=chosen.requests,
                sessions=chosen.sessions,
                stretch_s=chosen.stretch,
            )
        rows.append(soaked)
    told = (
        f"{given(__file__)}: {machine(load_before)}. {versions()}. Load from {chosen.load} over "
        f"{CONNECTIONS} connections, prompts of {PROMPT_BYTES / 1000:g} KB, {chosen.sessions:,} "
        f"apps, sessions and client keys. The warm-up is the first {WARM_UP_SHARE:.0%}; the slope "
        f"is that of a line through the {len(rows[0].warmed_up())} samples after it."
    )
    text = f"{table(rows)}\n\n{told}"
    sys.stdout.write(f"{text}\n")
    if chosen.write:
        page = ROOT / "docs/benchmark.md"
        page.write_text(report.written(page.read_text("utf-8"), text, "soak"), "utf-8")


if __name__ == "__main__":
    main()
