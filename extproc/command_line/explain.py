"""`extproc explain`: the decision for one request, for a person or as JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from extproc.command_line import world
from extproc.command_line.loading import complain, load, read_bytes, requests_of
from extproc.config import ConfigError
from extproc.explain import RequestError, explain, written_request
from extproc.record import record
from extproc.vocabulary import Candidate, Decision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument(
        "request",
        nargs="?",
        type=Path,
        metavar="REQUEST.json",
        help="a payload, or an object of path, headers and body; - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="the record, as JSON")
    parser.add_argument(
        "--jsonl", type=Path, metavar="FILE", help="a request a line instead; a record a line"
    )
    world.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    if (arguments.request is None) == (arguments.jsonl is None):
        print("explain: give either REQUEST.json or --jsonl FILE", file=sys.stderr)
        return 2
    try:
        snapshot = load(arguments.config).snapshot
        given = world.world_of(arguments, snapshot)
        view = given.state.view()
        if arguments.request:
            request = written_request(read_bytes(arguments.request))
            decision = explain(request, snapshot, view, now=given.now, draw=given.draw())
            told = json.dumps(record(decision), indent=2) if arguments.json else table(decision)
            print(told)
            return 0
        for number, request in requests_of(arguments.jsonl):
            draw = given.draw(number - 1)
            decision = explain(request, snapshot, view, now=given.now, draw=draw)
            print(json.dumps(record(decision)))
    except (ConfigError, RequestError) as error:
        return complain(error)
    return 0


def table(decision: Decision) -> str:
    """What a person wants to see first: what was asked, who could serve, who will."""
    return "\n".join(_lines(decision))


def _lines(decision: Decision) -> Iterator[str]:
    if decision.task and decision.estimate:
        sure = decision.task.confidence
        how = decision.task.source + (f", {sure:.2f}" if sure is not None else "")
        size = decision.estimate
        yield (
            f"request   task {decision.task.type} ({how}), about {size.input_tokens:,} tokens in, "
            f"{size.output_tokens:,} out" + (f", app {decision.app}" if decision.app else "")
        )
    if decision.requested_model:
        yield f"asked for {decision.requested_model}"
    if decision.route:
        yield f"route     {decision.route}"
    if decision.candidates:
        yield ""
        yield from _rows(decision)
        yield ""
    if decision.refusal:
        yield f"refused   {decision.refusal.status} {decision.refusal.code}: {decision.why}"
        return
    if decision.chain:
        yield "chain     " + " → ".join(c.target.id for c in decision.chain)
    yield f"why       {decision.why}"


def _rows(decision: Decision) -> Iterator[str]:
    places = {c.target.id: place for place, c in enumerate(decision.chain, start=1)}
    rows = [("", "target", "cost", "latency", "verdict")]
    rows += [
        (
            str(places.get(c.target.id, "-")),
            c.target.id,
            _cost(c),
            _latency(c),
            _verdict(c, places.get(c.target.id)),
        )
        for c in sorted(decision.candidates, key=lambda c: places.get(c.target.id, math.inf))
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for place, target, cost, latency, verdict in rows:
        yield (
            f"  {place:>{widths[0]}}  {target:<{widths[1]}}  {cost:>{widths[2]}}  "
            f"{latency:>{widths[3]}}  {verdict}"
        )


def _cost(candidate: Candidate) -> str:
    cost = candidate.expected_cost_usd
    return "unknown" if cost is None else f"${cost:.6f}"


def _latency(candidate: Candidate) -> str:
    latency = candidate.expected_latency_ms
    return "unseen" if latency is None else f"{latency:,.0f} ms"


def _verdict(candidate: Candidate, place: int | None) -> str:
    rejection = candidate.rejection
    if rejection:
        return f"{rejection.reason}: {rejection.detail}"
    return "eligible, beyond maxAttempts" if place is None else "first" if place == 1 else "next"
