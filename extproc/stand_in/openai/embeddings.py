"""Embeddings: vectors of unit length that follow from the text, and from nothing else.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from extproc.stand_in.answer import Answer
from extproc.stand_in.dialect import EVENT_STREAM
from extproc.stand_in.errors import ApiError
from extproc.stand_in.openai.manners import decoded, error_body, invalid, missing
from extproc.stand_in.question import Asked, Question
from extproc.stand_in.reading import Shape
from extproc.stand_in.sample import Json

INPUTS_MAX = 2048
DIMENSIONS = 1536
LARGE_DIMENSIONS = 3072

Token = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Inputs = str | list[str | Token | list[Token]]


class Request(Shape):
    model: str = ""
    input: Inputs | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingsWriter:
    inputs: tuple[str, ...]
    dimensions: int
    as_base64: bool
    stream_type: str = EVENT_STREAM

    def whole(self, answer: Answer) -> bytes:
        data: Json = [
            {"object": "embedding", "index": index, "embedding": self._embedding(text)}
            for index, text in enumerate(self.inputs)
        ]
        tokens = answer.prompt_tokens
        usage: Json = {"prompt_tokens": tokens, "total_tokens": tokens}
        return msgspec.json.encode(
            {"object": "list", "data": data, "model": answer.model, "usage": usage}
        )

    def stream(self, answer: Answer) -> Iterator[bytes]:
        yield self.whole(answer)

    def error_event(self, error: ApiError, sent: int) -> bytes:  # noqa: ARG002
        return error_body(error)

    def _embedding(self, text: str) -> Json:
        numbers = vector(text, self.dimensions)
        if self.as_base64:
            return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
        return [*numbers]


def vector(text: str, dimensions: int) -> list[float]:
    """Every number fits a 32-bit float exactly, so that both encodings say the same."""
    noise = hashlib.shake_256(text.encode()).digest(2 * dimensions)
    raw = [number + 0.5 for number in struct.unpack(f"<{dimensions}h", noise)]
    length = math.sqrt(sum(number * number for number in raw))
    packed = struct.pack(f"<{dimensions}f", *(number / length for number in raw))
    return list(struct.unpack(f"<{dimensions}f", packed))


def read(asked: Asked) -> tuple[Question, EmbeddingsWriter]:
    request = decoded(asked.body, Request)
    model = asked.model or request.model
    if not model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    inputs = _texts(request.input)
    most = LARGE_DIMENSIONS if "large" in model else DIMENSIONS
    if request.dimensions is not None:
        if "ada-002" in model:
            raise invalid("dimensions", "this model does not support specifying dimensions.")
        if request.dimensions > most:
            why = f"must be less than or equal to {most}."
            raise invalid("dimensions", why, "integer_above_max_value")
    question = Question(
        model=model, prompt_bytes=sum(len(text.encode()) for text in inputs), is_silent=True
    )
    writer = EmbeddingsWriter(
        inputs, request.dimensions or most, request.encoding_format == "base64"
    )
    return question, writer


def _texts(inputs: Inputs | None) -> tuple[str, ...]:
    """Tokens count as the text of their numbers."""
    match inputs:
        case None:
            raise missing("input")
        case str():
            found = [inputs]
        case [int(), *_]:
            if not all(isinstance(token, int) for token in inputs):
                raise invalid("input", "tokens and texts do not mix.")
            found = [" ".join(map(str, inputs))]
        case _:
            if len({type(one) for one in inputs}) > 1:
                raise invalid("input", "tokens and texts do not mix.")
            found = [one if isinstance(one, str) else _numbers(one) for one in inputs]
    if not found or not all(found):
        raise invalid("input", "input cannot be an empty string.")
    if len(found) > INPUTS_MAX:
        raise invalid("input", f"array too long: at most {INPUTS_MAX}.", "array_above_max_length")
    return tuple(found)


def _numbers(tokens: int | list[Token]) -> str:
    return str(tokens) if isinstance(tokens, int) else " ".join(map(str, tokens))
