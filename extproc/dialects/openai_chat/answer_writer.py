"""OpenAI chat completions: any provider's answer, written for a client of this dialect.

Thinking goes out as `reasoning_content`, the field that DeepSeek brought up and that clients of
compatible servers know; what signs or encrypts it has no place here and is dropped. A signature
that belongs to a call goes where Gemini's compatible API has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from extproc.dialects.answer import (
    CallDelta,
    CallStarted,
    Ended,
    Envelope,
    Event,
    Failed,
    Finished,
    FinishReason,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    UsageTold,
    usage_of,
)
from extproc.dialects.openai_chat.request_shape import StreamOptions
from extproc.dialects.openai_chat.router_answers import render_refusal

_ID_PREFIX: Final = "chatcmpl-"
_FUNCTIONS: Final = "functions"
_DONE: Final = b"data: [DONE]\n\n"
_NOTHING: Final = "{}"

_DELTAS: Final = {
    TextDelta: "content",
    RefusalDelta: "refusal",
    ThinkingDelta: "reasoning_content",
}

_Json = Mapping[str, object]


class _Asked(Struct):
    """What of a request shapes its answer."""

    stream_options: StreamOptions | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None


_asked = msgspec.json.Decoder(_Asked)


def envelope(body: bytes, answer_id: str, created_s: int) -> Envelope:
    """Who wrote `functions`, not `tools`, looks for a call in the older field: echoed."""
    try:
        asked = _asked.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        asked = _Asked()
    options = asked.stream_options
    return Envelope(
        answer_id,
        created_s,
        wants_usage=bool(options and options.include_usage),
        echo=((_FUNCTIONS, b"true"),) if asked.functions and not asked.tools else (),
    )


def write_answer(events: Sequence[Event], envelope: Envelope) -> bytes:
    """One `chat.completion`; `events` end in `Ended`."""
    told = usage_of(events)
    model = next((event.model for event in events if isinstance(event, Started)), "")
    reason = next((event.reason for event in events if isinstance(event, Finished)), None)
    choice = {
        "index": 0,
        "message": _message(events, is_legacy=_is_legacy(envelope)),
        "logprobs": None,
        "finish_reason": _finish(reason or FinishReason.STOP, is_legacy=_is_legacy(envelope)),
    }
    answer: dict[str, object] = {
        "id": _ID_PREFIX + envelope.answer_id,
        "object": "chat.completion",
        "created": envelope.created_s,
        "model": model,
        "choices": [choice],
    }
    return msgspec.json.encode(answer | ({"usage": _usage(told)} if told else {}))


def _message(events: Sequence[Event], *, is_legacy: bool) -> _Json:
    text = "".join([event.text for event in events if isinstance(event, TextDelta)])
    refusal = "".join([event.text for event in events if isinstance(event, RefusalDelta)])
    thought = "".join([event.text for event in events if isinstance(event, ThinkingDelta)])
    calls = _calls(events)
    message: dict[str, object] = {
        "role": "assistant",
        "content": text if text or not (calls or refusal) else None,
        "refusal": refusal or None,
    }
    if thought:
        message["reasoning_content"] = thought
    if calls and is_legacy:
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    return message


def _calls(events: Sequence[Event]) -> Sequence[_Json]:
    arguments: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, CallDelta):
            arguments.setdefault(event.index, []).append(event.arguments)
    return [
        _call(event, "".join(arguments.get(event.index, ())) or _NOTHING)
        for event in events
        if isinstance(event, CallStarted)
    ]


def _call(started: CallStarted, arguments: str) -> dict[str, object]:
    call: dict[str, object] = {
        "id": started.id,
        "type": "function",
        "function": {"name": started.name, "arguments": arguments},
    }
    if started.signature is not None:
        call["extra_content"] = {"google": {"thought_signature": started.signature}}
    return call


class StreamWriter:
    """Writes `chat.completion.chunk`s as events come; nothing after the answer's end."""

    __slots__ = ("_bare", "_envelope", "_head", "_is_legacy", "_is_over", "_tail", "_told")

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._is_legacy = _is_legacy(envelope)
        self._is_over = False
        self._bare: dict[int, None] = {}  # calls that have no arguments yet, in order
        self._told: UsageTold | None = None
        self._head = self._tail = b""
        self._set_model("")

    def write(self, events: Iterable[Event]) -> bytes:
        return b"".join([self._event(event) for event in events])

    def _event(self, event: Event) -> bytes:
        if self._is_over:
            return b""
        if isinstance(event, TextDelta | RefusalDelta | ThinkingDelta):
            return self._chunk({_DELTAS[type(event)]: event.text})
        if isinstance(event, CallStarted | CallDelta):
            return self._call_piece(event)
        return self._turn(event)

    def _turn(self, event: Event) -> bytes:
        """What begins, ends or accounts for the answer; else no more than a signature."""
        match event:
            case Started(model):
                self._set_model(model)
                return self._chunk({"role": "assistant", "content": ""})
            case Finished(reason):
                finish = _finish(reason, is_legacy=self._is_legacy)
                return self._without_arguments() + self._chunk({}, finish)
            case UsageTold():
                self._told = self._told.merged(event) if self._told else event
            case Ended():
                return self._end()
            case Failed(refusal):
                self._is_over = True
                return b"data: " + render_refusal(refusal) + b"\n\n"
        return b""

    def _set_model(self, model: str) -> None:
        shared = {
            "id": _ID_PREFIX + self._envelope.answer_id,
            "object": "chat.completion.chunk",
            "created": self._envelope.created_s,
            "model": model,
        }
        self._head = b"data: " + msgspec.json.encode(shared)[:-1] + b',"choices":['
        # OpenAI has a null in every chunk but the last one, where usage was asked for.
        self._tail = b'],"usage":null}\n\n' if self._envelope.wants_usage else b"]}\n\n"

    def _chunk(self, delta: _Json, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._head + msgspec.json.encode(choice) + self._tail

    def _call_piece(self, event: CallStarted | CallDelta) -> bytes:
        if isinstance(event, CallStarted):
            call = _call(event, "")
            self._bare[event.index] = None
        elif not event.arguments:
            return b""
        else:
            self._bare.pop(event.index, None)
            call = {"function": {"arguments": event.arguments}}
        if not self._is_legacy:
            return self._chunk({"tool_calls": [{"index": event.index} | call]})
        return self._chunk({"function_call": call["function"]}) if event.index == 0 else b""

    def _without_arguments(self) -> bytes:
        """Clients parse arguments as JSON, which nothing at all is not."""
        return b"".join([self._call_piece(CallDelta(index, _NOTHING)) for index in [*self._bare]])

    def _end(self) -> bytes:
        self._is_over = True
        if not (self._envelope.wants_usage and self._told):
            return _DONE
        usage = msgspec.json.encode(_usage(self._told))
        return self._head + b'],"usage":' + usage + b"}\n\n" + _DONE


def _is_legacy(envelope: Envelope) -> bool:
    return any(name == _FUNCTIONS for name, _ in envelope.echo)


def _finish(reason: FinishReason, *, is_legacy: bool) -> str:
    if is_legacy and reason == FinishReason.TOOL_CALLS:
        return "function_call"
    return reason.value


def _usage(told: UsageTold) -> _Json:
    """The schema wants numbers: what was not told is 0, and details only where they were."""
    asked, answered = told.input_tokens or 0, told.output_tokens or 0
    usage: dict[str, object] = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }
    cache = {"cached_tokens": told.cache_read_tokens, "cache_write_tokens": told.cache_write_tokens}
    prompt = {name: count for name, count in cache.items() if count is not None}
    if prompt:
        usage["prompt_tokens_details"] = prompt
    if told.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": told.reasoning_tokens}
    return usage
