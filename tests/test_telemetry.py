"""OpenTelemetry: what a collector gets of a request, and that one that is gone harms nobody."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from configs import CATCH_ALL, CHAT, HELLO, SEED, snapshot_of
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from outcomes import NOW, decision_on, finished, finished_with, outcome_of

from extproc.dialects import surface_of
from extproc.exchange import read_and_decide
from extproc.outcome import Ending, Finished, Usage
from extproc.record import record
from extproc.servers import genai, otlp
from extproc.servers.genai import call_of, error_type
from extproc.servers.telemetry import Exporter, start
from extproc.snapshot import Otlp
from extproc.state.view import EMPTY_VIEW
from extproc.vocabulary import TargetId

SNAPSHOT = snapshot_of(SEED)
CANARY = "canary-8d2f"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
FLASH = TargetId("google/gemini-flash-2.0")


class Collector(ThreadingHTTPServer):
    """Takes what real exporters send."""

    daemon_threads = True

    def __init__(self, status: int = 200, reason: str = "OK") -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.answer = (status, reason)
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def bodies(self, path: str) -> list[bytes]:
        return [body for at, _, body in self.requests if at == path]

    @property
    def spans(self) -> list[Any]:
        exports = map(ExportTraceServiceRequest.FromString, self.bodies("/v1/traces"))
        return [
            span
            for export in exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        (export,) = map(ExportMetricsServiceRequest.FromString, self.bodies("/v1/metrics"))
        return {
            metric.name: metric
            for resource in export.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, dict(self.headers.items()), body))
        self.send_response(*self.server.answer)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server
        server.shutdown()


def export(collector: Collector, *requests: Finished, **settings: Any) -> None:  # noqa: ANN401
    exporter = start(Otlp(collector.endpoint, **settings), {"x-key": CANARY})
    for one in requests:
        exporter.finished(one)
    exporter.close()


def plain(attributes: Any) -> dict[str, Any]:  # noqa: ANN401  protobuf
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


# What a request is called


def test_a_call_has_the_attributes_of_the_conventions() -> None:
    decision = decision_on(
        SNAPSHOT, {"x-router-task": "summarization", "x-router-app": "billing"}, model="auto"
    )
    usage = Usage(799, 201, cache_read_tokens=5, cache_write_tokens=6, reasoning_tokens=7)
    call = call_of(finished(decision, target=FLASH, attempts=2, usage=usage, cost_usd=0.25))
    assert call.name == "chat gemini-2.0-flash"
    assert call.error is None
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-2.0-flash",
        "gen_ai.response.model": "reported-1",
        "gen_ai.usage.input_tokens": 799,
        "gen_ai.usage.output_tokens": 201,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 6,
        "gen_ai.usage.reasoning.output_tokens": 7,
        "http.response.status_code": 200,
        "extproc.decision.id": decision.id,
        "extproc.route": "route-3",
        "extproc.app": "billing",
        "extproc.task": "summarization",
        "extproc.target": "google/gemini-flash-2.0",
        "extproc.requested_model": "auto",
        "extproc.attempts": 2,
        "extproc.cost_usd": 0.25,
    }


def test_a_usage_that_nobody_reported_is_not_told_as_one() -> None:
    call = call_of(finished(decision_on(SNAPSHOT), usage_estimated=True))
    assert not [name for name in call.attributes if name.startswith("gen_ai.usage")]


def test_where_nobody_answered_the_model_is_the_first_that_was_asked() -> None:
    call = call_of(finished(decision_on(SNAPSHOT), target=None, status=503, usage=None))
    assert call.name.startswith("chat claude-sonnet-4")
    assert (call.error, "extproc.target" in call.attributes) == ("503", False)


def test_a_request_that_was_sent_nowhere_has_no_model() -> None:
    refused = decision_on(SNAPSHOT, max_tokens=10**7)
    call = call_of(finished(refused, status=422, usage=None, cost_usd=None))
    assert (call.name, call.common) == (
        "chat",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "extproc",
            "error.type": "422",
        },
    )


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        (CHAT, {"messages": HELLO}, "chat gpt-4o"),
        ("/v1/messages/count_tokens", {"messages": HELLO}, "chat gpt-4o"),
        ("/v1/embeddings", {"input": "Hello"}, "embeddings gpt-4o"),
    ],
)
def test_embeddings_are_called_so(path: str, fields: dict[str, Any], name: str) -> None:
    snapshot = snapshot_of("unknownCapability: allow" + CATCH_ALL)
    surface = surface_of(path)
    assert surface
    body = json.dumps({"model": "gpt-4o", **fields}).encode()
    decision, _ = read_and_decide(
        path, {}, body, snapshot, EMPTY_VIEW, now=NOW, draw=1, surface=surface
    )
    told = {"chain": [{"target": "x", "provider": "openai", "upstream_model": "gpt-4o"}]}
    outcome = outcome_of(decision, target=None)
    call = call_of(Finished("r", record(decision) | told, outcome, NOW))
    assert call.name == name
    assert call.attributes["gen_ai.operation.name"] == name.split(maxsplit=1)[0]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"status": 399}, None),
        ({"status": 429}, "429"),
        ({"ending": Ending.TRUNCATED}, "truncated"),
        ({"ending": Ending.ABORTED, "status": 0}, "aborted"),
    ],
)
def test_an_errors_type_is_how_it_ended_or_its_status(
    changed: dict[str, Any], expected: str | None
) -> None:
    assert error_type(outcome_of(decision_on(SNAPSHOT), **changed)) == expected


def test_what_is_measured_by_holds_nothing_that_a_client_or_a_provider_says() -> None:
    decision = decision_on(SNAPSHOT, {"x-router-app": CANARY, "x-router-task": CANARY})
    call = call_of(finished(decision, reported_model=CANARY))
    assert CANARY not in str(call.common)


def test_buckets_are_those_of_the_conventions() -> None:
    assert genai.TOKEN_BUCKETS[:4] == (1, 4, 16, 64)
    assert genai.TOKEN_BUCKETS[-1] == 67_108_864
    assert genai.DURATION_BUCKETS_S[:4] == (0.01, 0.02, 0.04, 0.08)
    assert genai.DURATION_BUCKETS_S[-1] == 81.92


# What a collector gets


def test_one_span_for_each_request_from_its_beginning_to_its_end(collector: Collector) -> None:
    done = finished(decision_on(SNAPSHOT), duration_ms=1840.0)
    export(collector, done)
    (span,) = collector.spans
    assert span.name == call_of(done).name
    assert span.kind == 3, "CLIENT: the conventions' kind for a call to a model"
    assert span.start_time_unix_nano == NOW * 10**9
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_840_000_000
    assert plain(span.attributes) == dict(call_of(done).attributes)
    assert span.status.code == 0


def test_a_span_of_a_failure_says_so(collector: Collector) -> None:
    export(collector, finished(decision_on(SNAPSHOT), status=503))
    (span,) = collector.spans
    assert span.status.code == 2
    assert plain(span.attributes)["error.type"] == "503"


def with_parent(traceparent: str | None) -> Finished:
    decision = decision_on(SNAPSHOT)
    return finished_with(decision, outcome_of(decision), traceparent)


def test_a_span_is_the_child_of_the_clients_own(collector: Collector) -> None:
    export(collector, with_parent(SAMPLED))
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)


@pytest.mark.parametrize("wrong", [None, "", "nonsense", f"00-{'0' * 32}-{PARENT}-01"])
def test_without_a_valid_parent_a_span_begins_a_trace(
    collector: Collector, wrong: str | None
) -> None:
    export(collector, with_parent(wrong))
    (span,) = collector.spans
    assert span.parent_span_id == b""
    assert any(span.trace_id)


def test_what_the_client_does_not_sample_is_not_exported(collector: Collector) -> None:
    export(collector, with_parent(SAMPLED[:-2] + "00"), with_parent(SAMPLED))
    assert len(collector.spans) == 1


def test_metrics_are_those_of_the_conventions_with_their_buckets(collector: Collector) -> None:
    export(collector, finished(decision_on(SNAPSHOT)), finished(decision_on(SNAPSHOT), status=500))
    assert {name: metric.unit for name, metric in collector.metrics.items()} == {
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.token.usage": "{token}",
        "gen_ai.server.time_to_first_token": "s",
    }
    bounds = {
        name: tuple(metric.histogram.data_points[0].explicit_bounds)
        for name, metric in collector.metrics.items()
    }
    assert bounds == {
        genai.DURATION: genai.DURATION_BUCKETS_S,
        genai.TOKEN_USAGE: genai.TOKEN_BUCKETS,
        genai.TIME_TO_FIRST_TOKEN: genai.FIRST_TOKEN_BUCKETS_S,
    }


def test_tokens_are_told_apart_as_input_and_output(collector: Collector) -> None:
    export(collector, finished(decision_on(SNAPSHOT), usage=Usage(20, 5)))
    points = collector.metrics[genai.TOKEN_USAGE].histogram.data_points
    assert {plain(p.attributes)["gen_ai.token.type"]: p.sum for p in points} == {
        "input": 20,
        "output": 5,
    }


def test_only_successes_have_a_first_token_and_only_reports_have_tokens(
    collector: Collector,
) -> None:
    failed = finished(decision_on(SNAPSHOT), status=500, usage=None)
    export(collector, failed, finished(decision_on(SNAPSHOT), ttfb_ms=None, usage_estimated=True))
    assert set(collector.metrics) == {genai.DURATION}


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_only_what_is_asked_for_is_exported(collector: Collector, signal: str) -> None:
    wanted = {name: name == signal for name in ("traces", "metrics")}
    export(collector, finished(decision_on(SNAPSHOT)), **wanted)
    assert {path for path, _, _ in collector.requests} == {f"/v1/{signal}"}


def test_headers_of_the_config_go_with_every_export(collector: Collector) -> None:
    export(collector, finished(decision_on(SNAPSHOT)))
    assert len(collector.requests) == 2
    assert all(headers["x-key"] == CANARY for _, headers, _ in collector.requests)


# A collector that is not there


class Log(logging.Handler):
    """What reaches the process's own log; pytest's `caplog` listens at other loggers as well."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.name, record.getMessage()))


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def gone() -> Iterator[Exporter]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    exporter = start(Otlp(f"http://127.0.0.1:{port}", interval_s=0.05), {"x-key": CANARY})
    yield exporter
    exporter.close()


def test_a_collector_that_is_gone_delays_nobody_and_fills_no_log(gone: Exporter, log: Log) -> None:
    done = finished(decision_on(SNAPSHOT))
    began = time.monotonic()
    for _ in range(2 * otlp.SPANS_WAITING_MAX):
        gone.finished(done)
    assert time.monotonic() - began < 5  # about 0.3 on an idle machine
    time.sleep(0.3)
    ((logger, message),) = log.said
    assert logger == "extproc.servers.otlp"
    assert "Connection refused" in message or "Failed to" in message


def test_closing_does_not_wait_for_a_collector_that_is_gone(gone: Exporter) -> None:
    gone.finished(finished(decision_on(SNAPSHOT)))
    began = time.monotonic()
    gone.close()
    assert time.monotonic() - began < otlp.CLOSE_S + otlp.GIVE_UP_S + 1
    left = {thread.name for thread in threading.enumerate()}
    assert not [name for name in left if name.startswith(("Otel", "otlp"))]


def test_a_collector_that_repeats_a_secret_does_not_bring_it_into_the_log(log: Log) -> None:
    with Collector(401, f"no such key {CANARY}") as server:
        export(server, finished(decision_on(SNAPSHOT)))
        server.shutdown()
    ((_, message),) = log.said
    assert "no such key …" in message


# Without the packages


def test_without_the_packages_it_is_said_what_to_install() -> None:
    program = """
import sys
sys.modules["opentelemetry.sdk"] = None
from extproc.servers.telemetry import TelemetryError, start
from extproc.snapshot import Otlp
try:
    start(Otlp("http://127.0.0.1:1"), {})
except TelemetryError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("telemetry.otlp: the package opentelemetry.sdk")
    assert said.endswith("install `extproc[otel]`, or leave telemetry.otlp out\n")
