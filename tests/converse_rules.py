"""What Converse refuses, by its API reference: held against requests that were made for it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FIELDS = {
    *("messages", "system", "inferenceConfig", "toolConfig", "outputConfig"),
    *("additionalModelRequestFields", "additionalModelResponseFieldPaths"),
}
KINDS = {
    "user": {"text", "image", "document", "audio", "toolResult", "cachePoint"},
    "assistant": {"text", "toolUse", "reasoningContent", "cachePoint"},
}
IN_RESULTS = {"text", "image", "document", "json"}
IMAGES = {"png", "jpeg", "gif", "webp"}
DOCUMENTS = {"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}
CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
NAME = re.compile(r"(?=.{1,200}$)[a-zA-Z0-9()\[\]-]+(\s[a-zA-Z0-9()\[\]-]+)*")


def check(request: Mapping[str, Any]) -> None:
    """Fails where Converse would answer with a ValidationException."""
    assert set(request) <= FIELDS
    messages = request["messages"]
    assert [message["role"] for message in messages] == [
        "assistant" if number % 2 else "user" for number in range(len(messages))
    ]
    assert messages
    for message in messages:
        check_turn(message["role"], message["content"])
    names = [block["document"]["name"] for block in walk(messages) if "document" in block]
    assert len(names) == len(set(names))
    called = any("toolUse" in block for block in walk(messages))
    assert "toolConfig" in request or not called
    for block in request.get("system", ()):
        check_block(block, {"text", "cachePoint"})
    if "toolConfig" in request:
        check_tools(request["toolConfig"])
    check_inference(request.get("inferenceConfig", {}))
    for field in request:
        assert request[field]


def check_turn(role: str, content: Sequence[Mapping[str, Any]]) -> None:
    assert content
    for block in content:
        check_block(block, KINDS[role])
    kinds = [next(iter(block)) for block in content]
    assert "document" not in kinds or "text" in kinds
    without_marks = [kind == "toolResult" for kind in kinds if kind != "cachePoint"]
    assert without_marks == sorted(without_marks, reverse=True)


def check_block(block: Mapping[str, Any], allowed: set[str]) -> None:
    (kind,) = block
    assert kind in allowed
    held = block[kind]
    if kind == "text":
        assert held.strip()
    elif kind == "image":
        assert held["format"] in IMAGES
        assert held["source"]["bytes"]
    elif kind == "document":
        assert held["format"] in DOCUMENTS
        assert NAME.fullmatch(held["name"])
    elif kind == "toolUse":
        assert CALL_ID.fullmatch(held["toolUseId"])
        assert isinstance(held["input"], dict)
    elif kind == "toolResult":
        assert CALL_ID.fullmatch(held["toolUseId"])
        assert held["content"]
        assert held.get("status", "error") == "error"
        for inner in held["content"]:
            check_block(inner, IN_RESULTS)
    elif kind == "reasoningContent":
        (form,) = held
        assert form == "redactedContent" or held[form]["signature"]
    elif kind == "cachePoint":
        assert held in ({"type": "default"}, {"type": "default", "ttl": "1h"})


def check_tools(config: Mapping[str, Any]) -> None:
    assert set(config) <= {"tools", "toolChoice"}
    specified = [tool["toolSpec"] for tool in config["tools"] if "cachePoint" not in tool]
    assert specified
    for tool in specified:
        assert set(tool) <= {"name", "description", "inputSchema"}
        assert tool["inputSchema"]["json"]["type"] == "object"
        assert tool.get("description", "any").strip()
    assert len(config.get("toolChoice", {"any": {}})) == 1


def check_inference(config: Mapping[str, Any]) -> None:
    assert set(config) <= {"maxTokens", "temperature", "topP", "stopSequences"}
    assert config.get("maxTokens", 1) >= 1
    assert 0 <= config.get("temperature", 0) <= 1
    assert 0 <= config.get("topP", 0) <= 1
    assert all(config.get("stopSequences", ["any"]))


def walk(value: object) -> Iterator[Mapping[str, Any]]:
    """Every content block in turns, those in tool results too."""
    if isinstance(value, list):
        for each in value:
            yield from walk(each)
    elif isinstance(value, dict):
        yield value
        for name in ("content", "toolResult"):
            yield from walk(value.get(name))
