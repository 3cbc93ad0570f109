"""Clients as applications have them: the official SDKs, one surface each, and one way to ask all.

client = CLIENTS["messages"](plane.base_url)
answer = client.ask("m", Question("Hello"), stream=True)

What comes back is what the SDK made of the answer, put into one shape, so that a test can say
once what must hold for every surface.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anthropic
import httpx2
import openai

WEATHER: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PLACE: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
TOKENS_MAX: Final = 4096
THINKING_BUDGET: Final = 1024


@dataclass(frozen=True)
class Question:
    """`image` is a PNG; `tools` offers `weather` and `time`; `thinks` asks for thinking."""

    prompt: str
    image: bytes | None = None
    tools: bool = False
    schema: bool = False
    thinks: bool = False
    tokens_max: int = TOKENS_MAX


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: Any


@dataclass(frozen=True)
class Told:
    """An answer as the SDK read it. `turn` is what goes into the history of the next question.

    `input_tokens` are all of them, by OpenAI's convention; `finish` is in OpenAI's words.
    """

    text: str
    finish: str
    input_tokens: int
    output_tokens: int
    model: str
    turn: list[Any]
    calls: tuple[Call, ...] = ()
    thinking: str = ""
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """One surface. `ask` is a first question, `report` tells what the calls of `told` came to."""

    def ask(self, model: str, question: Question, *, stream: bool) -> Told: ...

    def report(self, model: str, question: Question, told: Told, *, stream: bool) -> Told: ...


class Chat:
    def __init__(self, base_url: str) -> None:
        self.sdk = openai.OpenAI(base_url=f"{base_url}/v1", api_key="anything", max_retries=0)

    def ask(self, model: str, question: Question, *, stream: bool) -> Told:
        return self._told(model, question, [self._prompt(question)], stream=stream)

    def report(self, model: str, question: Question, told: Told, *, stream: bool) -> Told:
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": _result(call)}
            for call in told.calls
        ]
        turns = [self._prompt(question), *told.turn, *results]
        return self._told(model, question, turns, stream=stream)

    def _prompt(self, question: Question) -> Any:  # noqa: ANN401  JSON
        content: Any = question.prompt
        if question.image:
            url = {"url": f"data:image/png;base64,{_base64(question.image)}"}
            content = [
                {"type": "text", "text": question.prompt},
                {"type": "image_url", "image_url": url},
            ]
        return {"role": "user", "content": content}

    def _told(self, model: str, question: Question, turns: list[Any], *, stream: bool) -> Told:
        asked: dict[str, Any] = {
            "model": model,
            "messages": turns,
            "max_completion_tokens": question.tokens_max,
        }
        if question.tools:
            asked["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": WEATHER}}
                for name in ("weather", "time")
            ]
        if question.schema:
            form = {"name": "place", "schema": PLACE, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        if question.thinks:
            asked["reasoning_effort"] = "low"
        if stream:
            options: Any = {"include_usage": True}
            with self.sdk.chat.completions.stream(**asked, stream_options=options) as events:
                answer: Any = _final(events)
        else:
            answer = self.sdk.chat.completions.create(**asked)
        (choice,) = answer.choices
        message, usage = choice.message, answer.usage
        assert message.role == "assistant"
        return Told(
            text=message.content or "",
            finish=choice.finish_reason,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            model=answer.model,
            turn=[_kept(message.model_dump(exclude_none=True))],
            calls=tuple(
                Call(call.id, call.function.name, json.loads(call.function.arguments))
                for call in message.tool_calls or ()
            ),
            thinking=(message.model_extra or {}).get("reasoning_content") or "",
            cached_tokens=_part(usage.prompt_tokens_details, "cached_tokens"),
            reasoning_tokens=_part(usage.completion_tokens_details, "reasoning_tokens"),
        )


def _final(events: Any) -> Any:  # noqa: ANN401  the SDK's own
    try:
        for _ in events:
            pass
        return events.get_final_completion()
    except openai.LengthFinishReasonError as cut:
        return cut.completion


def _kept(message: dict[str, Any]) -> dict[str, Any]:
    """What an application sends back of an answer: what the API's reference has."""
    calls = [
        {name: call[name] for name in ("id", "type", "function", "extra_content") if name in call}
        for call in message.get("tool_calls") or ()
    ]
    for call in calls:
        call["function"] = {name: call["function"][name] for name in ("name", "arguments")}
    kept = {"role": "assistant", "content": message.get("content") or ""}
    return kept | ({"tool_calls": calls} if calls else {})


class Responses:
    def __init__(self, base_url: str) -> None:
        self.sdk = openai.OpenAI(base_url=f"{base_url}/v1", api_key="anything", max_retries=0)

    def ask(self, model: str, question: Question, *, stream: bool) -> Told:
        return self._told(model, question, [self._prompt(question)], stream=stream)

    def report(self, model: str, question: Question, told: Told, *, stream: bool) -> Told:
        results = [
            {"type": "function_call_output", "call_id": call.id, "output": _result(call)}
            for call in told.calls
        ]
        turns = [self._prompt(question), *told.turn, *results]
        return self._told(model, question, turns, stream=stream)

    def _prompt(self, question: Question) -> Any:  # noqa: ANN401  JSON
        parts: list[Any] = [{"type": "input_text", "text": question.prompt}]
        if question.image:
            url = f"data:image/png;base64,{_base64(question.image)}"
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
        return {"role": "user", "content": parts}

    def _told(self, model: str, question: Question, turns: list[Any], *, stream: bool) -> Told:
        asked: dict[str, Any] = {
            "model": model,
            "input": turns,
            "max_output_tokens": question.tokens_max,
        }
        if question.tools:
            asked["tools"] = [
                {"type": "function", "name": name, "parameters": WEATHER, "strict": False}
                for name in ("weather", "time")
            ]
        if question.schema:
            form = {"type": "json_schema", "name": "place", "schema": PLACE, "strict": True}
            asked["text"] = {"format": form}
        if question.thinks:
            asked["reasoning"] = {"effort": "low", "summary": "auto"}
        if stream:
            *_, last = self.sdk.responses.create(**asked, stream=True)
            assert last.type in {"response.completed", "response.incomplete"}
            answer: Any = last.response
        else:
            answer = self.sdk.responses.create(**asked)
        calls = [item for item in answer.output if item.type == "function_call"]
        thoughts = [item for item in answer.output if item.type == "reasoning"]
        finish = "tool_calls" if calls else "stop"
        if answer.status == "incomplete":
            finish = {"max_output_tokens": "length"}[answer.incomplete_details.reason]
        return Told(
            text=answer.output_text,
            finish=finish,
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            model=answer.model,
            turn=[
                {
                    name: item.model_dump(exclude_none=True)[name]
                    for name in ("type", "id", "call_id", "name", "arguments")
                }
                for item in calls
            ],
            calls=tuple(
                Call(item.call_id, item.name, json.loads(item.arguments)) for item in calls
            ),
            thinking="".join(part.text for item in thoughts for part in item.summary),
            cached_tokens=_part(answer.usage.input_tokens_details, "cached_tokens"),
            reasoning_tokens=_part(answer.usage.output_tokens_details, "reasoning_tokens"),
        )


class Messages:
    def __init__(self, base_url: str) -> None:
        self.sdk = anthropic.Anthropic(base_url=base_url, api_key="anything", max_retries=0)

    def ask(self, model: str, question: Question, *, stream: bool) -> Told:
        return self._told(model, question, [self._prompt(question)], stream=stream)

    def report(self, model: str, question: Question, told: Told, *, stream: bool) -> Told:
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": _result(call)}
            for call in told.calls
        ]
        turns = [self._prompt(question), *told.turn, {"role": "user", "content": results}]
        return self._told(model, question, turns, stream=stream)

    def _prompt(self, question: Question) -> Any:  # noqa: ANN401  JSON
        parts: list[Any] = [{"type": "text", "text": question.prompt}]
        if question.image:
            data = _base64(question.image)
            source = {"type": "base64", "media_type": "image/png", "data": data}
            parts.append({"type": "image", "source": source})
        return {"role": "user", "content": parts}

    def _told(self, model: str, question: Question, turns: list[Any], *, stream: bool) -> Told:
        asked: dict[str, Any] = {
            "model": model,
            "messages": turns,
            "max_tokens": question.tokens_max,
        }
        if question.tools:
            asked["tools"] = [
                {"name": name, "input_schema": WEATHER} for name in ("weather", "time")
            ]
        if question.schema:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": PLACE}}
        if question.thinks:
            asked["thinking"] = {"type": "enabled", "budget_tokens": THINKING_BUDGET}
        if stream:
            with self.sdk.messages.stream(**asked) as events:
                for _ in events:
                    pass
                answer: Any = events.get_final_message()
        else:
            answer = self.sdk.messages.create(**asked)
        assert (answer.type, answer.role) == ("message", "assistant")
        usage = answer.usage
        cached = usage.cache_read_input_tokens or 0
        written = usage.cache_creation_input_tokens or 0
        blocks = [_block(block.model_dump(exclude_none=True)) for block in answer.content]
        return Told(
            text="".join(block.text for block in answer.content if block.type == "text"),
            finish=_STOP_REASONS[answer.stop_reason],
            input_tokens=usage.input_tokens + cached + written,
            output_tokens=usage.output_tokens,
            model=answer.model,
            turn=[{"role": "assistant", "content": blocks}],
            calls=tuple(
                Call(block.id, block.name, block.input)
                for block in answer.content
                if block.type == "tool_use"
            ),
            thinking="".join(
                block.thinking for block in answer.content if block.type == "thinking"
            ),
            cached_tokens=cached,
        )


_STOP_REASONS: Final = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


def _block(block: dict[str, Any]) -> dict[str, Any]:
    """A content block as it is sent back: the SDK's own additions stay here."""
    names = ("type", "text", "id", "name", "input", "thinking", "signature", "data")
    return {name: block[name] for name in names if name in block}


CLIENTS: Final[Mapping[str, Callable[[str], Client]]] = {
    "chat": Chat,
    "responses": Responses,
    "messages": Messages,
}


def openai_sent(stream: bytes) -> openai.OpenAI:
    """OpenAI's SDK, which is sent `stream` for an answer, over a connection that is none."""
    response = httpx2.Response(200, content=stream, headers={"content-type": "text/event-stream"})
    http_client = httpx2.Client(transport=httpx2.MockTransport(lambda _: response))
    return openai.OpenAI(api_key="none", max_retries=0, http_client=http_client)


def _result(call: Call) -> str:
    return f"{call.name} says 21 degrees"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _part(details: object, name: str) -> int:
    return getattr(details, name, None) or 0
