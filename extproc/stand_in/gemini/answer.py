"""Gemini: the answer, as one object, as a stream of events or as an array that grows.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from extproc.stand_in.answer import Answer, words
from extproc.stand_in.dialect import EVENT_STREAM
from extproc.stand_in.errors import ApiError
from extproc.stand_in.sample import Json, Object
from extproc.stand_in.signature import sign

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_body(error: ApiError, _request_id: str = "") -> bytes:
    """As https://cloud.google.com/apis/design/errors has it."""
    usual = "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT"
    details: list[Json] = []
    if error.wait_s is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": f"{error.wait_s}s"})
    told: Object = {
        "code": error.status,
        "message": error.message,
        "status": _STATUSES.get(error.status, usual),
    }
    return msgspec.json.encode({"error": told | ({"details": details} if details else {})})


@dataclass(frozen=True, slots=True)
class GeminiWriter:
    """`is_third` is for the models that sign their calls and number them."""

    is_sse: bool
    shows_thoughts: bool
    is_third: bool

    @property
    def stream_type(self) -> str:
        return EVENT_STREAM if self.is_sse else "application/json; charset=UTF-8"

    def whole(self, answer: Answer) -> bytes:
        parts = self._thoughts([answer.thinking])
        if answer.text or not answer.calls:
            said: Object = {"text": answer.text}
            parts.append(said | self._signed(answer))
        parts += self._calls(answer)
        return msgspec.json.encode(_chunk(answer, parts, _finish(answer)))

    def stream(self, answer: Answer) -> Iterator[bytes]:
        chunks = [[part] for part in self._thoughts(list(words(answer.thinking)))]
        chunks += [[{"text": word}] for word in words(answer.text)]
        if answer.calls:  # they come whole, and together
            chunks.append(self._calls(answer))
        for number, parts in enumerate(chunks):
            yield self._framed(msgspec.json.encode(_chunk(answer, parts)), number)
        end: Object = {"text": ""}
        end |= {} if answer.calls else self._signed(answer)
        last = msgspec.json.encode(_chunk(answer, [end], _finish(answer)))
        yield self._framed(last, len(chunks))
        if not self.is_sse:
            yield b"\r\n]\r\n"

    def error_event(self, error: ApiError, sent: int) -> bytes:
        return self._framed(error_body(error), sent) + (b"" if self.is_sse else b"\r\n]\r\n")

    def _framed(self, chunk: bytes, number: int) -> bytes:
        if self.is_sse:
            return b"data: " + chunk + b"\r\n\r\n"
        return (b",\r\n" if number else b"[") + chunk

    def _thoughts(self, texts: list[str]) -> list[Json]:
        if not self.shows_thoughts:
            return []
        return [{"text": text, "thought": True} for text in texts if text]

    def _calls(self, answer: Answer) -> list[Json]:
        """Of several calls, the first is the one that is signed."""
        parts: list[Json] = []
        for index, call in enumerate(answer.calls):
            told: Object = {"name": call.name, "args": call.value()}
            if self.is_third:
                told["id"] = call.id[-8:]
            part: Object = {"functionCall": told}
            parts.append(part | (self._signed(answer) if index == 0 else {}))
        return parts

    def _signed(self, answer: Answer) -> Object:
        if not (self.is_third or answer.thinking):
            return {}
        return {"thoughtSignature": sign(answer.provider, answer.thinking)}


def _finish(answer: Answer) -> str:
    return "MAX_TOKENS" if answer.ending == "cut" else "STOP"


def _chunk(answer: Answer, parts: list[Json], finish: str | None = None) -> Object:
    """Usage grows with the stream; here it is whole in every chunk."""
    candidate: Object = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(answer),
        "modelVersion": answer.model,
        "responseId": answer.id[:22],
    }


def _usage(answer: Answer) -> Object:
    """What was thought is not part of `candidatesTokenCount`; what was cached is of the prompt's.

    https://ai.google.dev/api/generate-content#UsageMetadata
    """
    said = answer.completion_tokens - answer.reasoning_tokens
    prompt = answer.prompt_tokens
    usage: Object = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": said,
        "totalTokenCount": answer.total_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if answer.reasoning_tokens:
        usage["thoughtsTokenCount"] = answer.reasoning_tokens
    if answer.cached_tokens:
        usage["cachedContentTokenCount"] = answer.cached_tokens
    return usage
