"""The messages API: the answer, as one object or as a stream of events.

https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from extproc.stand_in.answer import Answer, Call, pieces, words
from extproc.stand_in.dialect import EVENT_STREAM, event
from extproc.stand_in.errors import ApiError
from extproc.stand_in.sample import Json, Object
from extproc.stand_in.signature import CLAUDE, sign

_STOP: Final = {"said": "end_turn", "called": "tool_use", "cut": "max_tokens"}
_KINDS: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_object(error: ApiError) -> Object:
    usual = "api_error" if error.status >= 500 else "invalid_request_error"
    return {"type": _KINDS.get(error.status, usual), "message": error.message}


@dataclass(frozen=True, slots=True)
class MessagesWriter:
    """What is thought is signed in any case, and empty unless it is shown."""

    shows_thinking: bool
    stream_type: str = EVENT_STREAM

    def whole(self, answer: Answer) -> bytes:
        content: list[Json] = []
        if answer.thinking:
            content.append(self._thinking(answer))
        if answer.text or not answer.calls:
            content.append({"type": "text", "text": answer.text})
        content += [_call(call) | {"input": call.value()} for call in answer.calls]
        ending: Object = {"content": content, "stop_reason": _STOP[answer.ending]}
        return msgspec.json.encode(_envelope(answer) | ending | {"usage": _usage(answer)})

    def stream(self, answer: Answer) -> Iterator[bytes]:
        opening = _usage(answer) | {"output_tokens": 1}
        yield _event("message_start", {"message": _envelope(answer) | {"usage": opening}})
        for index, (block, deltas) in enumerate(self._blocks(answer)):
            place: Object = {"index": index}
            yield _event("content_block_start", place | {"content_block": block})
            if index == 0:
                yield _event("ping", {})
            for delta in deltas:
                yield _event("content_block_delta", place | {"delta": delta})
            yield _event("content_block_stop", place)
        delta = {"stop_reason": _STOP[answer.ending], "stop_sequence": None}
        usage: Object = {
            name: count for name, count in _usage(answer).items() if name.endswith("_tokens")
        }
        yield _event("message_delta", {"delta": delta, "usage": usage})
        yield _event("message_stop", {})

    def error_event(self, error: ApiError, sent: int) -> bytes:  # noqa: ARG002
        return _event("error", {"error": error_object(error)})

    def _thinking(self, answer: Answer) -> Object:
        return {
            "type": "thinking",
            "thinking": answer.thinking if self.shows_thinking else "",
            "signature": sign(CLAUDE, answer.thinking),
        }

    def _blocks(self, answer: Answer) -> Iterator[tuple[Object, Iterator[Object]]]:
        if answer.thinking:
            block = self._thinking(answer)
            yield block | {"thinking": "", "signature": ""}, _thinking_deltas(block)
        if answer.text or not answer.calls:
            yield {"type": "text", "text": ""}, _text_deltas(answer.text)
        for call in answer.calls:
            yield _call(call), _input_deltas(call)


@dataclass(frozen=True, slots=True)
class CountWriter:
    stream_type: str = EVENT_STREAM

    def whole(self, answer: Answer) -> bytes:
        return msgspec.json.encode({"input_tokens": answer.prompt_tokens})

    def stream(self, answer: Answer) -> Iterator[bytes]:
        yield self.whole(answer)

    def error_event(self, error: ApiError, sent: int) -> bytes:  # noqa: ARG002
        return _event("error", {"error": error_object(error)})


def _thinking_deltas(block: Object) -> Iterator[Object]:
    for word in words(str(block["thinking"])):
        yield {"type": "thinking_delta", "thinking": word}
    yield {"type": "signature_delta", "signature": block["signature"]}


def _text_deltas(text: str) -> Iterator[Object]:
    for word in words(text):
        yield {"type": "text_delta", "text": word}


def _input_deltas(call: Call) -> Iterator[Object]:
    for piece in ("", *pieces(call.arguments)):
        yield {"type": "input_json_delta", "partial_json": piece}


def _call(call: Call) -> Object:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}


def _envelope(answer: Answer) -> Object:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(answer: Answer) -> Object:
    """What was cached is not part of `input_tokens` here."""
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
        "service_tier": "standard",
    }


def _event(name: str, data: Object) -> bytes:
    return event({"type": name} | data, name)
