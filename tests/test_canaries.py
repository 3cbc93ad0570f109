"""What a request holds and what a key is stays out of all that is told of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from configs import SEED, snapshot_of
from outcomes import decision_on, finished
from prometheus_client import generate_latest
from routers import router_of

from extproc.record import with_outcome
from extproc.servers.decision_log import DecisionLog
from extproc.servers.decisions import Decisions, Wanted
from extproc.servers.genai import call_of
from extproc.servers.metrics import Metrics
from extproc.servers.reload import ReloadStatus
from extproc.servers.reports import config_report
from extproc.snapshot import DecisionLogSettings

CANARY = "canary-8d2f"
ENV = dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "TOKEN"), CANARY)
SNAPSHOT = snapshot_of(
    "telemetry: {otlp: {endpoint: 'https://c.test', headers: {x-key: '${TOKEN}'}}}\n"
    "apps: {from: apiKey}\n" + SEED,
    ENV,
)
HEADERS = dict.fromkeys(
    ("authorization", "x-api-key", "cookie", "x-router-avoid", "x-forwarded-for", "traceparent"),
    CANARY,
)
BODY: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": f"You know {CANARY}."},
        {"role": "user", "content": [{"type": "text", "text": f"Summarize this: {CANARY}"}]},
    ],
    "user": CANARY,
    "metadata": {"ticket": CANARY, CANARY: "x"},
    "stop": [CANARY],
}
TOOL = {"type": "function", "function": {"name": CANARY, "description": CANARY}}


@pytest.mark.parametrize(
    "more", [{}, {"tools": [TOOL]}, {"max_tokens": 10**7}, {"messages": CANARY}]
)
def test_no_canary_comes_out_anywhere(more: dict[str, Any], tmp_path: Path) -> None:
    decision = decision_on(SNAPSHOT, HEADERS, **BODY | more)
    done = finished(decision)
    log = DecisionLog(DecisionLogSettings(str(tmp_path / "log")), -1)
    told_record = with_outcome(json.dumps(done.record).encode(), done.outcome)
    log.write(told_record)
    log.close()
    ring, metrics = Decisions(), Metrics()
    ring.finished(decision.id, told_record)
    metrics.configured(SNAPSHOT)
    metrics.decided(decision, 1)
    metrics.finished(done)
    told = {
        "log": (tmp_path / "log").read_text("utf-8"),
        "ring": ring.newest(Wanted()).decode(),
        "metrics": generate_latest(metrics.registry).decode(),
        "span": repr(call_of(done)),
        "config": json.dumps(config_report(SNAPSHOT, ReloadStatus("x", SNAPSHOT.config, 0), 0)),
        "state": json.dumps(router_of(SNAPSHOT).report()),
    }
    assert all(told.values())
    assert {where for where, text in told.items() if CANARY in text} == set()
