"""Batches of Envoy's access logs, as OTLP carries them → attempts and ended requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from extproc.access_log import ATTEMPTS, LIMIT_HEADERS, LOG_NAME, REQUESTS, Field, Told
from extproc.outcome import (
    Attempt,
    Ended,
    Ending,
    Failure,
    Usage,
    is_providers_failure,
    reported_usage,
)
from extproc.vocabulary import ReportedModel, TargetId

SERVICE: Final = "opentelemetry.proto.collector.logs.v1.LogsService"
METHOD: Final = "Export"
TAKEN: Final = ExportLogsServiceResponse().SerializeToString()

Fields = Mapping[str, str]

_decode_told: Final = msgspec.json.Decoder(Told).decode

_ABSENT: Final = frozenset({"", "-"})
_NO_LIMITS: Final = "\n".join("-" for _ in LIMIT_HEADERS)
_EVENT_STREAM: Final = "text/event-stream"

_TIMED_OUT: Final = frozenset({"UT", "SI"})
_NOT_REACHED: Final = frozenset({"UF", "UH", "UO"})
_BROKEN_OFF: Final = frozenset({"UR", "UC", "UPE", "LR", "UMSDR"})
_LEFT: Final = frozenset({"DC", "DR"})
"""Response flags, as Envoy's %RESPONSE_FLAGS% abbreviates them."""


class UnreadableEntryError(Exception):
    """An entry that lacks what it is useless without, or has no number where one belongs."""


def entries_of(message: bytes) -> Iterable[tuple[str, Fields]]:
    """Each entry's log and the fields that it has. Raises protobuf's `DecodeError`."""
    for batch in ExportLogsServiceRequest.FromString(message).resource_logs:
        log = next(
            (a.value.string_value for a in batch.resource.attributes if a.key == LOG_NAME), ""
        )
        for scope in batch.scope_logs:
            for entry in scope.log_records:
                yield log, _fields(entry.attributes)


def read(log: str, fields: Fields) -> Attempt | Ended | None:
    """What an entry tells; None for an attempt that reached no target, or another's log.

    Raises:
        UnreadableEntryError: for an entry that is not as Envoy was told to write it.

    """
    try:
        if log == REQUESTS:
            return _ended(fields)
        if log == ATTEMPTS and Field.TARGET in fields:
            return _attempt(fields)
    except (KeyError, ValueError) as error:
        raise UnreadableEntryError(f"{log}: {type(error).__name__}") from None
    return None


def _fields(attributes: Iterable[KeyValue]) -> dict[str, str]:
    found = {}
    for attribute in attributes:
        value = attribute.value.string_value
        if value not in _ABSENT:
            found[attribute.key] = value
    return found


def _attempt(fields: Fields) -> Attempt:
    status = int(fields.get(Field.STATUS, "0")) or None
    return Attempt(
        request_id=fields[Field.REQUEST_ID],
        number=int(fields[Field.ATTEMPT]),
        target=TargetId(fields[Field.TARGET]),
        began=float(fields[Field.BEGAN]),
        status=status,
        failure=_failure(status, _flags(fields)),
        ttfb_ms=_milliseconds(fields, Field.FIRST_BYTE_US),
        duration_ms=_duration_ms(fields),
        streamed=fields.get(Field.CONTENT_TYPE, "").startswith(_EVENT_STREAM),
        headers=_limits(fields.get(Field.LIMITS, _NO_LIMITS)),
    )


def _limits(lines: str) -> Mapping[str, str]:
    if lines == _NO_LIMITS:
        return {}
    told = zip(LIMIT_HEADERS, lines.split("\n"), strict=True)
    return {name: value for name, value in told if value not in _ABSENT}


def _failure(status: int | None, flags: frozenset[str]) -> Failure | None:
    if flags & _TIMED_OUT:
        return Failure.TIMEOUT
    if flags & _NOT_REACHED:
        return Failure.CONNECT
    if flags & _BROKEN_OFF:
        return Failure.RESET
    return Failure.STATUS if status is not None and is_providers_failure(status) else None


def _ended(fields: Fields) -> Ended:
    answered = Field.UPSTREAM_US in fields and Field.TARGET in fields
    told = _told(fields)
    model = told.model if told else fields.get(Field.MODEL)
    return Ended(
        request_id=fields[Field.REQUEST_ID],
        record=fields[Field.RECORD],
        began=float(fields[Field.BEGAN]),
        target=TargetId(fields[Field.TARGET]) if answered else None,
        attempts=int(fields.get(Field.ATTEMPT, "0")),
        status=int(fields.get(Field.STATUS, "0")),
        ttfb_ms=_milliseconds(fields, Field.FIRST_BYTE_US),
        duration_ms=_duration_ms(fields),
        ending=_ending(
            _flags(fields),
            answered=answered,
            # A router that was killed while it translated leaves no flag, and tells nothing.
            whole=Field.LAST_BYTE_US in fields and (told is None or told.whole),
        ),
        usage=_usage_told(told) if told else _usage(fields),
        reported_model=ReportedModel(model) if model else None,
        traceparent=fields.get(Field.TRACEPARENT),
    )


def _ending(flags: frozenset[str], *, answered: bool, whole: bool) -> Ending:
    if flags & _LEFT:
        return Ending.ABORTED
    if answered and (not whole or flags & (_BROKEN_OFF | _TIMED_OUT)):
        return Ending.TRUNCATED
    return Ending.COMPLETE


def _usage(fields: Fields) -> Usage | None:
    """None unless both counts are there: half of a usage is no ground for a cost."""
    if Field.INPUT_TOKENS not in fields or Field.OUTPUT_TOKENS not in fields:
        return None
    return reported_usage(
        int(fields[Field.INPUT_TOKENS]),
        int(fields[Field.OUTPUT_TOKENS]),
        cache_read_tokens=int(fields.get(Field.CACHE_READ_TOKENS, "0")),
        cache_write_tokens=int(fields.get(Field.CACHE_WRITE_TOKENS, "0")),
        reasoning_tokens=int(fields.get(Field.REASONING_TOKENS, "0")),
    )


def _told(fields: Fields) -> Told | None:
    """What a translated answer told, which Envoy sees only as the client's dialect has it."""
    said = fields.get(Field.TOLD)
    return _decode_told(said) if said else None


def _usage_told(told: Told) -> Usage | None:
    if told.input_tokens is None or told.output_tokens is None:
        return None
    return reported_usage(
        told.input_tokens,
        told.output_tokens,
        cache_read_tokens=told.cache_read_tokens or 0,
        cache_write_tokens=told.cache_write_tokens or 0,
        reasoning_tokens=told.reasoning_tokens or 0,
    )


def _flags(fields: Fields) -> frozenset[str]:
    said = fields.get(Field.FLAGS)
    return frozenset(said.split(",")) if said else frozenset()


def _milliseconds(fields: Fields, name: Field) -> float | None:
    said = fields.get(name)
    return None if said is None else int(said) / 1000


def _duration_ms(fields: Fields) -> float:
    """To the last byte or, where none came, to the end, of which Envoy tells no fractions."""
    to_last_byte = _milliseconds(fields, Field.LAST_BYTE_US)
    return float(fields[Field.DURATION_MS]) if to_last_byte is None else to_last_byte
