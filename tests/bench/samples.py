"""What was measured: a sample of each system in each case and round, and figures made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeVar

from load import Load
from stream import Streams, percentile

ERRORS_MAX: Final = 0.01
"""Of all requests. With more of them a load has failed, and its figures mean nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """So many connections, each with one prompt of so many bytes under way."""

    prompt_bytes: int
    connections: int

    def size(self) -> str:
        return size_name(self.prompt_bytes)


def size_name(prompt_bytes: int) -> str:
    megabytes = prompt_bytes / 1_000_000
    return f"{megabytes:g} MB" if megabytes >= 1 else f"{prompt_bytes / 1000:g} KB"


@dataclass(frozen=True, slots=True)
class Sample:
    """One system under one load for one round; CPU times are those of its processes, in order."""

    case: Case
    load: Load
    cpu_s: tuple[float, ...]
    upstream_cpu_s: float = 0.0

    def has_failed(self) -> bool:
        asked = self.load.requests + self.load.errors
        return not self.load.requests or self.load.errors > asked * ERRORS_MAX

    def per_second(self) -> float:
        return self.load.requests / self.load.seconds

    def cpu_ms(self) -> tuple[float, ...]:
        """Of each process per request; one that is under way at the end is half done."""
        requests = self.load.requests + self.case.connections / 2
        return tuple(spent * 1000 / requests for spent in self.cpu_s)


@dataclass(frozen=True, slots=True)
class StreamSample:
    """One system for one round of streams."""

    streams: Streams
    cpu_s: tuple[float, ...]

    def cpu_us(self) -> tuple[float, ...]:
        """Of each process per event."""
        return tuple(spent * 1_000_000 / len(self.streams.delays_ms) for spent in self.cpu_s)


@dataclass(slots=True)
class Samples:
    """By case and the system's name, a sample for each round; and what of it was not to be had."""

    loads: dict[tuple[Case, str], list[Sample]] = field(default_factory=dict)
    streams: dict[str, list[StreamSample]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def cases(self) -> list[Case]:
        return sorted({case for case, _ in self.loads})

    def failure(self, case: Case, name: str) -> str:
        """What went wrong there, if something did."""
        for sample in self.loads[case, name]:
            if sample.has_failed():
                done, wrong = sample.load.requests, sample.load.errors
                if not done and not wrong:
                    return f"none answered in {sample.load.seconds:.0f} s"
                return f"{wrong / (done + wrong):.0%} failed"
        return ""


Figure = Callable[[Sample], float]
StreamFigure = Callable[[StreamSample], float]

PER_SECOND: Final[Figure] = Sample.per_second


def p50_ms(sample: Sample) -> float:
    return sample.load.p50_ms


def p99_ms(sample: Sample) -> float:
    return sample.load.p99_ms


def cpu_ms(sample: Sample) -> float:
    return sum(sample.cpu_ms())


def cpu_us(sample: StreamSample) -> float:
    return sum(sample.cpu_us())


def timed(of: Callable[[Streams], Sequence[float]], percent: int) -> StreamFigure:
    return lambda sample: percentile(of(sample.streams), percent)


STREAM_FIGURES: Final[Sequence[tuple[str, StreamFigure]]] = (
    ("first event p50 ms", timed(lambda seen: seen.first_byte_ms, 50)),
    ("slowest ms", timed(lambda seen: seen.first_byte_ms, 100)),
    ("each event p50 ms", timed(lambda seen: seen.delays_ms, 50)),
    ("p99 ms", timed(lambda seen: seen.delays_ms, 99)),
    ("between events p50 ms", timed(lambda seen: seen.gaps_ms, 50)),
    ("p99 ms", timed(lambda seen: seen.gaps_ms, 99)),
)

T = TypeVar("T")


def ratios(taken: Sequence[T], bases: Sequence[T], of: Callable[[T], float]) -> list[float]:
    """To the yardstick in the same round."""
    return [of(one) / (of(base) or float("nan")) for one, base in zip(taken, bases, strict=True)]


def added(taken: Sequence[T], bases: Sequence[T], of: Callable[[T], float]) -> list[float]:
    """Beyond the yardstick in the same round."""
    return [of(one) - of(base) for one, base in zip(taken, bases, strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """The median and, of several, the least and the greatest."""
    low, middle, high = (form.format(pick(values)) for pick in (min, median, max))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
