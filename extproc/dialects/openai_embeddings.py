"""OpenAI embeddings, POST /v1/embeddings: what routing reads of a request.

A provider that speaks it gets the request as it is. Fields are those of the API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.dialects.conversation import Demand
from extproc.dialects.members import Member, without
from extproc.dialects.payload import Payload
from extproc.dialects.reading import (
    field,
    malformed,
    metadata_texts,
    read_payload,
    reject,
    requested_model,
)
from extproc.feature import Feature
from extproc.text.tokens import Measure, measure_all, total
from extproc.vocabulary import Refusal

EMPTY_BODY: Final = malformed("The request body is empty; send a JSON object with `input`.")

_FEATURES: Final = frozenset({Feature.EMBEDDINGS})

_WORDS_PER_TOKEN: Final = 1.5
"""A word costs about two thirds of a token, in the prices of `text.tokens`."""

_FIRST: Final = re.compile(rb"\[[ \t\r\n]*(.)", re.DOTALL)

_one = msgspec.json.Decoder(str | None)
_several = msgspec.json.Decoder(list[str])
_tokens = msgspec.json.Decoder(list[int])
_token_lists = msgspec.json.Decoder(list[list[int]])


def read(body: bytes) -> Payload | Refusal:
    """The payload in `body`, or why it can't be one (a 400)."""
    return read_payload(body, EMPTY_BODY, _payload)


def _payload(body: bytes, fields: Mapping[str, Member]) -> Payload:
    if "input" not in fields:
        reject("input", "is required")
    texts, tokens = _texts_and_tokens(fields)
    text = measure_all([text.encode() for text in texts])
    if tokens:
        text = total([text, Measure(words=tokens * _WORDS_PER_TOKEN)])
    return Payload(
        requested_model=requested_model(fields),
        streaming=False,
        features=_FEATURES,
        text=text,
        schemas=measure_all([]),
        messages=0,
        parts={},
        output_tokens_max=None,
        reasoning_effort=None,
        metadata=metadata_texts(fields),
        last_turn="\n".join(texts),
        rest=without(body, fields.get("model")),
        demands=frozenset({Demand.EMBEDDINGS}),
    )


def _texts_and_tokens(fields: Mapping[str, Member]) -> tuple[list[str], int]:
    """The texts in `input`, or how many tokens stand there instead.

    What stands first tells what all have to be.
    """
    texts: list[str] = []
    lists: list[list[int]] = []
    first = _FIRST.match(fields["input"].raw)
    match first and first[1]:
        case None:
            text = field(fields, "input", _one)
            texts = [] if text is None else [text]
        case b'"':
            texts = field(fields, "input", _several) or []
        case b"[":
            lists = field(fields, "input", _token_lists) or []
        case b"]":
            pass
        case _:
            lists = [field(fields, "input", _tokens) or []]
    if not texts and not lists:
        reject("input", "needs at least one text, or one list of tokens")
    if "" in texts or [] in lists:
        reject("input", "holds an empty text, or an empty list of tokens")
    return texts, sum(map(len, lists))
