"""What Bedrock says when it serves no answer, or breaks one off.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.upstream_error import upstream_error
from extproc.vocabulary import Refusal

_KINDS: Final = {408: "upstream_failed", 424: "upstream_failed"}
_EXCEPTIONS: Final = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}
"""The status that each exception of a stream would have had before it began."""

_WORDLESS: Final = "The provider gave no reason."


class _Body(Struct):
    """`message` is Bedrock's own spelling, `Message` that of what stands before it at AWS."""

    message: object = None
    Message: object = None

    @property
    def words(self) -> str:
        said = self.message or self.Message
        return said if isinstance(said, str) else ""


_body = msgspec.json.Decoder(_Body)


def read_error(status: int, body: bytes) -> Refusal:
    """Why the provider refused. The type stands in a header, so here the status has to tell."""
    return _refusal(status, _read(body).words)


def read_exception(headers: Mapping[str, str], payload: bytes) -> Refusal:
    """Why the provider broke a stream off: an exception of its own, or an error of the transport.

    https://smithy.io/2.0/spec/event-streams.html says how the two are told from events.
    """
    name = headers.get(":exception-type") or headers.get(":error-code", "")
    words = _read(payload).words or headers.get(":error-message", "")
    return _refusal(_EXCEPTIONS.get(name, 502), words)


def _read(body: bytes) -> _Body:
    try:
        return _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Body()


def _refusal(status: int, words: str) -> Refusal:
    return upstream_error(status, words or _WORDLESS, kinds=_KINDS)
