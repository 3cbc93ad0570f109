"""Responses: the answer, as one object or as the full stream of events.

https://platform.openai.com/docs/api-reference/responses/object and .../responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from extproc.stand_in.answer import Answer, Call, pieces, words
from extproc.stand_in.dialect import EVENT_STREAM, event
from extproc.stand_in.errors import ApiError
from extproc.stand_in.sample import Json, Object
from extproc.stand_in.signature import sign

Named = tuple[str, Object]


@dataclass(frozen=True, slots=True)
class ResponsesWriter:
    """`echo` is what the answer repeats of the request."""

    echo: Mapping[str, Json]
    with_summary: bool
    with_encrypted: bool
    stream_type: str = EVENT_STREAM

    def whole(self, answer: Answer) -> bytes:
        return msgspec.json.encode(self._response(answer, _status(answer), self._output(answer)))

    def stream(self, answer: Answer) -> Iterator[bytes]:
        for number, (name, data) in enumerate(self._events(answer)):
            head: Object = {"type": name, "sequence_number": number}
            yield event(head | data, name)

    def error_event(self, error: ApiError, sent: int) -> bytes:
        data: Object = {
            "type": "error",
            "code": error.code or "server_error",
            "message": error.message,
            "param": error.param,
            "sequence_number": sent,
        }
        return event(data, "error")

    def _events(self, answer: Answer) -> Iterator[Named]:
        opening = self._response(answer, "in_progress", [])
        yield "response.created", {"response": opening}
        yield "response.in_progress", {"response": opening}
        output = self._output(answer)
        for index, item in enumerate(output):
            empty = item | {"status": "in_progress"}
            match item["type"]:
                case "reasoning":
                    empty = {"id": item["id"], "type": "reasoning", "summary": []}
                    middle = _summary_events(answer.thinking) if item["summary"] else iter(())
                case "message":
                    empty["content"] = []
                    middle = _text_events(answer.text)
                case _:
                    empty["arguments"] = ""
                    middle = _arguments_events(str(item["arguments"]), str(item["name"]))
            yield "response.output_item.added", {"output_index": index, "item": empty}
            for name, data in middle:
                yield name, {"item_id": item["id"], "output_index": index} | data
            yield "response.output_item.done", {"output_index": index, "item": item}
        status = _status(answer)
        yield f"response.{status}", {"response": self._response(answer, status, output)}

    def _output(self, answer: Answer) -> list[Object]:
        status = _status(answer)
        output: list[Object] = []
        if answer.thinking:
            output.append(self._reasoning(answer))
        if answer.calls:
            output += [_call(call, status) for call in answer.calls]
        else:
            message: Object = {
                "id": f"msg_{answer.id}",
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": [_part(answer.text)],
            }
            output.append(message)
        return output

    def _reasoning(self, answer: Answer) -> Object:
        name = f"rs_{answer.id}"
        item: Object = {"id": name, "type": "reasoning", "summary": []}
        if self.with_summary:
            item["summary"] = [{"type": "summary_text", "text": answer.thinking}]
        if self.with_encrypted:
            item["encrypted_content"] = sign(answer.provider, name)
        return item

    def _response(self, answer: Answer, status: str, output: list[Object]) -> Object:
        is_over = status != "in_progress"
        cut: Json = {"reason": "max_output_tokens"} if status == "incomplete" else None
        response: Object = {
            "id": f"resp_{answer.id}",
            "object": "response",
            "created_at": answer.created_s,
            "status": status,
            "completed_at": answer.created_s if status == "completed" else None,
            "error": None,
            "incomplete_details": cut,
            "model": answer.model,
            "output": [*output],
            "usage": _usage(answer) if is_over else None,
        }
        return response | dict(self.echo)


def _summary_events(text: str) -> Iterator[Named]:
    place: Object = {"summary_index": 0}
    name = "response.reasoning_summary"
    blank: Json = {"type": "summary_text", "text": ""}
    yield f"{name}_part.added", place | {"part": blank}
    for word in words(text):
        yield f"{name}_text.delta", place | {"delta": word}
    yield f"{name}_text.done", place | {"text": text}
    yield f"{name}_part.done", place | {"part": {"type": "summary_text", "text": text}}


def _text_events(text: str) -> Iterator[Named]:
    place: Object = {"content_index": 0}
    yield "response.content_part.added", place | {"part": _part("")}
    for word in words(text):
        yield "response.output_text.delta", place | {"delta": word, "logprobs": []}
    yield "response.output_text.done", place | {"text": text, "logprobs": []}
    yield "response.content_part.done", place | {"part": _part(text)}


def _arguments_events(arguments: str, name: str) -> Iterator[Named]:
    for piece in pieces(arguments):
        yield "response.function_call_arguments.delta", {"delta": piece}
    done: Object = {"arguments": arguments, "name": name}
    yield "response.function_call_arguments.done", done


def _status(answer: Answer) -> str:
    return "incomplete" if answer.ending == "cut" else "completed"


def _part(text: str) -> Object:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _call(call: Call, status: str) -> Object:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": status,
        "arguments": call.arguments,
        "call_id": f"call_{call.id}",
        "name": call.name,
    }


def _usage(answer: Answer) -> Json:
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.total_tokens,
    }
