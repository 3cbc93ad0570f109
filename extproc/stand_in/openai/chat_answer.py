"""Chat completions: the answer, as one object or as a stream of chunks.

https://platform.openai.com/docs/api-reference/chat/object and .../chat/streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from extproc.stand_in.answer import Answer, Call, pieces, words
from extproc.stand_in.dialect import EVENT_STREAM, event
from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai.manners import error_object
from extproc.stand_in.sample import Json, Object

_FINISH: Final = {"said": "stop", "called": "tool_calls", "cut": "length"}
_UNFILTERED: Final[Object] = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}


@dataclass(frozen=True, slots=True)
class ChatWriter:
    """`filters` adds what Azure says of its content filter.

    https://learn.microsoft.com/en-us/azure/ai-services/openai/concepts/content-streaming
    """

    with_usage: bool
    filters: bool = False
    stream_type: str = EVENT_STREAM

    def whole(self, answer: Answer) -> bytes:
        message: Object = {
            "role": "assistant",
            "content": None if answer.calls else answer.text,
            "refusal": None,
            "annotations": [],
        }
        if answer.calls:
            message["tool_calls"] = [_call(call, call.arguments) for call in answer.calls]
        choice: Object = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _FINISH[answer.ending],
        }
        choice |= self._filtered("content_filter_results", _UNFILTERED)
        results: Json = [{"prompt_index": 0, "content_filter_results": _UNFILTERED}]
        return msgspec.json.encode(
            _envelope(answer, "chat.completion")
            | {"choices": [choice], "usage": _usage(answer)}
            | self._filtered("prompt_filter_results", results)
        )

    def stream(self, answer: Answer) -> Iterator[bytes]:
        """Chunk by chunk. With usage, the others carry a null one, as documented."""
        if self.filters:  # before the answer, and without its id and model
            results: Json = [{"prompt_index": 0, "content_filter_results": _UNFILTERED}]
            blank: Object = {"id": "", "object": "", "created": 0, "model": ""}
            yield event(blank | {"choices": [], "prompt_filter_results": results})
        envelope = _envelope(answer, "chat.completion.chunk")
        no_usage: Object = {"usage": None} if self.with_usage else {}
        for delta, finish_reason in _deltas(answer):
            choice: Object = {
                "index": 0,
                "delta": delta,
                "logprobs": None,
                "finish_reason": finish_reason,
            }
            choice |= self._filtered("content_filter_results", {})
            yield event(envelope | {"choices": [choice]} | no_usage)
        if self.with_usage:
            yield event(envelope | {"choices": [], "usage": _usage(answer)})
        yield b"data: [DONE]\n\n"

    def error_event(self, error: ApiError, sent: int) -> bytes:  # noqa: ARG002
        body: Object = {**error_object(error)}
        return event({"error": body})

    def _filtered(self, name: str, results: Json) -> Object:
        return {name: results} if self.filters else {}


def _deltas(answer: Answer) -> Iterator[tuple[Object, str | None]]:
    opening: Object = {"role": "assistant", "content": "", "refusal": None}
    if answer.calls:
        for index, call in enumerate(answer.calls):
            first: Object = opening | {"content": None} if index == 0 else {}
            yield first | {"tool_calls": [{"index": index} | _call(call, "")]}, None
            for piece in pieces(call.arguments):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None
    else:
        yield opening, None
        for word in words(answer.text):
            yield {"content": word}, None
    yield {}, _FINISH[answer.ending]


def _envelope(answer: Answer, kind: str) -> Object:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": answer.created_s,
        "model": answer.model,
        "system_fingerprint": "fp_stand_in",
    }


def _call(call: Call, arguments: str) -> Object:
    return {
        "id": f"call_{call.id}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _usage(answer: Answer) -> Json:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.total_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
