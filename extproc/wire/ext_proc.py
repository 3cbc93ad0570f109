"""Messages of `envoy.service.ext_proc.v3` ⇄ events and replies of an exchange."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.struct_pb2 import Struct

from extproc.access_log import RECORD_KEY, RECORD_NAMESPACE
from extproc.exchange import (
    Answer,
    Event,
    Forward,
    Plan,
    Proceed,
    Reply,
    RequestBody,
    RequestHeaders,
    Step,
)
from extproc.snapshot import CHAIN_NAMESPACE, PLAN_NAMESPACE
from extproc.wire.encoding import array, delimited, field, number, structure, tag, text, varint
from extproc.wire.pb.core_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from extproc.wire.pb.ext_proc_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
)
from extproc.wire.pb.http_status_pb2 import HttpStatus, StatusCode

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD: Final = "Process"

_PROCEED: Final = ProcessingResponse(request_headers=HeadersResponse()).SerializeToString()

STEPS_MAX: Final = 4096
"""Encoded attempts that are kept; a config has one for each guard and way to rewrite a payload."""

_REQUEST_BODY: Final = tag(ProcessingResponse.REQUEST_BODY_FIELD_NUMBER)
_DYNAMIC_METADATA: Final = tag(ProcessingResponse.DYNAMIC_METADATA_FIELD_NUMBER)
_RESPONSE: Final = tag(BodyResponse.RESPONSE_FIELD_NUMBER)
_HEADER_MUTATION: Final = tag(CommonResponse.HEADER_MUTATION_FIELD_NUMBER)
_BODY_MUTATION: Final = tag(CommonResponse.BODY_MUTATION_FIELD_NUMBER)
_BODY: Final = tag(BodyMutation.BODY_FIELD_NUMBER)
_SET_HEADERS: Final = tag(HeaderMutation.SET_HEADERS_FIELD_NUMBER)
_HEADER: Final = tag(HeaderValueOption.HEADER_FIELD_NUMBER)
_KEY: Final = tag(HeaderValue.KEY_FIELD_NUMBER)
_RAW_VALUE: Final = tag(HeaderValue.RAW_VALUE_FIELD_NUMBER)
# Envoy heeds it in a body response only beside a header mutation.
_CLEAR_ROUTE_CACHE: Final = CommonResponse(clear_route_cache=True).SerializeToString()


class UnexpectedMessageError(Exception):
    """Envoy sent a part that this filter's processing mode does not ask for."""


def decode(message: bytes) -> Event:
    """Raises `UnexpectedMessageError`, or protobuf's `DecodeError` if it is no message at all."""
    request = ProcessingRequest.FromString(message)
    match request.WhichOneof("request"):
        case "request_headers":
            part = request.request_headers
            return RequestHeaders(_headers(part.headers), part.end_of_stream)
        case "request_body":
            return RequestBody(request.request_body.body)
        case other:
            raise UnexpectedMessageError(f"{other or 'nothing'} was sent to the router")


def encode(reply: Reply, record: bytes | None = None) -> bytes:
    """`record` is the decision's, in JSON; Envoy hands it on to whoever reads its access log."""
    match reply:
        case Proceed():
            return _PROCEED
        case Forward():
            return _forward(reply, record)
        case Answer():
            return _answer(reply, record)


def _headers(headers: HeaderMap) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in headers.headers:
        # Envoy fills raw_value only. Latin-1 keeps every byte, as HTTP has it.
        name, value = header.key, (header.raw_value or header.value.encode()).decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _forward(reply: Forward, record: bytes | None) -> bytes:
    metadata = b"".join(
        [
            field(CHAIN_NAMESPACE, _chain(reply.chain)),
            field(PLAN_NAMESPACE, _plan(reply.plan, reply.chain)),
            *([_recorded(record)] if record else ()),
        ]
    )
    common = delimited(_HEADER_MUTATION, _mutation(reply.headers)) + _CLEAR_ROUTE_CACHE
    # From the inside out, so that the body, last in each message, is copied once.
    head = b""
    for before, holder in (
        (b"", _BODY),
        (common, _BODY_MUTATION),
        (b"", _RESPONSE),
        (delimited(_DYNAMIC_METADATA, metadata), _REQUEST_BODY),
    ):
        head = before + holder + varint(len(head) + len(reply.body)) + head
    return head + reply.body


def _chain(steps: tuple[Step, ...]) -> bytes:
    """As `priority_group` reads it: attempt N goes to group N."""
    return structure(field("priority_groups", array(*map(_group, steps))))


@lru_cache(maxsize=STEPS_MAX)
def _group(step: Step) -> bytes:
    cluster = structure(field("cluster_name", text(step.guard)), field("weight", number(1)))
    return structure(field("name", text(step.target)), field("clusters", array(cluster)))


def _plan(plan: Plan, steps: tuple[Step, ...]) -> bytes:
    return structure(
        field("decision", text(plan.decision)),
        field("route", text(plan.route)),
        field("plen", number(plan.prefix_bytes)),
        field("cand", structure(*map(_needs, steps))),
    )


@lru_cache(maxsize=STEPS_MAX)
def _needs(step: Step) -> bytes:
    """What the upstream filters need to send the body, made for the first target, to this one."""
    needs = [field("endpoint", text(step.endpoint))]
    if step.prefix is not None:
        needs.append(field("prefix", text(step.prefix)))
    return field(step.target, structure(*needs))


def _recorded(record: bytes) -> bytes:
    return field(RECORD_NAMESPACE, structure(field(RECORD_KEY, text(record.decode()))))


def _answer(reply: Answer, record: bytes | None) -> bytes:
    return ProcessingResponse(
        dynamic_metadata=Struct.FromString(_recorded(record)) if record else None,
        immediate_response=ImmediateResponse(
            status=HttpStatus(code=StatusCode.Name(reply.status)),
            headers=HeaderMutation.FromString(_mutation(reply.headers)),
            body=reply.body,
        ),
    ).SerializeToString()


def _mutation(headers: Mapping[str, str]) -> bytes:
    # No `append`: absent means overwrite; Envoy ignores `append_action` here.
    return b"".join(
        [
            delimited(_SET_HEADERS, delimited(_HEADER, _header(name, value)))
            for name, value in headers.items()
        ]
    )


def _header(name: str, value: str) -> bytes:
    return delimited(_KEY, name.encode()) + delimited(_RAW_VALUE, value.encode("latin-1"))
