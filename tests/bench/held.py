"""Requests that wait for a slow provider, all at once: `python tests/bench/held.py --help`.

The real Envoy and the real router hold them, over loopback, for as long as is asked. None may fail.
Where every target speaks the client's dialect the router has done its part with the decision; where
one does not, it keeps a stream for each until the answer is there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import report
import upstream
import uvloop
from command import ROOT, begin, given, load_average, machine, positive, versions
from decision import messages_of
from ends import Answer, Client, Provider, until
from processes import Process, free_ports, settle
from product import TRANSPORTS, Product, product

COUNT: Final = 10_000
SECONDS: Final = 60
PER_SECOND: Final = 400
"""At which they begin, and end: together they take what the router has to do, and not more."""

WARM_UP: Final = 100
WAIT_S: Final = 120.0
"""How much longer than it should take a step may, until what is missing has failed."""

HOSTS: Final = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
"""A provider each, as a host has but so many ports for connections to one other."""

SPARE_DESCRIPTORS: Final = 500
PROMPT_BYTES: Final = 2_000
HEADERS: Final = {
    ":path": "/v1/chat/completions",
    "content-type": "application/json",
    "authorization": "Bearer bench",
}
TEXT: Final = "All is well. " * 32
ANSWERS: Final = {
    "openai": upstream.ANSWER,
    "anthropic": json.dumps(
        {
            "id": "msg_bench",
            "type": "message",
            "role": "assistant",
            "model": "bench",
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 300, "output_tokens": 100},
        }
    ).encode(),
}
"""By the API that the provider speaks; the client speaks OpenAI's."""

_KIB: Final = 2**10
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes: before, while all are held, when all are answered and it is at rest."""

    before: int
    held: int
    after: int

    def mib(self) -> str:
        return " → ".join(f"{one / _MIB:.0f}" for one in (self.before, self.held, self.after))


@dataclass(frozen=True, slots=True)
class Held:
    """One case: `streams` and `upstream` are how many were open at the end of `seconds`.

    `failures` counts each reason.
    """

    transport: str
    api: str
    count: int
    seconds: float
    streams: int
    upstream: int
    failures: Counter[str]
    router: Memory
    envoy: Memory

    def router_kib_each(self) -> float:
        return (self.router.held - self.router.before) / self.count / _KIB


# The measurement.


def routing(port: int, api: str, transport: str, seconds: int) -> str:
    """One model at several providers, all of them on this machine."""
    names = [f"provider-{number}" for number, _ in enumerate(HOSTS)]
    urls = [f"http://{host}:{port}/v1" for host in HOSTS]
    config: dict[str, Any] = {
        "providers": {
            name: {"api": api, "baseUrl": url, "apiKey": "bench"}
            for name, url in zip(names, urls, strict=True)
        },
        "models": {
            "slow": {"targets": [{"provider": name} for name in names], "contextWindow": 128_000}
        },
        "routes": [{"match": {"default": True}, "model": "slow", "objective": "weighted"}],
        "firstByteTimeout": seconds + 4 * WAIT_S,
        "decisionLog": {"path": "none"},
        "server": {"transport": transport},
    }
    return json.dumps(config)  # JSON is YAML


async def hold(
    directory: Path, api: str, transport: str, *, count: int, seconds: int, per_second: int
) -> Held:
    provider = Provider(ANSWERS[api])
    (port,) = free_ports(1)
    server = await provider.listen(HOSTS, port)
    with product(directory, routing(port, api, transport, seconds), {}) as running:
        client = Client(running.port, HEADERS, body())
        await _opened(client, provider, min(count, WARM_UP), per_second)
        await _ended(client, provider, per_second)
        processes = (running.router, running.envoy)
        before = _resting(processes)
        client.answers.clear()

        await _opened(client, provider, count, per_second)
        opened_s = time.monotonic()
        await asyncio.sleep(seconds)
        upstream_open, streams = len(provider.held), _streams(running)
        during = [process.rss_bytes() for process in processes]
        held_s = time.monotonic() - opened_s

        await _ended(client, provider, per_second)
        after = _resting(processes)
    server.close()
    router, envoy = (Memory(*one) for one in zip(before, during, after, strict=True))
    failures = Counter(why for answer in client.answers if (why := failure(answer)))
    return Held(transport, api, count, held_s, streams, upstream_open, failures, router, envoy)


async def _opened(client: Client, provider: Provider, count: int, per_second: int) -> None:
    """Returns when the provider has all, or all that will come."""
    await client.ask(count, per_second)
    await until(lambda: len(provider.held) >= client.open(), WAIT_S)


async def _ended(client: Client, provider: Provider, per_second: int) -> None:
    await provider.answer(per_second)
    await client.answered(WAIT_S)


def _resting(processes: Sequence[Process]) -> list[int]:
    settle(processes)
    return [process.rss_bytes() for process in processes]


def _streams(running: Product) -> int:
    """Of ext_proc, as Envoy counts them."""
    begun = running.stat("http.llm.ext_proc.streams_started")
    return begun - running.stat("http.llm.ext_proc.streams_closed")


def body() -> bytes:
    payload = {"model": "auto", "messages": messages_of(PROMPT_BYTES / 1000, 0)}
    return json.dumps(payload).encode()


def failure(answer: Answer) -> str | None:
    """Why it is not the one that the client ought to get."""
    if answer.ended != "whole":
        return answer.ended or "no answer"
    if answer.status != "200":
        return f"{answer.status} {_beginning(answer.body)}"
    if answer.attempts != "1":
        return f"answered after {answer.attempts or 'no'} attempts"
    try:
        said = json.loads(answer.body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        said = None
    return None if said == TEXT else f"another answer: {_beginning(answer.body)}"


def _beginning(body: bytes) -> str:
    return body[:200].decode(errors="replace")


# The report.


def table(rows: Sequence[Held]) -> str:
    heads = (
        "open at the provider",
        "streams open at the router",
        "for s",
        "failed",
        "router, MiB",
        "Envoy, MiB",
        "router's KiB for each",
    )
    lines = [report.row("", *heads), report.row(*["---"] * (len(heads) + 1))]
    for one in rows:
        dialect = "the client's dialect" if one.api == "openai" else "another dialect"
        cells = (
            f"{one.upstream:,}",
            f"{one.streams:,}",
            f"{one.seconds:.0f}",
            f"{one.failures.total():,} of {one.count:,}",
            one.router.mib(),
            one.envoy.mib(),
            f"{one.router_kib_each():.1f}",
        )
        lines.append(report.row(f"{one.transport}, {dialect}", *cells))
    reasons = sum((one.failures for one in rows), Counter[str]())
    told = [f"Failed, {number:,} times: {why}." for why, number in reasons.most_common(5)]
    return "\n\n".join(["\n".join(lines), *told])


def raise_limit(count: int) -> None:
    """Descriptors for a connection each; what is started has the same."""
    needed = count + count // 100 + SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"needs {needed} descriptors, and `ulimit -Hn` is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Many requests held open, none of which may fail.")
    parser.add_argument("--count", type=positive, default=COUNT, help=f"at once ({COUNT:,})")
    parser.add_argument("--seconds", type=positive, default=SECONDS, help=f"all ({SECONDS})")
    parser.add_argument(
        "--per-second", type=positive, default=PER_SECOND, help=f"begin and end ({PER_SECOND})"
    )
    parser.add_argument(
        "--transport", nargs="+", choices=TRANSPORTS, default=TRANSPORTS[:1], help="(lean)"
    )
    parser.add_argument("--write", action="store_true", help="into docs/benchmark.md")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    begin()
    raise_limit(chosen.count)
    load_before, rows = load_average(), []
    for transport in chosen.transport:
        for api in ANSWERS:
            sys.stderr.write(f"{transport}, providers of {api}\n")
            with tempfile.TemporaryDirectory(prefix="held-") as directory:
                rows.append(
                    uvloop.run(
                        hold(
                            Path(directory),
                            api,
                            transport,
                            count=chosen.count,
                            seconds=chosen.seconds,
                            per_second=chosen.per_second,
                        )
                    )
                )
    told = (
        f"{given(__file__)}: {machine(load_before)}. {versions()}. They begin and end at "
        f"{chosen.per_second} a second. Memory is before, while all are held, and after."
    )
    text = f"{table(rows)}\n\n{told}"
    sys.stdout.write(f"{text}\n")
    if chosen.write:
        page = ROOT / "docs/benchmark.md"
        page.write_text(report.written(page.read_text("utf-8"), text, "held"), "utf-8")
    if any(one.failures for one in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
