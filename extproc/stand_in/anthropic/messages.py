"""The messages API: what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from extproc.stand_in.anthropic import rules
from extproc.stand_in.anthropic.answer import CountWriter, MessagesWriter
from extproc.stand_in.anthropic.shapes import (
    Base64,
    Chunked,
    Countable,
    Document,
    Image,
    InputSchema,
    Message,
    PlainText,
    Request,
    SearchResult,
    Stored,
    Text,
    Tool,
    ToolKind,
    ToolResult,
    Url,
)
from extproc.stand_in.errors import ApiError
from extproc.stand_in.question import Asked, Function, Media, Question, inline, linked
from extproc.stand_in.reading import Misfit, Place, Reader, dots

OLD_VERSIONS = frozenset({"2023-01-01", "2023-06-01"})
NEW_VERSION = "2026-10-21"
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def read(asked: Asked) -> tuple[Question, MessagesWriter]:
    _check_version(asked)
    request = _decoded(asked.body, Request)
    question = _question(request, asked, request)
    shows = request.thinking is None or request.thinking.display != "omitted"
    return question, MessagesWriter(shows_thinking=shows)


def read_count(asked: Asked) -> tuple[Question, CountWriter]:
    _check_version(asked)
    return _question(_decoded(asked.body, Countable), asked, None), CountWriter()


def _question(asked_for: Countable, asked: Asked, request: Request | None) -> Question:
    turns = [_decoded(one, Message, ("messages", i)) for i, one in enumerate(asked_for.messages)]
    tools = _tools(asked_for.tools or [])
    rules.check_turns(turns, thinks=_thinks(asked_for))
    rules.check_system(asked_for)
    if asked.headers["anthropic-version"] == NEW_VERSION:
        rules.check_removed(asked_for, turns)
    rules.check_marks(asked_for)
    rules.check_choice(asked_for, [tool.name for tool in tools])
    if request is not None:
        rules.check_thinking(request)
        rules.check_sampling(request)
    choice = asked_for.tool_choice
    wanted = [tool for tool in tools if not (choice and choice.name) or tool.name == choice.name]
    form = asked_for.output_config.format if asked_for.output_config else None
    if form is not None:
        rules.check_strict(form.schema, "output_config.format.schema")
    results = _results(turns[-1])
    return Question(
        model=asked_for.model,
        prompt_bytes=sum(len(bytes(message)) for message in asked_for.messages),
        stream=bool(request and request.stream),
        last_text=_last_text(turns),
        told="".join(_said(one.content or "") for one in results) if results else None,
        media=tuple(_media(turns)),
        functions=()
        if choice and choice.type == "none"
        else tuple(Function(tool.name, tool.input_schema) for tool in wanted),
        several_calls=not (choice and choice.disable_parallel_tool_use),
        schema=form.schema if form else None,
        tokens_max=request.max_tokens if request else None,
        thinks=_thinks(asked_for),
        is_silent=request is None,
    )


def _check_version(asked: Asked) -> None:
    version = asked.headers.get("anthropic-version")
    if version is None:
        raise ApiError(400, "anthropic-version: header is required")
    if version not in (NEW_VERSION, *OLD_VERSIONS):
        raise ApiError(400, f'anthropic-version: "{version}" is not a valid version')


def _refusal(misfit: Misfit) -> ApiError:
    place = dots(misfit.at)
    match misfit.kind:
        case "json":
            return ApiError(400, "The request body is not valid JSON.")
        case "unknown":
            return ApiError(400, f"{place}: Extra inputs are not permitted")
        case "missing":
            return ApiError(400, f"{place}: Field required")
        case _:
            return ApiError(400, f"{place}: {misfit.what}")


_decoded = Reader(_refusal)


def _tools(raw: Sequence[msgspec.Raw]) -> list[Tool]:
    """Those that are called; the others are Anthropic's own, and not looked into."""
    tools = []
    for index, one in enumerate(raw):
        at: Place = ("tools", index)
        if _decoded(one, ToolKind, at).type not in (None, "custom"):
            continue
        tool = _decoded(one, Tool, at)
        schema = msgspec.Raw(msgspec.json.encode(tool.input_schema))
        _decoded(schema, InputSchema, (*at, "custom", "input_schema"))
        if tool.strict:
            rules.check_strict(tool.input_schema, f"tools.{index}.custom.input_schema")
        tools.append(tool)
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise ApiError(400, "tools: Tool names must be unique.")
    return tools


def _thinks(request: Countable) -> bool:
    return request.thinking is not None and request.thinking.type != "disabled"


def _results(turn: Message) -> list[ToolResult]:
    if isinstance(turn.content, str):
        return []
    return [block for block in turn.content if isinstance(block, ToolResult)]


def _last_text(turns: Sequence[Message]) -> str:
    for turn in reversed(turns):
        if turn.role == "user" and (text := _said(turn.content)):
            return text
    return ""


def _said(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content if isinstance(block, Text))


def _media(turns: Sequence[Message]) -> list[Media]:
    found = []
    for index, turn in enumerate(turns):
        for number, block in enumerate(turn.content if isinstance(turn.content, list) else []):
            place = f"messages.{index}.content.{number}"
            within = block.content if isinstance(block, ToolResult) else [block]
            for part in within if isinstance(within, list) else []:
                if isinstance(part, Image):
                    found.append(_image(part, place))
                elif isinstance(part, Document):
                    found.append(_document(part, place))
                elif isinstance(part, SearchResult):
                    found.append(linked("document", part.source))
    return found


def _image(image: Image, place: str) -> Media:
    match image.source:
        case Base64(media_type=kind) if kind not in IMAGE_TYPES:
            allowed = ", ".join(f"'{one}'" for one in sorted(IMAGE_TYPES))
            where = f"{place}.image.source.base64.media_type"
            raise ApiError(400, f"{where}: Input should be {allowed}")
        case Base64(media_type=kind, data=data):
            try:
                return inline("image", kind, data)
            except ValueError:
                where = f"{place}.image.source.base64.data"
                raise ApiError(400, f"{where}: Invalid base64 data") from None
        case Url(url=where) | Stored(file_id=where):
            return linked("image", where)


def _document(document: Document, place: str) -> Media:
    match document.source:
        case Base64(media_type="application/pdf" as kind, data=data):
            try:
                return inline("document", kind, data)
            except ValueError:
                where = f"{place}.document.source.base64.data"
                raise ApiError(400, f"{where}: Invalid base64 data") from None
        case Base64():
            where = f"{place}.document.source.base64.media_type"
            raise ApiError(400, f"{where}: Input should be 'application/pdf'")
        case PlainText(data=text):
            return Media("document", f"text/plain, {len(text.encode())} bytes")
        case Chunked(content=content):
            return Media("document", f"text/plain, {len(_said(content).encode())} bytes")
        case Url(url=where) | Stored(file_id=where):
            return linked("document", where)
