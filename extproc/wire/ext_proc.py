"""Messages of `envoy.service.ext_proc.v3` ⇄ events and replies of an exchange."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.struct_pb2 import Struct

from extproc.access_log import RECORD_KEY, RECORD_NAMESPACE, TOLD_KEY
from extproc.exchange import (
    Answer,
    AnswerBody,
    AnswerHeaders,
    Event,
    PassOn,
    Proceed,
    Reply,
    RequestBody,
    RequestHeaders,
    Rewritten,
    TakeAnswer,
)
from extproc.plan import Forward, Plan, Step
from extproc.snapshot import (
    ANSWER_NAMESPACE,
    BODIES_NAMESPACE,
    CHAIN_NAMESPACE,
    PLAN_NAMESPACE,
)
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
from extproc.wire.pb.processing_mode_pb2 import ProcessingMode

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD: Final = "Process"

EXT_PROC: Final = "envoy.filters.http.ext_proc"
"""The filter's name, under which attributes come."""

CODE_DETAILS: Final = "response.code_details"
"""The attribute that says where an answer is from."""

_FROM_PROVIDER: Final = "via_upstream"

# Whether the answer will be needed is known when the body is, but only here can it be asked for.
_PROCEED: Final = ProcessingResponse(request_headers=HeadersResponse()).SerializeToString()
_PROCEED_AND_AWAIT: Final = ProcessingResponse(
    request_headers=HeadersResponse(),
    mode_override=ProcessingMode(
        request_header_mode=ProcessingMode.SEND,
        request_body_mode=ProcessingMode.BUFFERED,
        response_header_mode=ProcessingMode.SEND,
        request_trailer_mode=ProcessingMode.SKIP,
        response_trailer_mode=ProcessingMode.SKIP,
    ),
).SerializeToString()
_PASS_ON: Final = ProcessingResponse(response_headers=HeadersResponse()).SerializeToString()

CHAINS_MAX: Final = 4096
"""Encoded chains that are kept: a config has a few for each route."""

HEADER_CHARS_KEPT_MAX: Final = 200
"""Of all its attempts' own headers, if a chain is to be kept."""

_RESPONSE_BODY: Final = tag(ProcessingResponse.RESPONSE_BODY_FIELD_NUMBER)
_REQUEST_BODY: Final = tag(ProcessingResponse.REQUEST_BODY_FIELD_NUMBER)
_DYNAMIC_METADATA: Final = tag(ProcessingResponse.DYNAMIC_METADATA_FIELD_NUMBER)
_RESPONSE: Final = tag(BodyResponse.RESPONSE_FIELD_NUMBER)
_HEADER_MUTATION: Final = tag(CommonResponse.HEADER_MUTATION_FIELD_NUMBER)
_BODY_MUTATION: Final = tag(CommonResponse.BODY_MUTATION_FIELD_NUMBER)
_BODY: Final = tag(BodyMutation.BODY_FIELD_NUMBER)
_CLEARED: Final = BodyMutation(clear_body=True).SerializeToString()
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
        case "response_headers":
            part = request.response_headers
            details = request.attributes[EXT_PROC].fields[CODE_DETAILS].string_value
            return AnswerHeaders(
                _headers(part.headers), part.end_of_stream, details == _FROM_PROVIDER
            )
        case "response_body":
            return AnswerBody(request.response_body.body, request.response_body.end_of_stream)
        case other:
            raise UnexpectedMessageError(f"{other or 'nothing'} was sent to the router")


def encode(reply: Reply, record: bytes | None = None) -> bytes:
    """`record` is the decision's, in JSON; Envoy hands it on to whoever reads its access log."""
    match reply:
        case Proceed():
            return _PROCEED_AND_AWAIT if reply.awaits_answer else _PROCEED
        case Forward():
            return _forward(reply, record)
        case Answer():
            return _answer(reply, record)
        case PassOn():
            return _PASS_ON
        case TakeAnswer():
            return _take_answer(reply)
        case Rewritten():
            return _rewritten(reply)


def _headers(headers: HeaderMap) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in headers.headers:
        # Envoy fills raw_value only. Latin-1 keeps every byte, as HTTP has it.
        name, value = header.key, (header.raw_value or header.value.encode()).decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _forward(reply: Forward, record: bytes | None) -> bytes:
    chain, candidates = _steps(reply.chain)
    metadata = b"".join(
        [
            chain,
            field(PLAN_NAMESPACE, _plan(reply.plan, candidates)),
            *([_recorded(record)] if record else ()),
            *([field(BODIES_NAMESPACE, _bodies(reply))] if reply.bodies else ()),
        ]
    )
    headers = b"".join([_kept_header(name, value) for name, value in reply.headers.items()])
    common = delimited(_HEADER_MUTATION, headers) + _CLEAR_ROUTE_CACHE
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


def _steps(steps: tuple[Step, ...]) -> tuple[bytes, bytes]:
    """The chain, as a field of the metadata, and what each attempt needs, as one of the plan."""
    # Headers may be a client's own, as long and as many as it likes: those are not kept.
    said = sum([len(value) for step in steps for _, value in step.headers])
    return _kept_chain(steps) if said <= HEADER_CHARS_KEPT_MAX else _written(steps)


def _written(steps: tuple[Step, ...]) -> tuple[bytes, bytes]:
    # As `priority_group` reads it: attempt N goes to group N.
    chain = structure(field("priority_groups", array(*map(_group, steps))))
    return field(CHAIN_NAMESPACE, chain), field("cand", structure(*map(_needs, steps)))


_kept_chain = lru_cache(maxsize=CHAINS_MAX)(_written)


def _group(step: Step) -> bytes:
    cluster = structure(field("cluster_name", text(step.guard)), field("weight", number(1)))
    return structure(field("name", text(step.target)), field("clusters", array(cluster)))


def _plan(plan: Plan, candidates: bytes) -> bytes:
    return structure(
        field("decision", text(plan.decision)),
        field("route", text(plan.route)),
        field("plen", number(plan.prefix_bytes)),
        candidates,
    )


def _needs(step: Step) -> bytes:
    """What the upstream filters need to send the body, made for the first target, to this one."""
    needs = [field("endpoint", text(step.endpoint))]
    if step.prefix is not None:
        needs.append(field("prefix", text(step.prefix)))
    if step.carried:
        needs.append(field("carried", number(1)))
    if step.headers:
        headers = [field(name, text(value)) for name, value in step.headers]
        needs.append(field("headers", structure(*headers)))
    return field(step.target, structure(*needs))


def _bodies(reply: Forward) -> bytes:
    """The bodies of those targets that can't be given the one that is sent."""
    return structure(*[field(name, text(body.decode())) for name, body in reply.bodies.items()])


def _take_answer(reply: TakeAnswer) -> bytes:
    mode = ProcessingMode.BUFFERED if reply.buffered else ProcessingMode.STREAMED
    common = CommonResponse(
        header_mutation=HeaderMutation(
            set_headers=[
                HeaderValueOption(header=HeaderValue(key=name, raw_value=value.encode("latin-1")))
                for name, value in (("content-type", reply.content_type), *reply.headers)
            ],
            # What is compressed, though no provider is to, can't be read: the client gets an error.
            remove_headers=["content-length", "content-encoding"],
        )
    )
    return ProcessingResponse(
        response_headers=HeadersResponse(response=common),
        mode_override=ProcessingMode(
            response_header_mode=ProcessingMode.SEND, response_body_mode=mode
        ),
    ).SerializeToString()


def _rewritten(reply: Rewritten) -> bytes:
    # An empty body in a mutation would leave the one there is.
    body = delimited(_BODY, reply.body) if reply.body else _CLEARED
    common = delimited(_BODY_MUTATION, body)
    if reply.headers:
        common = delimited(_HEADER_MUTATION, _mutation(reply.headers)) + common
    told = delimited(_DYNAMIC_METADATA, _told(reply.told)) if reply.told else b""
    return told + delimited(_RESPONSE_BODY, delimited(_RESPONSE, common))


def _told(told: bytes) -> bytes:
    return field(ANSWER_NAMESPACE, structure(field(TOLD_KEY, text(told.decode()))))


def _recorded(record: bytes) -> bytes:
    return field(RECORD_NAMESPACE, structure(field(RECORD_KEY, text(record.decode()))))


def _answer(reply: Answer, record: bytes | None) -> bytes:
    metadata = (_recorded(record) if record else b"") + (_told(reply.told) if reply.told else b"")
    return ProcessingResponse(
        dynamic_metadata=Struct.FromString(metadata) if metadata else None,
        immediate_response=ImmediateResponse(
            status=HttpStatus(code=StatusCode.Name(reply.status)),
            headers=HeaderMutation.FromString(_mutation(reply.headers)),
            body=reply.body,
        ),
    ).SerializeToString()


def _mutation(headers: Mapping[str, str]) -> bytes:
    # No `append`: absent means overwrite; Envoy ignores `append_action` here.
    return b"".join([_set_header(name, value) for name, value in headers.items()])


def _set_header(name: str, value: str) -> bytes:
    header = delimited(_KEY, name.encode()) + delimited(_RAW_VALUE, value.encode("latin-1"))
    return delimited(_SET_HEADERS, delimited(_HEADER, header))


# Those of a request that is sent on: few, and short.
_kept_header = lru_cache(maxsize=1024)(_set_header)
