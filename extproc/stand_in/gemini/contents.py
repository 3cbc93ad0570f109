"""Gemini: what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from extproc.stand_in.errors import ApiError
from extproc.stand_in.gemini import rules
from extproc.stand_in.gemini.answer import GeminiWriter
from extproc.stand_in.gemini.shapes import (
    Blob,
    Content,
    FunctionDeclaration,
    FunctionResponse,
    GenerationConfig,
    Part,
    Request,
    Schema,
)
from extproc.stand_in.question import Asked, Function, Media, MediaKind, Question, inline, linked
from extproc.stand_in.reading import Misfit, Place, Reader, brackets


def read(asked: Asked, *, streams: bool = False) -> tuple[Question, GeminiWriter]:
    request = _decoded(asked.body, Request)
    contents = [_decoded(one, Content, ("contents", i)) for i, one in enumerate(request.contents)]
    rules.check_contents(contents, model=asked.model, provider=asked.provider)
    config = request.generation_config or GenerationConfig()
    rules.check_config(config, has_tools=bool(request.tools), model=asked.model)
    functions = _functions(request)
    thinking = config.thinking_config
    question = Question(
        model=asked.model,
        prompt_bytes=sum(len(bytes(content)) for content in request.contents),
        stream=streams,
        last_text=_last_text(contents),
        told=_told(contents[-1]),
        media=tuple(_media(contents)),
        functions=functions,
        wants_json=config.response_mime_type == "application/json",
        schema=_answer_schema(config),
        tokens_max=config.max_output_tokens,
        thinks=bool(
            thinking
            and (thinking.include_thoughts or thinking.thinking_budget or thinking.thinking_level)
        ),
    )
    writer = GeminiWriter(
        is_sse=asked.query.get("alt") == "sse",
        shows_thoughts=bool(thinking and thinking.include_thoughts),
        is_third=rules.is_third(asked.model),
    )
    return question, writer


def read_stream(asked: Asked) -> tuple[Question, GeminiWriter]:
    return read(asked, streams=True)


def _refusal(misfit: Misfit) -> ApiError:
    bad = "Invalid JSON payload received."
    match misfit.kind:
        case "json":
            return ApiError(400, f"{bad} Parsing terminated before end of input.")
        case "unknown":
            where = f" at '{brackets(misfit.at[:-1])}'" if misfit.at[1:] else ""
            message = f'{bad} Unknown name "{misfit.at[-1]}"{where}: Cannot find field.'
            return ApiError(400, message)
        case "missing":
            message = f"* GenerateContentRequest.{brackets(misfit.at)}: required field is missing."
            return ApiError(400, message)
        case _:
            return ApiError(400, f"Invalid value at '{brackets(misfit.at)}': {misfit.what}")


_decoded = Reader(_refusal)


def _functions(request: Request) -> tuple[Function, ...]:
    declared = []
    for index, tool in enumerate(request.tools or []):
        for number, one in enumerate(tool.function_declarations or []):
            place: Place = ("tools", index, "functionDeclarations", number)
            declared.append(Function(one.name, _parameters(one, place)))
    calling = request.tool_config.function_calling_config if request.tool_config else None
    if calling is None:
        return tuple(declared)
    allowed = calling.allowed_function_names
    if allowed and calling.mode not in ("ANY", "VALIDATED"):
        what = "allowed_function_names should only be set when mode is ANY or VALIDATED."
        raise ApiError(400, f"tool_config.function_calling_config: {what}")
    names = {one.name for one in declared}
    if allowed and not names.issuperset(allowed):
        what = "allowed_function_names has functions that are not declared."
        raise ApiError(400, f"tool_config.function_calling_config: {what}")
    if calling.mode == "NONE":
        return ()
    return tuple(one for one in declared if not allowed or one.name in allowed)


def _parameters(one: FunctionDeclaration, place: Place) -> dict[str, Any] | bool | None:
    if one.parameters is None:
        return one.parameters_json_schema
    if one.parameters_json_schema is not None:
        what = "only one of parameters and parameters_json_schema can be set."
        raise ApiError(400, f"* GenerateContentRequest.{brackets(place)}: {what}")
    return _schema(one.parameters, (*place, "parameters"))


def _schema(schema: dict[str, Any], place: Place) -> dict[str, Any]:
    rules.check_schema(_decoded(msgspec.json.encode(schema), Schema, place), place)
    return schema


def _answer_schema(config: GenerationConfig) -> dict[str, Any] | bool | None:
    if config.response_schema is not None:
        return _schema(config.response_schema, ("generationConfig", "responseSchema"))
    return config.response_json_schema


def _last_text(contents: Sequence[Content]) -> str:
    for content in reversed(contents):
        text = "".join(part.text or "" for part in content.parts)
        if text and content.role != "model":
            return text
    return ""


def _told(last: Content) -> str | None:
    """What the functions said: the text of a customary field, or all of it as JSON."""
    results = [part.function_response for part in last.parts if part.function_response]
    return "".join(_said(result) for result in results) if results else None


def _said(result: FunctionResponse) -> str:
    for name in ("result", "output", "content", "error"):
        if isinstance(said := result.response.get(name), str):
            return said
    return msgspec.json.encode(result.response).decode()


def _media(contents: Sequence[Content]) -> list[Media]:
    found = []
    for index, content in enumerate(contents):
        for number, part in enumerate(content.parts):
            place = f"contents[{index}].parts[{number}]"
            found += [_blob(blob, place) for blob in _blobs(part)]
            if part.file_data:
                kind = _kind(part.file_data.mime_type or "image/")
                found.append(linked(kind, part.file_data.file_uri))
    return found


def _blobs(part: Part) -> list[Blob]:
    blobs = [part.inline_data] if part.inline_data else []
    if part.function_response:
        for one in part.function_response.parts or []:
            blobs += one.values()
    return blobs


def _blob(blob: Blob, place: str) -> Media:
    try:
        return inline(_kind(blob.mime_type), blob.mime_type, blob.data)
    except ValueError:
        message = (
            f"Invalid value at '{place}.inline_data.data' (TYPE_BYTES), Base64 decoding failed"
        )
        raise ApiError(400, message) from None


def _kind(mime_type: str) -> MediaKind:
    match mime_type.partition("/")[0]:
        case "image":
            return "image"
        case "audio":
            return "recording"
        case _:
            return "document"
