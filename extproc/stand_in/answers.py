"""The answer to a question, and how OpenAI writes it: as one JSON object or as a stream of events.

https://platform.openai.com/docs/api-reference/chat/object and .../chat/streaming
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from extproc.stand_in.question import Question
from extproc.stand_in.sample import Json, sample

BYTES_PER_TOKEN = 4
QUOTED_CHARS_MAX = 500
ARGUMENT_PIECE_CHARS = 12

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated: `text` is the content or, if a `function` is called, its arguments.

    `cached_tokens` are part of the prompt's, `reasoning_tokens` part of the completion's.
    """

    id: str
    created_s: int
    model: str
    text: str
    function: str | None
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Bill:
    """What of the usage does not follow from the texts: so much was cached, so much thought."""

    cached_tokens: int = 0
    reasoning_tokens: int = 0


def compose(question: Question, provider: str, bill: Bill, *, answer_id: str, now_s: int) -> Answer:
    """What is thought counts against the most tokens allowed, before what is said."""
    last = question.last_message()
    function = question.called_function() if last.role != "tool" else None
    if function:
        text = _json(sample(function.parameters))
    elif last.role == "tool":
        text = f"{question.model} at {provider} was told: {last.text()[:QUOTED_CHARS_MAX]}"
    else:
        text = _content(question, provider)
    written = text.encode()
    tokens_max = question.tokens_max or _tokens(len(written)) + bill.reasoning_tokens
    thought = min(bill.reasoning_tokens, tokens_max)
    bytes_max = (tokens_max - thought) * BYTES_PER_TOKEN
    prompt_tokens = _tokens(question.prompt_bytes())
    finish_reason: FinishReason = "tool_calls" if function else "stop"
    return Answer(
        id=answer_id,
        created_s=now_s,
        model=question.model,
        text=written[:bytes_max].decode(errors="ignore"),
        function=function.name if function else None,
        finish_reason="length" if len(written) > bytes_max else finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=thought + _tokens(min(len(written), bytes_max)),
        cached_tokens=min(bill.cached_tokens, prompt_tokens),
        reasoning_tokens=thought,
    )


def completion(answer: Answer) -> bytes:
    message: dict[str, Json] = {
        "role": "assistant",
        "content": None if answer.function else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.function:
        message["tool_calls"] = [_call(answer, answer.function, answer.text)]
    choice: Json = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": answer.finish_reason,
    }
    return msgspec.json.encode(
        _envelope(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer)}
    )


def events(answer: Answer, *, with_usage: bool) -> Iterator[bytes]:
    """The stream, event by event. With usage, the other chunks carry a null one, as documented."""
    envelope = _envelope(answer, "chat.completion.chunk")
    no_usage: dict[str, Json] = {"usage": None} if with_usage else {}
    for delta, finish_reason in _deltas(answer):
        choice: Json = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        yield _event(envelope | {"choices": [choice]} | no_usage)
    if with_usage:
        yield _event(envelope | {"choices": [], "usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def _deltas(answer: Answer) -> Iterator[tuple[dict[str, Json], str | None]]:
    opening: dict[str, Json] = {"role": "assistant", "content": "", "refusal": None}
    if answer.function:
        call = {"index": 0} | _call(answer, answer.function, "")
        yield opening | {"content": None, "tool_calls": [call]}, None
        for start in range(0, len(answer.text), ARGUMENT_PIECE_CHARS):
            piece: Json = {"arguments": answer.text[start : start + ARGUMENT_PIECE_CHARS]}
            yield {"tool_calls": [{"index": 0, "function": piece}]}, None
    else:
        yield opening, None
        for word in re.findall(r"\s*\S+|\s+$", answer.text):
            yield {"content": word}, None
    yield {}, answer.finish_reason


def _content(question: Question, provider: str) -> str:
    form = question.response_format
    if form and form.type == "json_schema":
        return _json(sample(form.json_schema.schema if form.json_schema else None))
    if form and form.type == "json_object":
        return _json({"model": question.model, "provider": provider, "standing_in": True})
    return f"This is {question.model} at {provider}, standing in."


def _envelope(answer: Answer, kind: str) -> dict[str, Json]:
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created_s,
        "model": answer.model,
        "system_fingerprint": "fp_stand_in",
    }


def _call(answer: Answer, function: str, arguments: str) -> dict[str, Json]:
    return {
        "id": f"call_{answer.id[-24:]}",
        "type": "function",
        "function": {"name": function, "arguments": arguments},
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


def _tokens(byte_count: int) -> int:
    return -(-byte_count // BYTES_PER_TOKEN)


def _event(chunk: dict[str, Json]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()
