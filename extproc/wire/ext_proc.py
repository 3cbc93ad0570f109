"""Messages of `envoy.service.ext_proc.v3` ⇄ events and replies of an exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.struct_pb2 import Struct

from extproc.access_log import RECORD_KEY, RECORD_NAMESPACE
from extproc.exchange import Answer, Event, Forward, Proceed, Reply, RequestBody, RequestHeaders
from extproc.snapshot import CHAIN_NAMESPACE, PLAN_NAMESPACE
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
        value = (header.raw_value or header.value.encode()).decode("latin-1")
        earlier = found.get(header.key)
        found[header.key] = value if earlier is None else f"{earlier},{value}"
    return found


def _forward(reply: Forward, record: bytes | None) -> bytes:
    metadata = _recorded(record)
    metadata[CHAIN_NAMESPACE] = reply.chain
    metadata[PLAN_NAMESPACE] = reply.plan
    common = CommonResponse(
        header_mutation=_mutation(reply.headers),
        body_mutation=BodyMutation(body=reply.body),
        # Envoy heeds it in a body response only beside a header mutation.
        clear_route_cache=True,
    )
    return ProcessingResponse(
        request_body=BodyResponse(response=common), dynamic_metadata=metadata
    ).SerializeToString()


def _recorded(record: bytes | None) -> Struct:
    metadata = Struct()
    if record is not None:
        metadata[RECORD_NAMESPACE] = {RECORD_KEY: record.decode()}
    return metadata


def _answer(reply: Answer, record: bytes | None) -> bytes:
    return ProcessingResponse(
        dynamic_metadata=_recorded(record),
        immediate_response=ImmediateResponse(
            status=HttpStatus(code=StatusCode.Name(reply.status)),
            headers=_mutation(reply.headers),
            body=reply.body,
        ),
    ).SerializeToString()


def _mutation(headers: Mapping[str, str]) -> HeaderMutation:
    # No `append`: absent means overwrite; Envoy ignores `append_action` here.
    return HeaderMutation(
        set_headers=[
            HeaderValueOption(header=HeaderValue(key=key, raw_value=value.encode("latin-1")))
            for key, value in headers.items()
        ]
    )
