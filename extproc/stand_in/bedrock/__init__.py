"""Bedrock's Converse, for whatever model it has.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.stand_in.bedrock import converse
from extproc.stand_in.bedrock.answer import error_kind
from extproc.stand_in.dialect import Dialect, Manners
from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai.manners import bears

_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/\s,]+/\d{8}/[a-z0-9-]+/bedrock/aws4_request, ?"
    r"SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, ?Signature=[0-9a-f]{64}"
)


def _check_key(headers: Mapping[str, str]) -> None:
    """A bearer key, or a signature: its form is checked, for there is no secret to check it by."""
    authorization = headers.get("authorization", "")
    if not authorization:
        raise ApiError(403, "Missing Authentication Token", code="MissingAuthenticationToken")
    if bears(headers):
        return
    if not _SIGNED.fullmatch(authorization):
        raise ApiError(
            403,
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
            code="IncompleteSignature",
        )
    if not re.fullmatch(r"\d{8}T\d{6}Z", headers.get("x-amz-date", "")):
        message = "Authorization header requires existence of an 'X-Amz-Date' header."
        raise ApiError(403, message, code="IncompleteSignature")


def _error(error: ApiError, _request_id: str) -> bytes:
    return msgspec.json.encode({"message": error.message})


def _request_headers(request_id: str) -> dict[str, str]:
    groups = (request_id[:8], request_id[8:12], request_id[12:16], request_id[16:20])
    return {"x-amzn-requestid": "-".join((*groups, request_id[20:]))}


BEDROCK: Final = Manners(
    check_key=_check_key,
    request_headers=_request_headers,
    error=_error,
    error_headers=lambda error: {"x-amzn-errortype": error_kind(error)},
    says_retry_after=False,
)
CONVERSE: Final = Dialect(BEDROCK, converse.read)
CONVERSE_STREAM: Final = Dialect(BEDROCK, converse.read_stream)
