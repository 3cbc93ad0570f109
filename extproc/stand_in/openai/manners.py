"""Keys, request ids and errors as at OpenAI.

https://platform.openai.com/docs/guides/error-codes and .../api-reference/debugging-requests
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.stand_in.dialect import Manners
from extproc.stand_in.errors import ApiError
from extproc.stand_in.question import Media, MediaKind, data_url, linked
from extproc.stand_in.reading import Misfit, Reader, brackets
from extproc.stand_in.strict import open_object


def error_kind(status: int) -> str:
    if status == 429:
        return "rate_limit_exceeded"
    return "server_error" if status >= 500 else "invalid_request_error"


def error_object(error: ApiError) -> dict[str, str | None]:
    return {
        "message": error.message,
        "type": error_kind(error.status),
        "param": error.param,
        "code": error.code or ("rate_limit_exceeded" if error.status == 429 else None),
    }


def error_body(error: ApiError, _request_id: str = "") -> bytes:
    return msgspec.json.encode({"error": error_object(error)})


def bears(headers: Mapping[str, str]) -> bool:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


def _check_key(headers: Mapping[str, str]) -> None:
    if not bears(headers):
        raise ApiError(
            401,
            "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.",
            code="invalid_api_key",
        )


def _refusal(misfit: Misfit) -> ApiError:
    place = brackets(misfit.at)
    match misfit.kind:
        case "json":
            return ApiError(400, "We could not parse the JSON body of your request.")
        case "unknown":
            message = f"Unknown parameter: '{place}'."
            return ApiError(400, message, param=place, code="unknown_parameter")
        case "missing":
            return missing(place)
        case _:
            message = f"Invalid value for '{place}': {misfit.what}"
            return ApiError(400, message, code="invalid_type")


decoded = Reader(_refusal)


def missing(place: str) -> ApiError:
    message = f"Missing required parameter: '{place}'."
    return ApiError(400, message, param=place, code="missing_required_parameter")


def invalid(place: str, why: str, code: str = "invalid_value") -> ApiError:
    return ApiError(400, f"Invalid '{place}': {why}", param=place, code=code)


def check_strict(schema: object, name: str, place: str) -> None:
    """`name` is the function's, or the format's, that the schema belongs to."""
    found = open_object(schema, all_required=True)
    if found is not None:
        message = (
            f"Invalid schema for '{name}': In context={found}, 'additionalProperties' is required "
            "to be supplied and to be false, and 'required' to include every key in properties."
        )
        kind = "function" if place.startswith("tools") else "schema"
        raise ApiError(400, message, param=place, code=f"invalid_{kind}_parameters")


def media(kind: MediaKind, url: str, place: str) -> Media:
    """What is at a URL, which may be a `data:` one."""
    if url.startswith(("https://", "http://")):
        return linked(kind, url)
    try:
        return data_url(kind, url)
    except ValueError:
        why = "expected a URL or 'data:TYPE;base64,' and base64."
        raise invalid(place, why, "invalid_image_url") from None


OPENAI = Manners(
    check_key=_check_key,
    request_headers=lambda request_id: {"x-request-id": f"req_{request_id}"},
    error=error_body,
    limits="openai",
)
