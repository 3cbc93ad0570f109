"""Converse: the answer, as one object or as a stream of binary events.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from extproc.stand_in.answer import Answer, Call, pieces, words
from extproc.stand_in.bedrock import eventstream
from extproc.stand_in.errors import ApiError
from extproc.stand_in.sample import Json, Object
from extproc.stand_in.signature import CLAUDE, sign

LATENCY_MS = 250
"""What every answer is said to have taken."""

_STOP: Final = {"said": "end_turn", "called": "tool_use", "cut": "max_tokens"}
_KINDS: Final = {
    403: "AccessDenied",
    404: "ResourceNotFound",
    408: "ModelTimeout",
    424: "ModelError",
    429: "Throttling",
    503: "ServiceUnavailable",
}


def error_kind(error: ApiError) -> str:
    usual = "InternalServer" if error.status >= 500 else "Validation"
    return (error.code or _KINDS.get(error.status, usual)) + "Exception"


@dataclass(frozen=True, slots=True)
class ConverseWriter:
    stream_type: str = eventstream.CONTENT_TYPE

    def whole(self, answer: Answer) -> bytes:
        content: list[Json] = []
        if answer.thinking:
            told: Object = {"text": answer.thinking, "signature": _signature(answer)}
            content.append({"reasoningContent": {"reasoningText": told}})
        if answer.text or not answer.calls:
            content.append({"text": answer.text})
        content += [{"toolUse": _call(call) | {"input": call.value()}} for call in answer.calls]
        body: Object = {
            "metrics": {"latencyMs": LATENCY_MS},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": _STOP[answer.ending],
            "usage": _usage(answer),
        }
        return msgspec.json.encode(body)

    def stream(self, answer: Answer) -> Iterator[bytes]:
        """Only a block that is a call has a start, as at the real one."""
        yield _event("messageStart", {"role": "assistant"})
        for index, (start, deltas) in enumerate(_blocks(answer)):
            place: Object = {"contentBlockIndex": index}
            if start:
                yield _event("contentBlockStart", place | {"start": start})
            for delta in deltas:
                yield _event("contentBlockDelta", place | {"delta": delta})
            yield _event("contentBlockStop", place)
        yield _event("messageStop", {"stopReason": _STOP[answer.ending]})
        usage: Object = {"metrics": {"latencyMs": LATENCY_MS}, "usage": _usage(answer)}
        yield _event("metadata", usage)

    def error_event(self, error: ApiError, sent: int) -> bytes:  # noqa: ARG002
        kind = error_kind(error)
        headers = {
            ":exception-type": kind[0].lower() + kind[1:],
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        return eventstream.message(headers, msgspec.json.encode({"message": error.message}))


def _blocks(answer: Answer) -> Iterator[tuple[Object, Iterator[Object]]]:
    if answer.thinking:
        yield {}, _thinking_deltas(answer)
    if answer.text or not answer.calls:
        yield {}, ({"text": word} for word in words(answer.text))
    for call in answer.calls:
        yield (
            {"toolUse": _call(call)},
            ({"toolUse": {"input": piece}} for piece in pieces(call.arguments)),
        )


def _thinking_deltas(answer: Answer) -> Iterator[Object]:
    for word in words(answer.thinking):
        yield {"reasoningContent": {"text": word}}
    yield {"reasoningContent": {"signature": _signature(answer)}}


def _event(name: str, data: Object) -> bytes:
    """`p` is padding, so that the lengths of frames do not give the words away."""
    headers = {
        ":event-type": name,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    padding = "abcdefghijklmnopqrstuvwxyz"[: len(name)]
    return eventstream.message(headers, msgspec.json.encode(data | {"p": padding}))


def _call(call: Call) -> Object:
    return {"toolUseId": f"tooluse_{call.id}", "name": call.name}


def _signature(answer: Answer) -> str:
    return sign(CLAUDE, answer.thinking)


def _usage(answer: Answer) -> Object:
    """What was cached is not part of `inputTokens`, but of the total."""
    return {
        "inputTokens": answer.prompt_tokens - answer.cached_tokens,
        "outputTokens": answer.completion_tokens,
        "totalTokens": answer.total_tokens,
        "cacheReadInputTokens": answer.cached_tokens,
        "cacheWriteInputTokens": 0,
    }
