"""`extproc diff`: what another config would change, request by request and in money."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from extproc.command_line import world
from extproc.command_line.loading import complain, load, requests_of
from extproc.config import ConfigError, named_after
from extproc.explain import RequestError, explain
from extproc.snapshot import Snapshot
from extproc.vocabulary import Decision


@dataclass(frozen=True, slots=True)
class Move:
    """A request that would go elsewhere. `request` is its line, from 1; costs in US dollars."""

    request: int
    before: str
    after: str
    cost_before_usd: float | None
    cost_after_usd: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument("requests", type=Path, metavar="REQUESTS.jsonl")
    parser.add_argument("--json", action="store_true")
    world.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        old, new = (_loaded(path) for path in (arguments.old, arguments.new))
        given = world.world_of(arguments, old, new)
        view = given.state.view()
        moves: list[Move] = []
        costs = [0.0, 0.0]
        count = uncounted = 0
        for number, request in requests_of(arguments.requests):
            draw = given.draw(number - 1)
            before, after = (
                explain(request, snapshot, view, now=given.now, draw=draw)
                for snapshot in (old, new)
            )
            count += 1
            was, will_be = _cost(before), _cost(after)
            if was is None or will_be is None:  # in one sum only, it would tilt the comparison
                uncounted += 1
            else:
                costs[0] += was
                costs[1] += will_be
            if _goes(before) != _goes(after):
                moves.append(Move(number, _goes(before), _goes(after), was, will_be))
    except (ConfigError, RequestError) as error:
        return complain(error)
    if arguments.json:
        summary = {
            "requests": count,
            "moved": [asdict(move) for move in moves],
            "cost_before_usd": costs[0],
            "cost_after_usd": costs[1],
            "uncounted": uncounted,
        }
        print(json.dumps(summary))
        return 0
    for move in moves:
        print(
            f"request {move.request}: {move.before} → {move.after}, "
            f"{_dollars(move.cost_before_usd)} → {_dollars(move.cost_after_usd)}"
        )
    change = f" ({(costs[1] / costs[0] - 1) * 100:+.1f} %)" if costs[0] else ""
    print(f"{len(moves)} of {count} requests move; expected cost {_dollars(costs[0])} → ", end="")
    print(f"{_dollars(costs[1])}{change}", end="")
    print(f", without {uncounted} whose cost is unknown" if uncounted else "")
    return 0


def _loaded(path: Path) -> Snapshot:
    with named_after(path):
        return load(path).snapshot


def _goes(decision: Decision) -> str:
    if decision.refusal:
        return f"refused ({decision.refusal.code})"
    return decision.chain[0].target.id if decision.chain else "counted here"


def _cost(decision: Decision) -> float | None:
    if decision.counting and not decision.refusal:
        return 0.0
    return decision.chain[0].expected_cost_usd if decision.chain else None


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.6f}"
