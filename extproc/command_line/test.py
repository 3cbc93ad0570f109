"""`extproc test`: routing unit tests, without running anything."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from extproc.command_line import world
from extproc.command_line.loading import complain, load
from extproc.config import ConfigError
from extproc.config.world import CaseSection, ExpectSection, read_cases
from extproc.explain import RequestError, explain, written_request
from extproc.snapshot import Snapshot
from extproc.vocabulary import Decision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("cases", type=Path, metavar="CASES.yaml")
    parser.add_argument("--json", action="store_true", help="name and misses of every case")
    world.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        snapshot = load(arguments.config).snapshot
        given = world.world_of(arguments, snapshot)
        cases = read_cases(arguments.cases)
        misses = {case.name: _misses(case, snapshot, given) for case in cases}
    except (ConfigError, RequestError) as error:
        return complain(error)
    missed = [name for name, found in misses.items() if found]
    if arguments.json:
        print(json.dumps([{"name": name, "misses": found} for name, found in misses.items()]))
    else:
        for name in missed:
            print(f"FAILED {name}")
            for miss in misses[name]:
                print(f"    {miss}")
        print(f"{len(cases) - len(missed)} passed, {len(missed)} failed")
    return 1 if missed else 0


def _misses(case: CaseSection, snapshot: Snapshot, given: world.World) -> list[str]:
    try:
        request = written_request(json.dumps(case.request).encode())
    except RequestError as error:
        raise RequestError(f"{case.name}: request: {error}") from None
    request = replace(request, headers={**request.headers, **case.headers})
    view = case.state.over(given.state).view()
    decision = explain(request, snapshot, view, now=given.now, draw=given.draw())
    unknown = [
        f"state.targets: no target is called {t}"
        for t in view.targets.keys() - snapshot.targets.keys()
    ]
    return [*sorted(unknown), *_compared(case.expect, decision)]


def _compared(expect: ExpectSection, decision: Decision) -> Iterator[str]:
    first = decision.chain[0].target if decision.chain else None
    got = {
        "route": decision.route,
        "task": decision.task.type if decision.task else None,
        "model": first.model.name if first else None,
        "target": first.id if first else None,
        "chain": tuple(candidate.target.id for candidate in decision.chain),
        "refusal": decision.refusal.kind if decision.refusal else None,
        "status": decision.refusal.status if decision.refusal else None,
    }
    for name, found in got.items():
        wanted = getattr(expect, name)
        if wanted is not None and wanted != found:
            yield f"{name}: expected {_shown(wanted)}, got {_shown(found)}"
    reasons = {rejection.target: rejection.reason for rejection in decision.rejected}
    for target, reason in expect.rejected.items():
        found_reason = next((r for t, r in reasons.items() if t == target), None)
        if found_reason != reason:
            yield f"rejected {target}: expected {reason}, got {found_reason or 'not rejected'}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " → ".join(map(str, value)) or "nothing"
    return "nothing" if value is None else str(value)
