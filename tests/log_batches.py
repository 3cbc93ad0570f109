"""Batches of access log entries as Envoy sends them, made from fields by their names."""

from collections.abc import Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from extproc.access_log import ATTEMPTS, LIMIT_HEADERS, LOG_NAME, REQUESTS

ATTEMPT = {
    "request_id": "7d72-1",
    "attempt": "1",
    "target": "openai/gpt-4o",
    "began": "1767225600.250000",
    "status": "200",
    "flags": "-",
    "first_byte_us": "310250",
    "last_byte_us": "1840000",
    "duration_ms": "1840",
    "content_type": "application/json",
}
REQUEST = {
    "request_id": "7d72-1",
    "attempt": "1",
    "target": "openai/gpt-4o",
    "began": "1767225600.000000",
    "status": "200",
    "flags": "-",
    "first_byte_us": "320000",
    "last_byte_us": "1850000",
    "duration_ms": "1850",
    "upstream_us": "315000",
    "traceparent": "-",
    "record": "{}",
    "model": "gpt-4o-2024-08-06",
    "input_tokens": "800",
    "output_tokens": "200",
    "cache_read_tokens": "500",
    "cache_write_tokens": "-",
    "reasoning_tokens": "50",
}


def batch(log: str, *entries: Mapping[str, str]) -> bytes:
    records = [LogRecord(attributes=_attributes(fields)) for fields in entries]
    logs = ResourceLogs(
        resource=Resource(attributes=_attributes({LOG_NAME: log})),
        scope_logs=[ScopeLogs(log_records=records)],
    )
    return ExportLogsServiceRequest(resource_logs=[logs]).SerializeToString()


def attempts(*entries: Mapping[str, str]) -> bytes:
    """Each entry is what differs from `ATTEMPT`, rate-limit headers by their names."""
    return batch(ATTEMPTS, *(_attempt(fields) for fields in entries))


def _attempt(changed: Mapping[str, str]) -> Mapping[str, str]:
    lines = "\n".join(changed.get(name, "-") for name in LIMIT_HEADERS)
    return ATTEMPT | {"limits": lines} | dict(changed)


def requests(*entries: Mapping[str, str]) -> bytes:
    """Each entry is what differs from `REQUEST`."""
    return batch(REQUESTS, *(REQUEST | dict(fields) for fields in entries))


def _attributes(fields: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in fields.items()]
