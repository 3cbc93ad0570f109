"""What a decision costs: `make bench`, or `python tests/bench/decision.py --help`.

This router, from the bytes of Envoy's two messages (headers, body) to the bytes of the answers to
them: decode, read the payload, task, estimate, route, eligibility, ranking, encode. Beside it the
pick of `litellm.Router` with pre-call checks, which begins at messages already parsed and ends at
a deployment (`litellm_pick.py`). Both take turns in one run, on the same messages; neither opens a
socket, so what is measured is CPU time, which other work on the machine lengthens least. Only
ratios mean anything on another machine.

litellm lives in an environment of its own, made on first use; without it the rest is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Any, Final

import litellm_pick
import peers
from peers import LITELLM

from extproc.config import compile_config, read_config
from extproc.exchange import Exchange
from extproc.snapshot import Snapshot
from extproc.state.view import EMPTY_VIEW
from extproc.text.tokens import Family
from extproc.wire.ext_proc import decode, encode
from extproc.wire.pb.core_pb2 import HeaderMap, HeaderValue
from extproc.wire.pb.ext_proc_pb2 import (
    HttpBody,
    HttpHeaders,
    ProcessingRequest,
    ProcessingResponse,
)

ROOT: Final = Path(__file__).resolve().parents[2]

ANSWER_S: Final = 60.0

SIZES_KB: Final = (0.2, 2.0, 50.0, 400.0)
TARGETS: Final = (3, 10, 50, 1000)
BARS: Final = {(2.0, 10): 20, (400.0, 10): 10}
"""How many times faster than litellm's pick a decision has to be, by KB and targets."""

OURS_S: Final = 0.06
LITELLM_S: Final = 0.1
DECISIONS_MIN: Final = 5

PROMPTS: Final = 8
"""Distinct prompts of each size, in turn: no side can remember its answer to one."""

TURN_BYTES: Final = 8000
UNMATCHED: Final = 1000
UNMATCHED_ROUTES: Final = (1, 100)

_HEADERS: Final = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    ":authority": "localhost:10000",
    ":scheme": "http",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "authorization": "Bearer mock",
    "content-type": "application/json",
    "user-agent": "OpenAI/Python 2.0.0",
    "x-forwarded-proto": "http",
    "x-request-id": "0b6a1c1e-1d2c-4c8e-9b1e-5f3e9d1a2b3c",
    "x-router-app": "bench",
}

Messages = list[dict[str, str]]


# The prompts.


@cache
def _prose() -> bytes:
    """Documents of this project, then its sources: text that tokenizers know, and code."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    files += sorted((ROOT / "extproc").rglob("*.py"))
    return b"\n\n".join(file.read_bytes() for file in files)


def messages_of(size_kb: float, number: int, turn_bytes: int = TURN_BYTES) -> Messages:
    """A conversation of so many thousand bytes, in turns of at most `turn_bytes`; user's last."""
    size, text = round(size_kb * 1000), _prose()
    start = number * 997
    text = (text * (1 + (start + size) // len(text)))[start : start + size]
    turns = [text[i : i + turn_bytes].decode(errors="replace") for i in range(0, size, turn_bytes)]
    roles = [("user", "assistant")[(len(turns) - 1 - i) % 2] for i in range(len(turns))]
    system = {"role": "system", "content": "You are a helpful assistant."}
    chat = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]
    return [system, *chat]


def name_of(size_kb: float) -> str:
    return f"{size_kb:g} KB"


# This router.


def headers_message() -> bytes:
    headers = [HeaderValue(key=k, raw_value=v.encode()) for k, v in _HEADERS.items()]
    part = HttpHeaders(headers=HeaderMap(headers=headers))
    return ProcessingRequest(request_headers=part).SerializeToString()


def body_message(messages: Messages) -> bytes:
    payload = {"messages": messages, "temperature": 0.2, "max_tokens": 1000, "stream": True}
    body = json.dumps(payload, ensure_ascii=False).encode()
    part = HttpBody(body=body, end_of_stream=True)
    return ProcessingRequest(request_body=part).SerializeToString()


def snapshot_of(targets: int, unmatched: int = 0, routes: int = 1) -> Snapshot:
    """`targets` models in the route that matches, `unmatched` more in `routes` that don't.

    Every model has a price, a window and one of four tokenizers; the route ranks by cost.
    """
    families = (Family.OPENAI_O200K, Family.CLAUDE, Family.GEMINI, Family.LLAMA)
    names = [f"model-{index}" for index in range(targets + unmatched)]
    models = {
        name: {
            "targets": [{"provider": "local"}],
            "contextWindow": 1_000_000,
            "family": families[index % len(families)],
            "price": {"inputPerMTok": 1 + index * 7919 % 997 / 100, "outputPerMTok": 10},
        }
        for index, name in enumerate(names)
    }
    others = [
        {
            "name": f"other-{index}",
            "match": {"app": f"team-{index}"},
            "candidates": names[targets + index :: routes],
            "objective": "cost",
        }
        for index in range(routes if unmatched else 0)
    ]
    default = {"match": {"default": True}, "candidates": names[:targets], "objective": "cost"}
    file = {
        "providers": {
            "local": {"baseUrl": "http://127.0.0.1:9/v1", "api": "openai", "apiKey": "mock"}
        },
        "models": models,
        "routes": [*others, default],
        "maxAttempts": 3,
    }
    return compile_config(read_config(json.dumps(file), {}), {}).snapshot


def exchanged(snapshot: Snapshot, headers: bytes, body: bytes, draw: int) -> tuple[bytes, bytes]:
    """One exchange as the service leads it, without the service."""
    exchange = Exchange(snapshot, lambda _: EMPTY_VIEW)
    first = encode(exchange.receive(decode(headers), now=1_800_000_000.5, draw=draw))
    return first, encode(exchange.receive(decode(body), now=1_800_000_000.5, draw=draw))


def measured(snapshot: Snapshot, bodies: Sequence[bytes], seconds: float) -> list[int]:
    """Each exchange's CPU time in ns."""
    headers, clock = headers_message(), time.process_time_ns
    taken_ns = []
    end_s = time.monotonic() + seconds
    for draw, body in zip(count(), cycle(bodies)):
        if draw >= DECISIONS_MIN and time.monotonic() >= end_s:
            break
        begun_ns = clock()
        exchanged(snapshot, headers, body, draw)
        taken_ns.append(clock() - begun_ns)
    return taken_ns


def check(snapshot: Snapshot, body: bytes, targets: int) -> None:
    """What is measured is a request sent on to as many targets as there may be attempts."""
    _, answer = exchanged(snapshot, headers_message(), body, draw=7)
    message = ProcessingResponse.FromString(answer)
    chain = message.dynamic_metadata.fields["llm.chain"].struct_value.fields["priority_groups"]
    length = len(chain.list_value.values)
    if not message.request_body.response.body_mutation.body or length != min(3, targets):
        raise SystemExit(f"not the answer to be measured: a chain of {length}")


# litellm.


class NoLitellmError(Exception):
    """Why litellm is not measured."""


def environment(version: str) -> Path:
    """The Python of an environment with that litellm, made if it is not there yet."""
    try:
        return peers.python_environment(f"litellm=={version}")
    except peers.LeftOutError as error:
        raise NoLitellmError(f"it can't be installed: {error}") from None


class Litellm:
    """The worker: one answer to each question."""

    def __init__(self, popen: subprocess.Popen[str], prompts: Mapping[str, Any]) -> None:
        self._popen = popen
        self.version = str(self._ask({"prompts": prompts})["version"])

    def taken_ns(self, how: str, prompt: str, targets: int, seconds: float) -> list[int]:
        asked = {"how": how, "prompt": prompt, "targets": targets, "seconds": seconds}
        return [int(taken) for taken in self._ask(asked)["taken_ns"]]

    def _ask(self, asked: object) -> Any:  # noqa: ANN401  JSON
        questions, answers = self._popen.stdin, self._popen.stdout
        assert questions is not None
        assert answers is not None
        try:
            questions.write(json.dumps(asked) + "\n")
            questions.flush()
            is_told, _, _ = select.select([answers], [], [], ANSWER_S)
        except BrokenPipeError:
            is_told = []
        line = answers.readline() if is_told else ""
        if not line:
            raise NoLitellmError("its worker ended, or did not answer")
        return json.loads(line)


@contextmanager
def litellm(python: str | Path, prompts: Mapping[str, Any]) -> Iterator[Litellm]:
    """The worker under `python` until the end of the block.

    Nothing is set that could make litellm look beyond this machine, nor could it get there.
    """
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    with tempfile.TemporaryFile() as said:
        popen = subprocess.Popen(
            [str(python), litellm_pick.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": os.defpath, **nowhere},
        )
        try:
            yield Litellm(popen, prompts)
        except NoLitellmError as error:
            popen.kill()
            popen.wait()
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise NoLitellmError(": ".join([str(error), *last])) from None
        finally:
            popen.kill()
            popen.communicate()


# The measurement.


@dataclass(frozen=True, slots=True)
class Samples:
    """CPU times of one thing in ns, a list for each round."""

    rounds: list[list[int]] = field(default_factory=list)

    def p50_us(self) -> float:
        return median(self.medians_us())

    def medians_us(self) -> list[float]:
        return [median(taken) / 1000 for taken in self.rounds]

    def p99_us(self) -> float:
        """Of all rounds together; the slowest of fewer than a hundred."""
        taken = sorted(one for taken in self.rounds for one in taken)
        return taken[min(len(taken) - 1, len(taken) * 99 // 100)] / 1000

    def count(self) -> int:
        return sum(map(len, self.rounds))


Key = tuple[str, str, int]
"""What is measured ("ours", one of `WAYS` or a case of its own), on which prompts, of targets."""

WAYS: Final = {"sync": "litellm, sync", "async": "litellm, async", "cost": "litellm, by cost"}
"""How litellm is asked (`litellm_pick.picks_of`)."""

DEFAULT_WAYS: Final = ("sync", "async")
COST_WAY: Final = ("cost",)

Measurement = Callable[[], list[int]]


def interleaved(measurements: Mapping[Key, Measurement], rounds: int) -> dict[Key, Samples]:
    """Every measurement once a round, in alternating order; what is compared, in succession."""
    for measurement in measurements.values():
        measurement()  # caches, and whatever is only ever done once
    samples = {key: Samples() for key in measurements}
    keys = sorted(measurements, key=lambda key: key[1:])
    for number in range(rounds):
        for key in keys if number % 2 == 0 else reversed(keys):
            samples[key].rounds.append(measurements[key]())
    return samples


ONE_TURN: Final = "one turn"
MATCHED: Final = 10


def ours(
    sizes_kb: Iterable[float], targets: Iterable[int], seconds: float = OURS_S
) -> dict[Key, Measurement]:
    """What is measured of this router: the table, then the cases of their own."""
    found: dict[Key, Measurement] = {}

    def add(key: Key, snapshot: Snapshot, messages: Iterable[Messages]) -> None:
        bodies = [body_message(one) for one in messages]
        check(snapshot, bodies[0], key[2])
        found[key] = lambda: measured(snapshot, bodies, seconds)

    prompts = {size: [messages_of(size, i) for i in range(PROMPTS)] for size in sizes_kb}
    for number in targets:
        snapshot = snapshot_of(number)
        for size, messages in prompts.items():
            add(("ours", name_of(size), number), snapshot, messages)
    ten, largest = snapshot_of(MATCHED), max(prompts)
    whole = [messages_of(largest, i, round(largest * 1000)) for i in range(PROMPTS)]
    add((ONE_TURN, name_of(largest), MATCHED), ten, whole)
    least = min(prompts)
    add((unmatched_name(0), name_of(least), MATCHED), ten, prompts[least])
    for routes in UNMATCHED_ROUTES:
        snapshot = snapshot_of(MATCHED, UNMATCHED, routes)
        add((unmatched_name(routes), name_of(least), MATCHED), snapshot, prompts[least])
    return found


def unmatched_name(routes: int) -> str:
    return f"{UNMATCHED:,} in {routes} other route{'s' * (routes > 1)}" if routes else "no others"


def theirs(
    worker: Litellm, sizes_kb: Iterable[float], targets: Sequence[int], seconds: float = LITELLM_S
) -> dict[Key, Measurement]:
    def picks(how: str, prompt: str, number: int) -> Measurement:
        return lambda: worker.taken_ns(how, prompt, number, seconds)

    return {
        (how, name_of(size), number): picks(how, name_of(size), number)
        for number in targets
        for size in sizes_kb
        for how in WAYS
    }


# The report.


def ratios(
    samples: Mapping[Key, Samples], ways: Iterable[str], size_kb: float, targets: int
) -> list[float]:
    """The fastest of litellm's `ways` ÷ this router, by round."""
    keys = [(what, name_of(size_kb), targets) for what in ("ours", *ways)]
    if any(key not in samples for key in keys):
        return []
    rounds = zip(*(samples[key].medians_us() for key in keys), strict=True)
    return [min(others) / own for own, *others in rounds]


def report(
    samples: Mapping[Key, Samples], sizes_kb: Sequence[float], targets: Sequence[int]
) -> str:
    columns = {"ours": "this router"} | WAYS
    shown = [what for what in columns if any(key[0] == what for key in samples)]
    heads = [f"{columns[what]} {p} µs" for what in shown for p in ("p50", "p99")]
    compared = ["sync or async ÷ this router", "by cost ÷ this router"] if len(shown) > 1 else []
    width = 2 + len(heads) + len(compared)
    lines = [_row("prompt", "targets", *heads, *compared), _row(*["---:"] * width)]
    for size in sizes_kb:
        for number in targets:
            cells = [
                cell for what in shown for cell in _figures(samples[what, name_of(size), number])
            ]
            if compared:
                both = (ratios(samples, ways, size, number) for ways in (DEFAULT_WAYS, COST_WAY))
                cells += map(_spread, both)
            lines.append(_row(name_of(size), f"{number:,}", *cells))
    lines += ["", *_bars(samples), *_growth(samples, sizes_kb, targets), *_cases(samples)]
    return "\n".join(lines)


def _figures(samples: Samples) -> tuple[str, str]:
    few = "*" if samples.count() < 100 else ""
    return f"{samples.p50_us():,.0f}", f"{samples.p99_us():,.0f}{few}"


def _spread(values: Sequence[float]) -> str:
    return f"**{median(values):.1f}x** ({min(values):.1f} to {max(values):.1f})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _bars(samples: Mapping[Key, Samples]) -> Iterator[str]:
    for (size, number), bar in BARS.items():
        for ways, strategy in ((DEFAULT_WAYS, "default strategy"), (COST_WAY, "cost strategy")):
            found = ratios(samples, ways, size, number)
            if found:
                verdict = "met" if median(found) >= bar else "MISSED"
                yield (
                    f"- Bar at {name_of(size)} and {number} targets, {bar}x litellm's {strategy}: "
                    f"{verdict}, {_spread(found)}."
                )


def _growth(
    samples: Mapping[Key, Samples], sizes_kb: Sequence[float], targets: Sequence[int]
) -> Iterator[str]:
    def p50_us(size: float, number: int) -> float:
        return samples["ours", name_of(size), number].p50_us()

    if len(sizes_kb) > 1:
        small, large = sizes_kb[-2:]
        for number in targets:
            less, more = p50_us(small, number), p50_us(large, number)
            yield (
                f"- From {name_of(small)} to {name_of(large)} at {number:,} targets: "
                f"{large / small:.1f}x the bytes, {more / less:.1f}x the time; "
                f"{less / small:.1f} then {more / large:.1f} µs per KB."
            )
    if len(targets) > 1:
        few, many = targets[-2:]
        for size in sizes_kb:
            less, more = p50_us(size, few), p50_us(size, many)
            yield (
                f"- From {few:,} to {many:,} matching targets at {name_of(size)}: "
                f"{many / few:.1f}x the targets, {more / less:.1f}x the time; "
                f"{(more - less) / (many - few):.2f} µs for each more."
            )


def _cases(samples: Mapping[Key, Samples]) -> Iterator[str]:
    bases = {key[1]: found for key, found in samples.items() if key[0] == unmatched_name(0)}
    for (what, prompt, number), found in samples.items():
        if what == ONE_TURN:
            yield (
                f"- {prompt} in one turn, {number} targets: p50 {found.p50_us():,.0f} µs "
                f"(the table's prompts are in turns of {TURN_BYTES / 1000:g} KB)."
            )
        elif what in map(unmatched_name, UNMATCHED_ROUTES):
            base = bases[prompt]
            rounds = zip(found.medians_us(), base.medians_us(), strict=True)
            verdict = _spread([more / less for more, less in rounds])
            targets = (UNMATCHED + number) / number
            yield (
                f"- {number} targets that match and {what} that do not, {prompt}: "
                f"p50 {found.p50_us():,.0f} µs, without them {base.p50_us():,.0f} µs: "
                f"{targets:.0f}x the targets, {verdict} the time."
            )


def sides(litellm_version: str | None, why_not: str) -> str:
    own = (
        "This router: the bytes of two ext_proc messages → the bytes of their answers: protobuf "
        "decoding, JSON checks and reading, task classifier, token estimates for four tokenizers, "
        "route, expected cost, eligibility and ranking of every target, chain of three, the whole "
        "new body and metadata encoded."
    )
    if litellm_version is None:
        return f"{own}\n\nlitellm is left out: {why_not}."
    return (
        f"{own}\n\nlitellm {litellm_version}: `Router.get_available_deployment` (sync) and "
        "`async_get_available_deployment` (async) with `enable_pre_call_checks`: messages already "
        "parsed → one deployment: tiktoken count, window, limit and parameter checks of every "
        "deployment, one draw by rpm. By cost is the async one with cost-based-routing, which "
        "counts again and compares list prices. No task, no fallback chain, no bytes in or out. "
        "The first ratio takes the faster of sync and async in each round."
    )


def conditions(chosen: argparse.Namespace, took_s: float, load_before: float) -> str:
    return (
        f"{shlex.join(['python', 'tests/bench/decision.py', *sys.argv[1:]])}: {chosen.rounds} "
        f"interleaved rounds, {took_s:.0f} s in all; CPU time of the process that decides; p50 is "
        f"the median of the rounds' medians, p99 that of all samples (*: the slowest of fewer than "
        f"100), ratios are of one round each, with their least and greatest; "
        f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}; "
        f"load average before it {load_before:.1f} (0 on a quiet machine)."
    )


def run(chosen: argparse.Namespace) -> str:
    sizes: list[float] = sorted(set(chosen.sizes))
    targets: list[int] = sorted(set(chosen.targets))
    measurements = ours(sizes, targets)
    version, why_not = None, "asked to"
    if not chosen.without_litellm:
        prompts = {name_of(size): [messages_of(size, i) for i in range(PROMPTS)] for size in sizes}
        try:
            with litellm(environment(chosen.litellm), prompts) as worker:
                both = measurements | theirs(worker, sizes, targets)
                samples = interleaved(both, chosen.rounds)
                version = worker.version
        except NoLitellmError as error:
            why_not = str(error)
    if version is None:
        samples = interleaved(measurements, chosen.rounds)
    return f"{report(samples, sizes, targets)}\n\n{sides(version, why_not)}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a decision costs, beside litellm's pick.")
    parser.add_argument("--rounds", type=_positive, default=5, help="(5)")
    parser.add_argument(
        "--sizes", type=_size, nargs="+", default=SIZES_KB, help="of prompts, KB (0.2 2 50 400)"
    )
    parser.add_argument(
        "--targets", type=_positive, nargs="+", default=TARGETS, help="(3 10 50 1000)"
    )
    parser.add_argument("--litellm", default=LITELLM, metavar="VERSION", help=f"({LITELLM})")
    parser.add_argument("--without-litellm", action="store_true", help="measure this router alone")
    chosen = parser.parse_args()
    begun_s, load_before = time.monotonic(), os.getloadavg()[0]
    text = run(chosen)
    took_s = time.monotonic() - begun_s
    sys.stdout.write(f"{text}\n\n{conditions(chosen, took_s, load_before)}\n")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _size(text: str) -> float:
    size = float(text)
    if not 0.1 <= size <= 10_000:
        raise argparse.ArgumentTypeError("must be from 0.1 to 10000 KB")
    return size


if __name__ == "__main__":
    main()
