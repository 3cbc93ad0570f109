"""Spans and metrics over OTLP: the OpenTelemetry SDK, bounded and kept quiet.

HTTP rather than gRPC: it passes proxies and ingresses, every collector takes it, and it keeps the
exporter's channel apart from the gRPC server that requests come in by.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from extproc import __version__
from extproc.outcome import Finished
from extproc.servers import genai
from extproc.servers.genai import Call, call_of
from extproc.snapshot import Otlp

SPANS_WAITING_MAX: Final = 2048
"""Spans that wait for the collector; with more, the oldest go."""

SPANS_PER_EXPORT: Final = 512
SPANS_EVERY_S: Final = 5.0
EXPORT_TIMEOUT_S: Final = 10.0

CLOSE_S: Final = 3.0
"""How long `close` waits for the last export."""

GIVE_UP_S: Final = 1.0
"""How long it waits then for the exporters to give up."""

SAY_S: Final = 60.0
"""How often the log says that exporting fails."""

_MESSAGE_CHARS: Final = 200
_NS: Final = 1_000_000_000
_log = logging.getLogger(__name__)


class OtlpExporter:
    """One span and its measurements for each finished request."""

    def __init__(self, otlp: Otlp, headers: Mapping[str, str]) -> None:
        self._voice = _Voice(headers.values())
        self._voice.take()
        # What the environment says (OTEL_SERVICE_NAME and the like) goes before our own names.
        own = Resource({"service.name": "extproc", "service.version": __version__})
        resource = own.merge(OTELResourceDetector().detect())
        self._traces = _Traces(otlp, headers, resource) if otlp.traces else None
        self._metrics = _Metrics(otlp, headers, resource) if otlp.metrics else None

    def finished(self, finished: Finished) -> None:
        call = call_of(finished)
        if self._traces:
            self._traces.export(finished, call)
        if self._metrics:
            self._metrics.record(finished, call)

    def close(self) -> None:
        # In a thread: a collector that is not there would take more time than there is.
        closing = threading.Thread(target=self._shut_down, name="otlp-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            for signal in self._signals:
                signal.give_up()
            closing.join(GIVE_UP_S)
        # What still runs then goes on to speak through this one, which keeps its secrets.
        if not closing.is_alive():
            self._voice.give_back()

    @property
    def _signals(self) -> list[_Traces | _Metrics]:
        return [signal for signal in (self._traces, self._metrics) if signal]

    def _shut_down(self) -> None:
        for signal in self._signals:
            signal.shut_down()


class _Traces:
    def __init__(self, otlp: Otlp, headers: Mapping[str, str], resource: Resource) -> None:
        self._exporter = OTLPSpanExporter(
            f"{otlp.endpoint}/v1/traces", headers=headers, timeout=EXPORT_TIMEOUT_S
        )
        # By default it follows the parent: what the client does not sample is not exported.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=SPANS_WAITING_MAX,
                max_export_batch_size=SPANS_PER_EXPORT,
                schedule_delay_millis=min(SPANS_EVERY_S, otlp.interval_s) * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("extproc", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def export(self, finished: Finished, call: Call) -> None:
        parent = finished.traceparent
        began_ns = int(finished.began * _NS)
        span = self._tracer.start_span(
            call.name,
            context=self._propagator.extract({"traceparent": parent}) if parent else None,
            kind=SpanKind.CLIENT,
            attributes=call.attributes,
            start_time=began_ns,
        )
        if call.error:
            span.set_status(StatusCode.ERROR)
        span.end(began_ns + int(finished.outcome.duration_ms * 1_000_000))

    def shut_down(self) -> None:
        self._provider.shutdown()

    def give_up(self) -> None:
        """End the export that is under way, and with it `shut_down`."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _Metrics:
    def __init__(self, otlp: Otlp, headers: Mapping[str, str], resource: Resource) -> None:
        self._exporter = OTLPMetricExporter(
            f"{otlp.endpoint}/v1/metrics", headers=dict(headers), timeout=EXPORT_TIMEOUT_S
        )
        reader = PeriodicExportingMetricReader(self._exporter, otlp.interval_s * 1000)
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("extproc", __version__)
        self._duration = meter.create_histogram(
            genai.DURATION,
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=genai.DURATION_BUCKETS_S,
        )
        self._tokens = meter.create_histogram(
            genai.TOKEN_USAGE,
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=genai.TOKEN_BUCKETS,
        )
        self._first_token = meter.create_histogram(
            genai.TIME_TO_FIRST_TOKEN,
            "s",
            "Time to generate first token for successful responses.",
            explicit_bucket_boundaries_advisory=genai.FIRST_TOKEN_BUCKETS_S,
        )

    def record(self, finished: Finished, call: Call) -> None:
        outcome = finished.outcome
        self._duration.record(outcome.duration_ms / 1000, call.common)
        if outcome.ttfb_ms is not None and call.error is None:
            self._first_token.record(outcome.ttfb_ms / 1000, call.common)
        if outcome.usage and not outcome.usage_estimated:
            usage = outcome.usage
            for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                self._tokens.record(tokens, {**call.common, genai.TOKEN_TYPE: kind})

    def shut_down(self) -> None:
        self._provider.shutdown()

    def give_up(self) -> None:
        """End the export that is under way, and with it `shut_down`."""
        self._exporter.shutdown()


class _Voice(logging.Handler):
    """What the SDK has to say, once a minute and without secrets: a collector may be gone long."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__(logging.WARNING)
        self._secrets = tuple(secret for secret in secrets if secret)
        self._unsaid = 0
        self._say_after = 0.0
        self._logger = logging.getLogger("opentelemetry")

    def take(self) -> None:
        self._logger.addHandler(self)
        self._logger.propagate = False

    def give_back(self) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now < self._say_after:
            self._unsaid += 1
            return
        self._say_after = now + SAY_S
        unsaid, self._unsaid = self._unsaid, 0
        message = record.getMessage()
        for secret in self._secrets:
            message = message.replace(secret, "…")
        _log.warning("OpenTelemetry: %s (%d more before)", message[:_MESSAGE_CHARS], unsaid)
