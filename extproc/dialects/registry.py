"""Which dialect is whose: the clients' by the API they speak, the providers' by theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from extproc.dialects import anthropic, bedrock, gemini, openai_chat, openai_responses
from extproc.dialects import openai_embeddings as embeddings
from extproc.dialects.answer import AnswerReader, AnswerWriter, Envelope, Event
from extproc.dialects.conversation import Conversation, Demand, Wording
from extproc.dialects.payload import Payload
from extproc.vocabulary import Api, ModelName, ProviderName, Refusal, Surface, Target

EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class RouterAnswers:
    """How the router itself answers in a dialect."""

    refusal: Callable[[Refusal], bytes]
    models: Callable[[Iterable[tuple[ModelName, ProviderName]]], bytes]
    model: Callable[[ModelName, ProviderName], bytes]


@dataclass(frozen=True, slots=True)
class Translated:
    """What it takes to answer a client whose target speaks another dialect."""

    read_request: Callable[[bytes], Conversation]
    envelope: Callable[[bytes, str, int], Envelope]
    write_answer: Callable[[Sequence[Event], Envelope], bytes]
    writer: Callable[[Envelope], AnswerWriter]


@dataclass(frozen=True, slots=True)
class ClientDialect:
    """`read` is for routing. Without `translated`, only a target that speaks the same can serve.

    `without_foreign` takes a payload's `rest` and leaves out what other providers thought
    (`Payload.unsigned_thinking`).
    """

    read: Callable[[bytes], Payload | Refusal]
    empty_body: Refusal
    answers: RouterAnswers
    translated: Translated | None = None
    without_foreign: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class ProviderDialect:
    """`lacks` is what a target's API has no counterpart for; `stream_type` how streams travel."""

    lacks: Callable[[Target], frozenset[Demand]]
    write_request: Callable[[Conversation, Target], Wording]
    reader: Callable[[str], AnswerReader]
    read_answer: Callable[[bytes, str], list[Event]]
    read_error: Callable[[int, bytes], Refusal]
    stream_type: str = EVENT_STREAM


OPENAI_ANSWERS: Final = RouterAnswers(
    openai_chat.render_refusal, openai_chat.render_models, openai_chat.render_model
)
ANTHROPIC_ANSWERS: Final = RouterAnswers(
    anthropic.render_refusal, anthropic.render_models, anthropic.render_model
)

CLIENTS: Final[Mapping[Surface, ClientDialect]] = {
    Surface.CHAT: ClientDialect(
        openai_chat.read,
        openai_chat.EMPTY_BODY,
        OPENAI_ANSWERS,
        Translated(
            openai_chat.read_request,
            openai_chat.envelope,
            openai_chat.write_answer,
            openai_chat.StreamWriter,
        ),
    ),
    Surface.RESPONSES: ClientDialect(
        openai_responses.read,
        openai_responses.EMPTY_BODY,
        OPENAI_ANSWERS,
        Translated(
            openai_responses.read_request,
            openai_responses.envelope,
            openai_responses.write_answer,
            openai_responses.StreamWriter,
        ),
        openai_responses.without_foreign_thinking,
    ),
    Surface.EMBEDDINGS: ClientDialect(embeddings.read, embeddings.EMPTY_BODY, OPENAI_ANSWERS),
    Surface.MESSAGES: ClientDialect(
        anthropic.read,
        anthropic.EMPTY_BODY,
        ANTHROPIC_ANSWERS,
        Translated(
            anthropic.read_request,
            anthropic.envelope,
            anthropic.write_answer,
            anthropic.StreamWriter,
        ),
        anthropic.without_unsigned,
    ),
    Surface.COUNT_TOKENS: ClientDialect(
        anthropic.read_count,
        anthropic.EMPTY_BODY,
        ANTHROPIC_ANSWERS,
        without_foreign=anthropic.without_unsigned,
    ),
}


def _always(lacking: frozenset[Demand]) -> Callable[[Target], frozenset[Demand]]:
    return lambda _: lacking


_OPENAI: Final = ProviderDialect(
    _always(openai_chat.LACKS),
    openai_chat.write_request,
    openai_chat.StreamReader,
    openai_chat.read_answer,
    openai_chat.read_error,
)
PROVIDERS: Final[Mapping[Api, ProviderDialect]] = {
    Api.OPENAI: _OPENAI,
    Api.AZURE: _OPENAI,
    Api.ANTHROPIC: ProviderDialect(
        _always(anthropic.LACKS),
        anthropic.write_request,
        anthropic.StreamReader,
        anthropic.read_answer,
        anthropic.read_error,
    ),
    Api.GEMINI: ProviderDialect(
        _always(gemini.LACKS),
        gemini.write_request,
        gemini.StreamReader,
        gemini.read_answer,
        gemini.read_error,
    ),
    Api.BEDROCK: ProviderDialect(
        bedrock.lacks,
        bedrock.write_request,
        bedrock.StreamReader,
        bedrock.read_answer,
        bedrock.read_error,
        "application/vnd.amazon.eventstream",
    ),
}
