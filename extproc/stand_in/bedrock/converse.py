"""Converse: what is asked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from extproc.stand_in.bedrock import rules
from extproc.stand_in.bedrock.answer import ConverseWriter
from extproc.stand_in.bedrock.shapes import (
    Document,
    Image,
    InferenceConfig,
    Message,
    Request,
    ResultContent,
    Source,
)
from extproc.stand_in.errors import ApiError
from extproc.stand_in.question import Asked, Function, Media, MediaKind, Question, inline, linked
from extproc.stand_in.reading import Misfit, Reader, dots

_MEDIA_TYPES = {"pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown"}


def read(asked: Asked, *, streams: bool = False) -> tuple[Question, ConverseWriter]:
    request = _decoded(asked.body, Request)
    turns = [_decoded(one, Message, ("messages", i)) for i, one in enumerate(request.messages)]
    rules.check_turns(turns, has_tools=request.tool_config is not None)
    rules.check_system(request.system or [])
    inference = request.inference_config or InferenceConfig()
    thinks = rules.check_additional(
        request.additional_model_request_fields or {}, inference, request
    )
    question = Question(
        model=asked.model,
        prompt_bytes=sum(len(bytes(message)) for message in request.messages),
        stream=streams,
        last_text=_last_text(turns),
        told=_told(turns[-1]),
        media=tuple(_media(turns)),
        functions=_functions(request),
        schema=_schema(request),
        tokens_max=inference.max_tokens,
        thinks=thinks,
    )
    return question, ConverseWriter()


def read_stream(asked: Asked) -> tuple[Question, ConverseWriter]:
    return read(asked, streams=True)


def _refusal(misfit: Misfit) -> ApiError:
    place = dots(misfit.at)
    match misfit.kind:
        case "json":
            return ApiError(400, "Unable to parse the request body as JSON.")
        case "unknown":
            message = f"Malformed input request: extraneous key [{place}] is not permitted."
            return ApiError(400, message)
        case "missing":
            message = f"Value at '{place}' failed to satisfy constraint: Member must not be null"
            return ApiError(400, message)
        case _:
            return ApiError(400, f"Value at '{place}' is not valid: {misfit.what}")


_decoded = Reader(_refusal)


def _functions(request: Request) -> tuple[Function, ...]:
    config = request.tool_config
    if config is None:
        return ()
    for index, tool in enumerate(config.tools):
        rules.check_union(tool, f"toolConfig.tools.{index}")
    specs = [tool.tool_spec for tool in config.tools if tool.tool_spec]
    for spec in specs:
        if spec.strict:
            rules.check_strict(spec.input_schema.json, f"the tool '{spec.name}'")
    if len({spec.name for spec in specs}) < len(specs):
        raise ApiError(400, "The names of the tools at toolConfig.tools must be unique.")
    if config.tool_choice is not None:
        rules.check_union(config.tool_choice, "toolConfig.toolChoice")
        if wanted := config.tool_choice.tool:
            specs = [spec for spec in specs if spec.name == wanted.name]
            if not specs:
                message = "The tool of toolConfig.toolChoice is not in toolConfig.tools."
                raise ApiError(400, message)
    return tuple(Function(spec.name, spec.input_schema.json) for spec in specs)


def _schema(request: Request) -> dict[str, object] | bool | None:
    form = request.output_config.text_format if request.output_config else None
    if form is None:
        return None
    text, place = form.structure.json_schema.schema, "outputConfig.textFormat"
    try:
        schema = msgspec.json.decode(text, type=dict[str, object] | bool)
    except (ValueError, RecursionError):
        raise ApiError(400, f"The schema at {place} is not the text of a JSON schema.") from None
    rules.check_strict(schema, place)
    return schema


def _last_text(turns: Sequence[Message]) -> str:
    for turn in reversed(turns):
        text = "".join(block.text or "" for block in turn.content)
        if text and turn.role == "user":
            return text
    return ""


def _told(last: Message) -> str | None:
    results = [block.tool_result for block in last.content if block.tool_result]
    parts = [part for result in results for part in result.content]
    return "".join(_said(part) for part in parts) if results else None


def _said(part: ResultContent) -> str:
    if part.json is not None:
        return msgspec.json.encode(part.json).decode()
    return part.text or ""


def _media(turns: Sequence[Message]) -> list[Media]:
    found = []
    for index, turn in enumerate(turns):
        for number, block in enumerate(turn.content):
            place = f"messages.{index}.content.{number}"
            for part in block.tool_result.content if block.tool_result else (block,):
                if part.image:
                    found.append(_image(part.image, place))
                if part.document:
                    found.append(_document(part.document, place))
    return found


def _image(image: Image, place: str) -> Media:
    return _source("image", f"image/{image.format}", image.source, place)


def _document(document: Document, place: str) -> Media:
    kind = document.format or "txt"
    return _source("document", _MEDIA_TYPES.get(kind, kind), document.source, place)


def _source(kind: MediaKind, media_type: str, source: Source, place: str) -> Media:
    rules.check_union(source, f"{place}.{kind}.source")
    match source:
        case Source(bytes=str(data)):
            try:
                return inline(kind, media_type, data)
            except ValueError:
                message = f"The value at {place}.{kind}.source.bytes is not base64."
                raise ApiError(400, message) from None
        case Source(s3_location=where) if where:
            return linked(kind, where.uri)
        case _ if kind == "image":
            raise ApiError(400, f"The source at {place}.image.source must be bytes or s3Location.")
        case _:
            text = source.text or "".join(part.text for part in source.content or [])
            return Media(kind, f"{media_type}, {len(text.encode())} bytes")
