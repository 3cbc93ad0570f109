"""docs/operations.md, docs/metrics.md and the dashboard are true: they name what there is."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from configs import CATCH_ALL, KEYS, snapshot_of
from outcomes import decision_on, finished
from test_admin import SNAPSHOT, sources

from extproc.command_line import main
from extproc.outcome import Usage
from extproc.servers import genai
from extproc.servers.admin import build_admin
from extproc.servers.genai import call_of
from extproc.servers.metrics import Metrics

DOCS = Path(__file__).resolve().parent.parent / "docs"
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")
METRICS = (DOCS / "metrics.md").read_text("utf-8")
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text("utf-8"))
ADMIN = "http://127.0.0.1:9902"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", OPERATIONS, re.DOTALL | re.MULTILINE)


# Operations


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_config_that_it_shows_compiles(block: str) -> None:
    snapshot_of(block + CATCH_ALL, KEYS | {"OTLP_TOKEN": "a-token"})


def commands(program: str) -> list[str]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("command", commands("extproc"))
def test_every_command_line_is_understood(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of it: what is complained of is only that `CONFIG` stands for a file."""
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 1
    assert "CONFIG: can't be read" in capsys.readouterr().err


async def answered(command: str) -> tuple[int, Any]:
    """What the admin server answers to a command of the documentation, sent as curl would."""
    curl, url, *data = shlex.split(command)
    assert (curl, url[: len(ADMIN)]) == ("curl", ADMIN)
    async with TestClient(TestServer(build_admin(lambda: True, sources()))) as client:
        if not data:
            answer = await client.get(url.removeprefix(ADMIN))
        else:
            flag, body = data
            assert flag == "-d"
            form = {"content-type": "application/x-www-form-urlencoded"}
            answer = await client.post(url.removeprefix(ADMIN), data=body.encode(), headers=form)
        return answer.status, await answer.json()


@pytest.mark.parametrize("command", commands("curl"))
def test_every_command_is_answered(command: str) -> None:
    status, told = asyncio.run(answered(command))
    assert status == 200
    assert "refusal" not in told


def test_every_page_is_listed_with_its_method_and_no_other() -> None:
    listed = set(re.findall(r"^\| `(GET|POST) (/[a-z]+)`", OPERATIONS, re.MULTILINE))
    routes = build_admin(lambda: True, sources()).router.routes()
    paths = [(route.method, route.resource) for route in routes if route.method != "HEAD"]
    assert listed == {(method, at.canonical) for method, at in paths if at}


def test_every_attribute_and_metric_of_opentelemetry_is_named_and_no_other() -> None:
    decision = decision_on(SNAPSHOT, {"x-router-app": "a"}, model="auto")
    call = call_of(finished(decision, usage=Usage(100, 20, 60, 10, 5)))
    there_are = {*call.attributes, genai.DURATION, genai.TOKEN_USAGE, genai.TIME_TO_FIRST_TOKEN}
    named = set(re.findall(r"`((?:gen_ai|extproc|http)\.[a-z_.]+|error\.type)`", OPERATIONS))
    assert named == there_are | {"error.type"}


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", OPERATIONS))
def test_every_file_it_links_to_exists(path: str) -> None:
    assert (DOCS / path).exists()


# Metrics


@cache
def metrics() -> Mapping[str, tuple[str, frozenset[str]]]:
    """Every metric as Prometheus names it: its type and its labels."""
    registry = Metrics().registry
    found = {}
    for collector in registry._collector_to_names:  # noqa: SLF001  a public one lists no labels
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            suffix = "_total" if family.type == "counter" else ""
            found[family.name + suffix] = (family.type, labels)
    return found


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    rows = re.findall(r"^\| `(extproc_\w+)` \| (\w+) \|([^|]*)\|", METRICS, re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", says))) for name, kind, says in rows}


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other() -> None:
    assert documented() == metrics()


# The dashboard


def expressions(node: object = DASHBOARD) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def metric_of(name: str) -> str:
    """`extproc_ttfb_seconds_bucket` → `extproc_ttfb_seconds`."""
    shorter = re.sub(r"_(bucket|sum|count)$", "", name)
    kind, _ = metrics().get(shorter, ("", frozenset()))
    return shorter if kind == "histogram" else name


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_expression_of_the_dashboard_names_metrics_and_labels_that_exist(
    expression: str,
) -> None:
    known = metrics()
    without_strings = re.sub(r'"[^"]*"', "", expression)
    names = {metric_of(name) for name in re.findall(r"extproc_\w+", without_strings)}
    assert names
    assert names <= set(known)
    labels = set(re.findall(r"(\w+)\s*[=!]", without_strings))
    for group in re.findall(r"by \(([^)]*)\)", without_strings):
        labels |= set(re.findall(r"\w+", group))
    assert labels <= {"le", "instance"}.union(*(known[name][1] for name in names))


def test_the_savings_that_the_documentation_computes_are_those_of_the_dashboard() -> None:
    (formula,) = re.findall(r"`(sum\(increase.*?)`", METRICS)
    assert formula.replace("[1d]", "[$__range]") in set(expressions())


def test_every_panel_asks_the_data_source_that_is_chosen_on_import() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert panels
    assert all(panel["datasource"] == chosen for panel in panels)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
