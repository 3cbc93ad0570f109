"""A request in no dialect: what translation reads of one API and writes for another.

It holds what at least two of the APIs can say. A client's dialect reads its payload into a
`Conversation`, a provider's writes one; so N dialects need N readers and M writers, not N x M
translations. What only one API can say never gets here: it is either dropped, by a rule that
docs/dialects.md states, or a `Demand` that makes the targets which can't meet it ineligible.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from extproc.vocabulary import Api

JsonText = str
"""A JSON value, written: schemas and arguments pass through as they were, unparsed."""


@dataclass(frozen=True, slots=True)
class Inline:
    """Content that stands in the payload: `data` is base64."""

    media_type: str
    data: str


@dataclass(frozen=True, slots=True)
class Linked:
    """Content that the provider is to fetch."""

    url: str


Source = Inline | Linked


@dataclass(frozen=True, slots=True)
class CacheMark:
    """The prompt up to and including this part is worth keeping; `ttl` as `5m` or `1h`."""

    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """`detail` is OpenAI's hint (`low`, `high`, `auto`)."""

    source: Source
    detail: str | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file that the model reads, nearly always a PDF; plain text is `Inline("text/plain", …)`."""

    source: Source
    name: str | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """`format` is that of the data (`wav`, `mp3`); `data` is base64."""

    format: str
    data: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model thought in an earlier turn. Only who made `signature` can check it.

    `redacted` is thought that the provider encrypted; then there is no `text`.
    """

    text: str
    signature: str | None = None
    redacted: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The assistant asks for `name` to be called; `arguments` is the text of a JSON object.

    `signature` is Gemini's thought signature, which belongs to the call.
    """

    id: str
    name: str
    arguments: JsonText
    signature: str | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the call `call_id` came to."""

    call_id: str
    parts: tuple[Text | Image | Document, ...]
    failed: bool = False
    cache: CacheMark | None = None


Part = Text | Image | Document | Audio | Thinking | ToolCall | ToolResult


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; a turn of tool results is the user's. Two in a row may have the same role.

    A SYSTEM message stands only after the first other one: what leads is `Conversation.system`.
    A writer whose API has no such thing writes it as the user's.
    """

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function; `parameters` is its JSON Schema, None where it takes nothing."""

    name: str
    description: str | None = None
    parameters: JsonText | None = None
    strict: bool | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`any` wants some call, `named` one of the tool `name`."""

    mode: Literal["auto", "none", "any", "named"]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """An answer in JSON: of this `schema`, or any object where it is None."""

    schema: JsonText | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How much to think: an `effort` in OpenAI's words, or a budget in tokens.

    `effort` is one of none, minimal, low, medium, high, xhigh. `shown` asks to see what is
    thought, or a summary; None leaves it to the provider.
    """

    effort: str | None = None
    budget_tokens: int | None = None
    shown: bool | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request, but for its model, which the router chooses.

    `user` is the client's name for its end user.
    """

    system: tuple[Text, ...]
    messages: tuple[Message, ...]
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None
    output_format: OutputFormat | None = None
    output_tokens_max: int | None = None
    reasoning: Reasoning | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    user: str | None = None


class Demand(StrEnum):
    """What a request wants that some provider API has no counterpart for.

    Each value completes "needs …" in the record. A native target (same dialect) meets them all.
    """

    SEVERAL_ANSWERS = "several answers to one request"
    LOGPROBS = "log probabilities"
    AUDIO_INPUT = "audio input"
    AUDIO_OUTPUT = "audio output"
    HOSTED_TOOLS = "tools that the provider runs"
    CUSTOM_TOOLS = "tools without a JSON schema"
    LINKED_IMAGES = "images by URL"
    LINKED_DOCUMENTS = "documents by URL"
    IMAGES_IN_RESULTS = "images in tool results"
    STORED_STATE = "what the provider has stored of earlier requests"
    STORED_FILES = "files that the provider has stored"
    BOUND_THINKING = "earlier thinking that only Claude can read"
    ENCRYPTED_REASONING = "earlier reasoning that only its provider can decrypt"
    BACKGROUND = "an answer in the background"
    COUNT = "a count of tokens"
    EMBEDDINGS = "embeddings"
    UNKNOWN_PARTS = "parts of a kind that is not known here"

    __hash__ = str.__hash__


BOUND: Final = frozenset(
    {
        Demand.STORED_STATE,
        Demand.STORED_FILES,
        Demand.BOUND_THINKING,
        Demand.ENCRYPTED_REASONING,
    }
)
"""What binds a conversation to the provider that it began at."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a provider's API is told: `prefix + rest` is the body.

    `prefix` names the model where the API has it in the body, so that two targets of one dialect
    share `rest`. `endpoint` comes below the base path, with its query.
    """

    endpoint: str
    prefix: str
    rest: bytes


class UnreadableError(ValueError):
    """A payload that can't be read as its dialect says; `param` is where. Answered with a 400.

    The message names fields and types, never content.
    """

    def __init__(self, param: str, what: str) -> None:
        super().__init__(f"The field `{param}` {what}.")
        self.param = param


class NotTakenError(UnreadableError):
    """Content that one provider's API does not take; a target of another may."""

    def __init__(self, param: str, content: str, api: Api) -> None:
        super().__init__(param, f"holds {content}, which the API `{api}` does not take")
        self.detail = f"holds {content}, which its API `{api}` does not take"
