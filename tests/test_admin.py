"""The admin HTTP server: what each page answers, and that errors are JSON too."""

import asyncio
import gzip
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from configs import CHAT, KEYS, SEED, body_of, snapshot_of
from outcomes import DRAW, NOW, attempt, decision_on, finished
from prometheus_client.parser import text_string_to_metric_families
from routers import router_of

from extproc.command_line import main
from extproc.explain import explain, written_request
from extproc.record import iso_time, record
from extproc.servers.admin import EXPLAIN_BYTES_MAX, Sources, build_admin
from extproc.servers.decisions import Decisions
from extproc.servers.metrics import Metrics
from extproc.servers.reload import ReloadStatus
from extproc.servers.reports import config_report
from extproc.state.view import EMPTY_VIEW

SNAPSHOT = snapshot_of(SEED)
STATUS = ReloadStatus("/etc/x.yaml", SNAPSHOT.config, loaded_at=NOW)
CANARY = "canary-8d2f"


def explained(body: bytes) -> Mapping[str, Any]:
    request = written_request(body)
    return record(explain(request, SNAPSHOT, EMPTY_VIEW, now=NOW, draw=DRAW))


def sources() -> Sources:
    metrics = Metrics()
    metrics.configured(SNAPSHOT)
    return Sources(
        registry=metrics.registry,
        decisions=Decisions(),
        config=lambda: config_report(SNAPSHOT, STATUS, NOW + 12.34),
        state=router_of(SNAPSHOT).report,
        explain=explained,
    )


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.type = headers["content-type"]
        self.headers = headers
        self.text = body.decode()

    @property
    def json(self) -> Any:  # noqa: ANN401  JSON
        assert self.type.partition(";")[0] == "application/json"
        return json.loads(self.text)

    @property
    def error(self) -> str:
        told: str = self.json["error"]["message"]
        return told


def ask(
    path: str,
    method: str = "GET",
    of: Sources | None = None,
    *,
    ready: bool = True,
    **more: Any,  # noqa: ANN401  what aiohttp's client takes
) -> Answer:
    async def run() -> Answer:
        app = build_admin(lambda: ready, of or sources())
        async with TestClient(TestServer(app)) as client:
            answer = await client.request(method, path, **more)
            return Answer(answer.status, answer.headers, await answer.read())

    return asyncio.run(run())


def with_decisions(*decisions: Any) -> Sources:  # noqa: ANN401  records
    found = sources()
    for one in decisions:
        found.decisions.finished(one["id"], json.dumps(one).encode())
    return found


def test_it_lives_and_says_when_it_is_ready() -> None:
    assert ask("/healthz").status == 200
    assert ask("/readyz").json == {"status": "ready"}
    draining = ask("/readyz", ready=False)
    assert (draining.status, draining.json) == (503, {"status": "draining"})


# /metrics


def test_metrics_are_text_as_prometheus_reads_it() -> None:
    answer = ask("/metrics")
    assert answer.type.startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert "extproc_overhead_seconds" in names


def test_metrics_are_openmetrics_for_who_accepts_that() -> None:
    answer = ask("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


# /config and /state


def test_config_tells_what_runs_since_when() -> None:
    assert ask("/config").json == {
        "config": SNAPSHOT.config,
        "path": "/etc/x.yaml",
        "loaded_at": "2026-01-01T00:00:00Z",
        "age_s": 12.3,
        "last_reload": None,
        "reloads": {"ok": 0, "failed": 0},
        "routes": 4,
        "targets": 6,
    }


def test_config_tells_of_the_last_reload_and_what_was_wrong() -> None:
    error = "routes: no catch-all; end with one"
    good = replace(STATUS, last_attempt_at=NOW)
    told = [
        config_report(SNAPSHOT, status, NOW)["last_reload"]
        for status in (good, replace(good, last_error=error))
    ]
    assert told == [
        {"time": "2026-01-01T00:00:00Z", "ok": True, "error": None},
        {"time": "2026-01-01T00:00:00Z", "ok": False, "error": error},
    ]


def test_state_tells_of_every_target_what_is_known() -> None:
    answer = ask("/state").json
    assert answer["now"].endswith("Z")
    assert [one["target"] for one in answer["targets"]] == list(SNAPSHOT.targets)


def test_a_target_is_told_as_it_is_seen() -> None:
    router = router_of(SNAPSHOT)
    now = time.time()
    limited = replace(attempt("openai/gpt-4o", 429), began=now, headers={"retry-after": "90"})
    router.attempted(limited)
    (found,) = [one for one in router.report() if one["target"] == "openai/gpt-4o"]
    assert found["breaker"] == "closed"
    assert found["not_before"] in {iso_time(now + 90), iso_time(now + 91)}
    assert found["last_seen"] in {iso_time(now), iso_time(now + 1)}
    assert found["until"] is None


def test_neither_page_tells_a_secret() -> None:
    env = dict.fromkeys([*KEYS, "TOKEN"], CANARY)
    text = SEED + "telemetry: {otlp: {endpoint: 'https://c.test', headers: {x-key: '${TOKEN}'}}}"
    snapshot = snapshot_of(text, env)
    config, state = config_report(snapshot, STATUS, NOW), router_of(snapshot).report()
    assert CANARY not in json.dumps([config, state])


# /decisions


def test_decisions_are_the_records_newest_first() -> None:
    decision = decision_on(SNAPSHOT)
    first = finished(decision).record
    second = finished(replace(decision, id="02")).record
    assert ask("/decisions", of=with_decisions(first, second)).json == [second, first]


def test_decisions_are_filtered() -> None:
    records = [
        finished(decision_on(SNAPSHOT, headers, draw=draw)).record
        for draw, headers in enumerate([{}, {"x-router-app": "billing"}])
    ]
    found = with_decisions(*records)
    for query, expected in {
        "app=billing": [records[1]],
        "target=openai/gpt-4o": records[::-1],
        "route=default&limit=1": [records[1]],
        "route=elsewhere": [],
    }.items():
        assert ask(f"/decisions?{query}", of=found).json == expected


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "ten", "1.5", "", "1" * 5000, "٣"])
def test_a_limit_that_is_none_is_a_400_that_says_what_is(limit: str) -> None:
    answer = ask("/decisions", params={"limit": limit})
    assert answer.status == 400
    assert answer.error == "limit must be a whole number from 1 to 1000"


def test_a_filter_that_is_none_is_a_400_that_lists_them() -> None:
    answer = ask("/decisions?model=x")
    assert answer.status == 400
    assert answer.error == "'model' is no filter: use limit, route, target, app"


# /explain


def test_explain_answers_as_the_command_does(tmp_path: Any, capsys: Any) -> None:  # noqa: ANN401
    (tmp_path / "config.yaml").write_text(SEED, "utf-8")
    body = body_of(messages=[{"role": "user", "content": "Summarize this: …"}])
    (tmp_path / "request.json").write_bytes(body)
    paths = [str(tmp_path / name) for name in ("config.yaml", "request.json")]
    assert main(["explain", *paths, "--json"]) == 0
    by_command = json.loads(capsys.readouterr().out)
    by_admin = ask("/explain", "POST", data=body).json
    assert by_admin | {"id": by_command["id"]} == by_command


def test_explain_takes_path_and_headers_too() -> None:
    headers = {"x-router-task": "summarization"}
    request = {"path": CHAT, "headers": headers, "body": json.loads(body_of())}
    assert ask("/explain", "POST", json=request).json["route"] == "route-3"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_explain_of_what_is_no_payload_is_the_record_of_its_refusal(body: bytes) -> None:
    answer = ask("/explain", "POST", data=body)
    assert answer.status == 200
    assert (answer.json["refusal"]["status"], answer.json["chain"]) == (400, [])


def test_explain_of_what_is_no_request_is_a_400() -> None:
    answer = ask("/explain", "POST", json={"body": {}, "header": {}})
    assert answer.status == 400
    assert answer.error.startswith("not an object of path, headers and body")


def test_explain_takes_no_encoded_body_whatever_it_is(caplog: pytest.LogCaptureFixture) -> None:
    for body in (body_of(), gzip.compress(body_of())):
        answer = ask("/explain", "POST", data=body, headers={"content-encoding": "gzip"})
        assert answer.status == 415
        assert "uncompressed" in answer.error
    assert caplog.text == ""


def test_explain_of_too_much_is_a_413() -> None:
    answer = ask("/explain", "POST", data=BytesIO(b" " * (EXPLAIN_BYTES_MAX + 1)))
    assert answer.status == 413
    assert answer.error == f"the body is larger than {EXPLAIN_BYTES_MAX} bytes"


def test_explain_leaves_no_trace() -> None:
    found = sources()
    ask("/explain", "POST", of=found, data=body_of())
    assert ask("/decisions", of=found).json == []


# Errors


def test_a_path_that_is_none_is_a_404_that_lists_those_that_are() -> None:
    answer = ask("/metricz")
    assert answer.status == 404
    pages = "/healthz, /readyz, /metrics, /config, /state, /decisions, /explain"
    assert answer.error == f"nothing is here; try {pages}"


@pytest.mark.parametrize(
    ("method", "path", "right"), [("GET", "/explain", "POST"), ("POST", "/config", "GET")]
)
def test_a_method_that_is_none_is_a_405_that_names_the_right_one(
    method: str, path: str, right: str
) -> None:
    answer = ask(path, method)
    assert (answer.status, answer.error) == (
        405,
        f"{method} is not supported here; use {right}",
    )
    assert right in answer.headers["allow"]


def test_a_bug_is_a_500_without_the_payload(caplog: pytest.LogCaptureFixture) -> None:
    def broken(body: bytes) -> Mapping[str, Any]:
        raise LookupError(f"no {body!r}")

    found = replace(sources(), explain=broken)
    answer = ask("/explain", "POST", of=found, data=CANARY.encode())
    assert (answer.status, answer.error) == (500, "the router failed to answer this")
    assert "LookupError in /explain" in caplog.text
    assert CANARY not in caplog.text
