"""How each dialect asks, what of its answers says what, and how the conversation goes on.

A `Speaker` knows its dialect by heart and nothing of the code under test. What is said in any of
them comes out as one `Said`, in which usage follows one convention: cached tokens are part of the
input, reasoning tokens part of the output.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

Body = dict[str, Any]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
WEATHER: Body = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
    "required": ["city", "days"],
}
CLOSED: Body = WEATHER | {"additionalProperties": False}
"""What a model can be held to."""
CLOCK: Body = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
FUNCTIONS: Mapping[str, Body] = {"weather": WEATHER, "clock": CLOCK}


@dataclass(frozen=True)
class Said:
    text: str
    calls: tuple[tuple[str, Any], ...]
    thinking: str
    stop: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int | None


class Speaker(ABC):
    """`bill` says whether reasoning tokens are told apart, `shows` whether thinking is shown."""

    name: str
    headers: Mapping[str, str]
    model = "some-model"
    shows = True

    def __repr__(self) -> str:
        return self.name

    def path(self, *, stream: bool = False) -> str:
        """Below the provider's name."""
        raise NotImplementedError

    @abstractmethod
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body: ...

    @abstractmethod
    def offer(self, body: Body, *, forced: str | None = None) -> Body:
        """The same with `FUNCTIONS` to call."""

    @abstractmethod
    def think(self, body: Body) -> Body: ...

    @abstractmethod
    def at_most(self, body: Body, tokens: int) -> Body: ...

    @abstractmethod
    def structure(self, body: Body) -> Body:
        """The same, to be answered by `WEATHER`."""

    @abstractmethod
    def go_on(self, body: Body, answer: Body, result: str) -> Body:
        """The next request, in which every call of `answer` came to `result`."""

    @abstractmethod
    def whole(self, content: bytes) -> Said: ...

    @abstractmethod
    def streamed(self, content: bytes) -> Said: ...

    @abstractmethod
    def ends(self, content: bytes) -> bool:
        """Whether a stream has its terminator."""


def sse(content: bytes) -> list[Body]:
    events = content.replace(b"\r\n", b"\n").decode().split("\n\n")
    data = [line[6:] for one in events for line in one.split("\n") if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]


class Chat(Speaker):
    name = "chat"
    headers: Mapping[str, str] = {"authorization": "Bearer k"}
    shows = False

    @override
    def path(self, *, stream: bool = False) -> str:
        return "/v1/chat/completions"

    @override
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body:
        url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
        parts: list[Body] = [{"type": "text", "text": text}]
        parts += [{"type": "image_url", "image_url": {"url": url}}] if image else []
        streaming = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        return {"model": self.model, "messages": [{"role": "user", "content": parts}]} | streaming

    def offer(self, body: Body, *, forced: str | None = None) -> Body:
        tools = [
            {"type": "function", "function": {"name": name, "parameters": schema}}
            for name, schema in FUNCTIONS.items()
        ]
        choice = {"type": "function", "function": {"name": forced}} if forced else "auto"
        return body | {"tools": tools, "tool_choice": choice}

    def think(self, body: Body) -> Body:
        return body | {"reasoning_effort": "high"}

    def at_most(self, body: Body, tokens: int) -> Body:
        return body | {"max_completion_tokens": tokens}

    def structure(self, body: Body) -> Body:
        form = {
            "type": "json_schema",
            "json_schema": {"name": "w", "schema": CLOSED, "strict": True},
        }
        return body | {"response_format": form}

    def go_on(self, body: Body, answer: Body, result: str) -> Body:
        message = answer["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": result}
            for call in message["tool_calls"]
        ]
        return body | {"messages": [*body["messages"], message, *results]}

    def whole(self, content: bytes) -> Said:
        answer = json.loads(content)
        (choice,) = answer["choices"]
        calls = [call["function"] for call in choice["message"].get("tool_calls", [])]
        return self._said(
            choice["message"]["content"] or "",
            [(call["name"], call["arguments"]) for call in calls],
            choice["finish_reason"],
            answer["usage"],
        )

    def streamed(self, content: bytes) -> Said:
        *chunks, last = sse(content)
        text, stop = "", ""
        calls: dict[int, list[str]] = {}
        for chunk in chunks:
            for choice in chunk["choices"]:
                text += choice["delta"].get("content") or ""
                stop = choice["finish_reason"] or stop
                for call in choice["delta"].get("tool_calls", []):
                    function = call["function"]
                    entry = calls.setdefault(call["index"], [function.get("name", ""), ""])
                    entry[1] += function["arguments"]
        return self._said(
            text, [(name, args) for name, args in calls.values()], stop, last["usage"]
        )

    def ends(self, content: bytes) -> bool:
        return content.endswith(b"data: [DONE]\n\n")

    def _said(self, text: str, calls: Sequence[tuple[str, str]], stop: str, usage: Body) -> Said:
        return Said(
            text,
            tuple((name, json.loads(arguments)) for name, arguments in calls),
            "",
            {"stop": "said", "tool_calls": "called", "length": "cut"}[stop],
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
            usage["completion_tokens_details"]["reasoning_tokens"],
        )


class AzureDeployed(Chat):
    name = "azure deployed"
    headers: Mapping[str, str] = {"api-key": "k"}

    @override
    def path(self, *, stream: bool = False) -> str:
        return f"/openai/deployments/{self.model}/chat/completions?api-version=2024-10-21"

    @override
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body:
        body = super().ask(text, image=image, stream=stream)
        del body["model"]
        return body


class AzureV1(Chat):
    name = "azure v1"
    headers: Mapping[str, str] = {"api-key": "k"}

    @override
    def path(self, *, stream: bool = False) -> str:
        return "/openai/v1/chat/completions"


class Responses(Speaker):
    name = "responses"
    headers: Mapping[str, str] = {"authorization": "Bearer k"}

    @override
    def path(self, *, stream: bool = False) -> str:
        return "/v1/responses"

    @override
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body:
        url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
        parts: list[Body] = [{"type": "input_text", "text": text}]
        parts += [{"type": "input_image", "image_url": url, "detail": "auto"}] if image else []
        streaming = {"stream": True} if stream else {}
        return {"model": self.model, "input": [{"role": "user", "content": parts}]} | streaming

    def offer(self, body: Body, *, forced: str | None = None) -> Body:
        tools = [
            {"type": "function", "name": name, "parameters": schema, "strict": False}
            for name, schema in FUNCTIONS.items()
        ]
        choice = {"type": "function", "name": forced} if forced else "auto"
        return body | {"tools": tools, "tool_choice": choice}

    def think(self, body: Body) -> Body:
        shown = {"effort": "high", "summary": "auto"}
        return body | {"reasoning": shown, "include": ["reasoning.encrypted_content"]}

    def at_most(self, body: Body, tokens: int) -> Body:
        return body | {"max_output_tokens": tokens}

    def structure(self, body: Body) -> Body:
        form = {"type": "json_schema", "name": "w", "schema": CLOSED, "strict": True}
        return body | {"text": {"format": form}}

    def go_on(self, body: Body, answer: Body, result: str) -> Body:
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": result}
            for item in answer["output"]
            if item["type"] == "function_call"
        ]
        return body | {"input": [*body["input"], *answer["output"], *results]}

    def whole(self, content: bytes) -> Said:
        answer = json.loads(content)
        return self._said(answer)

    def streamed(self, content: bytes) -> Said:
        events = sse(content)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        answer = events[-1]["response"]
        pieces = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
        said = self._said(answer)
        assert "".join(pieces) == said.text
        pieces = [e["delta"] for e in events if e["type"].endswith("summary_text.delta")]
        assert "".join(pieces) == said.thinking
        pieces = [e["delta"] for e in events if e["type"].endswith("call_arguments.delta")]
        calls = [item for item in answer["output"] if item["type"] == "function_call"]
        assert "".join(pieces) == "".join(call["arguments"] for call in calls)
        return said

    def ends(self, content: bytes) -> bool:
        return sse(content)[-1]["type"] in ("response.completed", "response.incomplete")

    def _said(self, answer: Body) -> Said:
        items = answer["output"]
        calls = [item for item in items if item["type"] == "function_call"]
        texts = [p["text"] for i in items if i["type"] == "message" for p in i["content"]]
        thought = [p["text"] for i in items if i["type"] == "reasoning" for p in i["summary"]]
        stop = "called" if calls else "said"
        usage = answer["usage"]
        return Said(
            "".join(texts),
            tuple((call["name"], json.loads(call["arguments"])) for call in calls),
            "".join(thought),
            "cut" if answer["status"] == "incomplete" else stop,
            usage["input_tokens"],
            usage["output_tokens"],
            usage["input_tokens_details"]["cached_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"],
        )


class AzureResponses(Responses):
    name = "azure responses"
    headers: Mapping[str, str] = {"api-key": "k"}

    @override
    def path(self, *, stream: bool = False) -> str:
        return "/openai/v1/responses"


class Anthropic(Speaker):
    name = "anthropic"
    headers: Mapping[str, str] = {"x-api-key": "k", "anthropic-version": "2023-06-01"}

    @override
    def path(self, *, stream: bool = False) -> str:
        return "/v1/messages"

    @override
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body:
        data = base64.b64encode(PIXEL).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        blocks: list[Body] = [{"type": "image", "source": source}] if image else []
        blocks.append({"type": "text", "text": text})
        messages = [{"role": "user", "content": blocks}]
        body: Body = {"model": self.model, "max_tokens": 2048, "messages": messages}
        return body | ({"stream": True} if stream else {})

    def offer(self, body: Body, *, forced: str | None = None) -> Body:
        tools = [{"name": name, "input_schema": schema} for name, schema in FUNCTIONS.items()]
        choice = {"type": "tool", "name": forced} if forced else {"type": "auto"}
        return body | {"tools": tools, "tool_choice": choice}

    def think(self, body: Body) -> Body:
        return body | {"thinking": {"type": "enabled", "budget_tokens": 1024}}

    def at_most(self, body: Body, tokens: int) -> Body:
        return body | {"max_tokens": tokens}

    def structure(self, body: Body) -> Body:
        return body | {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}}

    def go_on(self, body: Body, answer: Body, result: str) -> Body:
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": result}
            for block in answer["content"]
            if block["type"] == "tool_use"
        ]
        turns = [
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": results},
        ]
        return body | {"messages": [*body["messages"], *turns]}

    def whole(self, content: bytes) -> Said:
        answer = json.loads(content)
        return self._said(answer["content"], answer["stop_reason"], answer["usage"])

    def streamed(self, content: bytes) -> Said:
        events = sse(content)
        assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
        blocks: list[Body] = []
        for event in events:
            if event["type"] == "content_block_start":
                blocks.append(event["content_block"] | {"json": ""})
            elif event["type"] == "content_block_delta":
                assert event["index"] == len(blocks) - 1
                for name, piece in event["delta"].items():
                    if name != "type":
                        kept = "json" if name == "partial_json" else name
                        blocks[-1][kept] = blocks[-1].get(kept, "") + piece
        for block in blocks:
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["json"])
        return self._said(blocks, events[-2]["delta"]["stop_reason"], events[-2]["usage"])

    def ends(self, content: bytes) -> bool:
        return bool(sse(content)[-1]["type"] == "message_stop")

    def _said(self, blocks: Sequence[Body], stop: str, usage: Body) -> Said:
        return Said(
            "".join(block["text"] for block in blocks if block["type"] == "text"),
            tuple((b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"),
            "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            {"end_turn": "said", "tool_use": "called", "max_tokens": "cut"}[stop],
            usage["input_tokens"] + usage["cache_read_input_tokens"],
            usage["output_tokens"],
            usage["cache_read_input_tokens"],
            None,
        )


class Gemini(Speaker):
    name = "gemini"
    headers: Mapping[str, str] = {"x-goog-api-key": "k"}
    model = "gemini-3-pro"

    @override
    def path(self, *, stream: bool = False) -> str:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{self.model}:{method}"

    @override
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body:
        data = base64.b64encode(PIXEL).decode()
        parts: list[Body] = [{"text": text}]
        parts += [{"inlineData": {"mimeType": "image/png", "data": data}}] if image else []
        return {"contents": [{"role": "user", "parts": parts}]}

    def offer(self, body: Body, *, forced: str | None = None) -> Body:
        declared = [
            {"name": "weather", "parameters": WEATHER},
            {"name": "clock", "parametersJsonSchema": CLOCK},
        ]
        calling: Body = {"mode": "AUTO"}
        if forced:
            calling = {"mode": "ANY", "allowedFunctionNames": [forced]}
        config = {"functionCallingConfig": calling}
        return body | {"tools": [{"functionDeclarations": declared}], "toolConfig": config}

    def think(self, body: Body) -> Body:
        return self._configured(body, thinkingConfig={"includeThoughts": True})

    def at_most(self, body: Body, tokens: int) -> Body:
        return self._configured(body, maxOutputTokens=tokens)

    def structure(self, body: Body) -> Body:
        return self._configured(
            body, responseMimeType="application/json", responseJsonSchema=CLOSED
        )

    def go_on(self, body: Body, answer: Body, result: str) -> Body:
        content = answer["candidates"][0]["content"]
        results = [
            {
                "functionResponse": {
                    "name": part["functionCall"]["name"],
                    "id": part["functionCall"]["id"],
                    "response": {"result": result},
                }
            }
            for part in content["parts"]
            if "functionCall" in part
        ]
        turns = [content, {"role": "user", "parts": results}]
        return body | {"contents": [*body["contents"], *turns]}

    def whole(self, content: bytes) -> Said:
        return self._said([json.loads(content)])

    def streamed(self, content: bytes) -> Said:
        return self._said(sse(content))

    def ends(self, content: bytes) -> bool:
        return "finishReason" in sse(content)[-1]["candidates"][0]

    def _configured(self, body: Body, **fields: object) -> Body:
        return body | {"generationConfig": body.get("generationConfig", {}) | fields}

    def _said(self, answers: Sequence[Body]) -> Said:
        parts = [p for one in answers for p in one["candidates"][0]["content"]["parts"]]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        usage = answers[-1]["usageMetadata"]
        reasoning = usage.get("thoughtsTokenCount", 0)
        reason = answers[-1]["candidates"][0]["finishReason"]
        stop = "called" if calls else "said"
        return Said(
            "".join(part["text"] for part in parts if "text" in part and "thought" not in part),
            tuple((call["name"], call["args"]) for call in calls),
            "".join(part["text"] for part in parts if part.get("thought")),
            "cut" if reason == "MAX_TOKENS" else stop,
            usage["promptTokenCount"],
            usage["candidatesTokenCount"] + reasoning,
            usage.get("cachedContentTokenCount", 0),
            reasoning,
        )


class Bedrock(Speaker):
    name = "bedrock"
    headers: Mapping[str, str] = {"authorization": "Bearer k"}
    model = "eu.anthropic.claude-sonnet-4-5-v1:0"

    @override
    def path(self, *, stream: bool = False) -> str:
        quoted = self.model.replace(":", "%3A")
        return f"/model/{quoted}/converse" + ("-stream" if stream else "")

    @override
    def ask(self, text: str = "Hello.", *, image: bool = False, stream: bool = False) -> Body:
        data = base64.b64encode(PIXEL).decode()
        blocks: list[Body] = [{"text": text}]
        blocks += [{"image": {"format": "png", "source": {"bytes": data}}}] if image else []
        return {"messages": [{"role": "user", "content": blocks}]}

    def offer(self, body: Body, *, forced: str | None = None) -> Body:
        tools = [
            {"toolSpec": {"name": name, "inputSchema": {"json": schema}}}
            for name, schema in FUNCTIONS.items()
        ]
        choice: Body = {"tool": {"name": forced}} if forced else {"auto": {}}
        return body | {"toolConfig": {"tools": tools, "toolChoice": choice}}

    def think(self, body: Body) -> Body:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        return body | {"additionalModelRequestFields": {"thinking": thinking}}

    def at_most(self, body: Body, tokens: int) -> Body:
        return body | {"inferenceConfig": {"maxTokens": tokens}}

    def structure(self, body: Body) -> Body:
        schema = {"jsonSchema": {"schema": json.dumps(CLOSED)}}
        return body | {"outputConfig": {"textFormat": {"type": "json_schema", "structure": schema}}}

    def go_on(self, body: Body, answer: Body, result: str) -> Body:
        message = answer["output"]["message"]
        results = [
            {
                "toolResult": {
                    "toolUseId": block["toolUse"]["toolUseId"],
                    "content": [{"text": result}],
                }
            }
            for block in message["content"]
            if "toolUse" in block
        ]
        turns = [message, {"role": "user", "content": results}]
        return body | {"messages": [*body["messages"], *turns]}

    def whole(self, content: bytes) -> Said:
        answer = json.loads(content)
        return self._said(
            answer["output"]["message"]["content"], answer["stopReason"], answer["usage"]
        )

    def streamed(self, content: bytes) -> Said:
        events = [(headers[":event-type"], data) for headers, data in frames(content)]
        assert [name for name, _ in events[-2:]] == ["messageStop", "metadata"]
        blocks: dict[int, Body] = {}
        for name, data in events:
            if not name.startswith("contentBlock"):
                continue
            block = blocks.setdefault(data["contentBlockIndex"], {})
            match data.get("start") or data.get("delta") or {}:
                case {"toolUse": {"name": str()} as call}:
                    block["toolUse"] = call | {"input": ""}
                case {"toolUse": {"input": piece}}:
                    block["toolUse"]["input"] += piece
                case {"text": word}:
                    block["text"] = block.get("text", "") + word
                case {"reasoningContent": {"text": word}}:
                    thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
                    thought["reasoningText"]["text"] += word
        for block in blocks.values():
            if call := block.get("toolUse"):
                call["input"] = json.loads(call["input"])
        stop, metadata = events[-2][1], events[-1][1]
        return self._said([*blocks.values()], stop["stopReason"], metadata["usage"])

    def ends(self, content: bytes) -> bool:
        return frames(content)[-1][0].get(":event-type") == "metadata"

    def _said(self, blocks: Sequence[Body], stop: str, usage: Body) -> Said:
        calls = [block["toolUse"] for block in blocks if "toolUse" in block]
        thought = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
        cached = usage["cacheReadInputTokens"]
        assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] + cached
        return Said(
            "".join(block.get("text", "") for block in blocks),
            tuple((call["name"], call["input"]) for call in calls),
            "".join(one["reasoningText"]["text"] for one in thought),
            {"end_turn": "said", "tool_use": "called", "max_tokens": "cut"}[stop],
            usage["inputTokens"] + cached,
            usage["outputTokens"],
            cached,
            None,
        )


def frames(content: bytes) -> list[tuple[dict[str, str], Any]]:
    """The messages of an event stream, their checksums held against what they are of."""
    found = []
    while content:
        length, head_length, head_sum = struct.unpack(">III", content[:12])
        frame, content = content[:length], content[length:]
        assert zlib.crc32(frame[:8]) == head_sum
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:], "big")
        headers = dict(_headers(frame[12 : 12 + head_length]))
        found.append((headers, json.loads(frame[12 + head_length : -4])))
    return found


def _headers(head: bytes) -> Iterator[tuple[str, str]]:
    while head:
        name_end = 1 + head[0]
        kind, length = struct.unpack(">BH", head[name_end : name_end + 3])
        assert kind == 7
        value_end = name_end + 3 + length
        yield head[1:name_end].decode(), head[name_end + 3 : value_end].decode()
        head = head[value_end:]


SPEAKERS: Sequence[Speaker] = (
    Chat(),
    AzureDeployed(),
    AzureV1(),
    Responses(),
    AzureResponses(),
    Anthropic(),
    Gemini(),
    Bedrock(),
)
