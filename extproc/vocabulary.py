"""The words the layers share: plain frozen values, no behaviour beyond what a name implies.

A model has three names, and none of them is ever called just "model" where they could be confused:

* *requested*: what the client wrote in its payload,
* *upstream*: what is sent to the provider,
* *reported*: what the provider says answered.

Beside these stands the name that the routing config gives a model, `ModelName`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NewType

from extproc.feature import Feature
from extproc.price import PriceList
from extproc.text.tokens import Family

ModelName = NewType("ModelName", str)
"""A model as the routing config and the catalog call it, such as `claude-haiku-3`."""

RequestedModel = NewType("RequestedModel", str)
UpstreamModel = NewType("UpstreamModel", str)
ReportedModel = NewType("ReportedModel", str)

ProviderName = NewType("ProviderName", str)

TargetId = NewType("TargetId", str)
"""`provider/model`, in the config's names: `anthropic/claude-haiku-3`."""


APP_HEADER: Final = "x-router-app"
"""Where a request names its app, unless the config says another header."""


class Reason(StrEnum):
    """Why a target was not chosen. The list is closed: it is part of the public record."""

    CAPABILITY = "capability"
    CONTEXT_WINDOW = "context_window"
    REGION = "region"
    PRICE_CEILING = "price_ceiling"
    PRICE_UNKNOWN = "price_unknown"
    QUALITY_FLOOR = "quality_floor"
    LATENCY_CEILING = "latency_ceiling"
    APP_POLICY = "app_policy"
    BREAKER_OPEN = "breaker_open"
    NOT_BEFORE = "not_before"
    REQUESTS_EXHAUSTED = "requests_exhausted"
    TOKENS_EXHAUSTED = "tokens_exhausted"
    BODY_TOO_LARGE = "body_too_large"
    AVOIDED = "avoided"


class TaskSource(StrEnum):
    """Which layer named the task of a request."""

    HEADER = "header"
    METADATA = "metadata"
    CLASSIFIER = "classifier"
    NONE = "none"


class Api(StrEnum):
    """The dialect that a provider speaks; also the values of `api` in the config."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    BEDROCK = "bedrock"
    AZURE = "azure"


class Surface(StrEnum):
    """An API as clients speak it; the request's path says which."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"

    __hash__ = str.__hash__  # looked up on every request


SIGNING_KEY: Final = re.compile(r"(A[A-Za-z0-9]{15,127}):([A-Za-z0-9/+=]+)(?::([A-Za-z0-9/+=]+))?")
"""A key to sign with: `ACCESS_KEY_ID:SECRET`, or `ACCESS_KEY_ID:SECRET:SESSION_TOKEN`.

No bearer key of AWS has a colon in it, and an access key id is as in the IAM API's `AccessKey`:
https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html
"""


@dataclass(frozen=True, slots=True)
class ChatForm:
    """How an OpenAI-compatible provider wants what the router writes for it.

    `output_limit_field` is what it calls the most tokens it may answer with, `seed_field` the
    seed. `takes_user` and `takes_stream_options` say whether it knows these fields; who does not
    know the latter tells a stream's usage unasked. `short_call_ids`: those of tool calls are nine
    letters and digits. `strict_turns`: a system's message only leads, and a user's never follows a
    tool's result at once. `stops_max` is the most stop sequences and
    `tool_name_chars_max` the longest name of a tool, None where no limit is known.
    """

    output_limit_field: str = "max_tokens"
    seed_field: str = "seed"
    takes_user: bool = True
    takes_stream_options: bool = True
    short_call_ids: bool = False
    strict_turns: bool = False
    stops_max: int | None = None
    tool_name_chars_max: int | None = None


USUAL_CHAT_FORM: Final = ChatForm()


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is and how it is spoken to; its `Secrets` are beside it.

    `base_path` is the path of the base URL without a trailing slash (`/v1`). `credential_header`
    is lower case and `credential_prefix` is written before the key (`"Bearer "`); where the header
    is empty, requests are signed with the key, which is a `SIGNING_KEY`, and it is never sent.
    `has_credential` says whether a key is known, never which; `headers` are the names of its own,
    lower case. `endpoints` are the APIs of clients
    that it speaks itself, and where below `base_path`, with `{model}` for the upstream model's
    name; to the others a request is translated into `api`, whose own headers are `api_headers`, and
    which an OpenAI-compatible provider takes in its `chat_form`.
    """

    name: ProviderName
    host: str
    port: int
    tls: bool
    base_path: str
    credential_header: str
    credential_prefix: str
    has_credential: bool
    headers: tuple[str, ...] = ()
    first_byte_timeout_s: float | None = None
    region: str | None = None
    api: Api = Api.OPENAI
    endpoints: Mapping[Surface, str] = field(default_factory=dict)
    api_headers: Mapping[str, str] = field(default_factory=dict)
    chat_form: ChatForm = USUAL_CHAT_FORM


@dataclass(frozen=True, slots=True)
class Secrets:
    """What nobody but its provider may see: its key, and what its own headers hold."""

    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model. A missing capability or window is *unknown*, which is not *no*.

    `family` says whose tokenizer it has. `quality` is, per task type and
    under `default`, from 0 to 1. `output_tokens_max` is the most that it can answer with, which
    some APIs want to be told in each request.
    """

    name: ModelName
    context_window: int | None
    capabilities: Mapping[Feature, bool]
    family: Family = Family.DEFAULT
    quality: Mapping[str, float] = field(default_factory=dict)
    output_tokens_max: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target may be asked in a minute; None: no limit of one's own."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider: what a decision chooses between."""

    id: TargetId
    provider: Provider
    model: Model
    upstream_model: UpstreamModel
    weight: int = 1
    prices: PriceList = ()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Task:
    """What kind of work a request is, which layer said so and how sure that is, from 0 to 1."""

    type: str
    source: TaskSource
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens that a request is expected to take, before anyone has counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one target could not serve one request."""

    target: TargetId
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that gets no target, as a value: rendered once, in the client's dialect.

    `kind` is the class of the mistake and `code` the exact one, both stable; `message` is for the
    person who reads it and never repeats the payload beyond a model's name.
    """

    kind: str
    status: int
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that the route or the client named, weighed for one request.

    `expected_cost_usd` is None where the price is unknown, `expected_latency_ms` where the target
    has not been seen. Without a `rejection` it was eligible and available.
    """

    target: Target
    input_tokens: int
    expected_cost_usd: float | None
    expected_latency_ms: float | None
    rejection: Rejection | None = None


class Choice(StrEnum):
    """What put the first target of a chain first: its route's objective, or what overrode it."""

    ORDER = "order"
    COST = "cost"
    LATENCY = "latency"
    WEIGHTED = "weighted"
    REQUESTED = "requested"
    FALLBACK = "fallback"
    LEAST_BAD = "least_bad"


@dataclass(frozen=True, slots=True)
class History:
    """What binds a conversation to the provider it began at, and whether that may be left out."""

    bound_by: tuple[str, ...]
    stripped: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one request goes, and why; or, with a `refusal`, why it goes nowhere.

    `id` is a ULID: sorted by time, unique by chance. `chain` is empty only with a refusal: its
    first target is tried first, each later one when those before it have failed; `choice` says in
    one word what `why` says in several. Of a request that could not be read, or matched no model,
    what was not found out is None. `counting` says that tokens are only to be counted, which takes
    none and costs nothing.
    """

    id: str
    time: float
    config: str
    app: str | None = None
    route: str | None = None
    requested_model: RequestedModel | None = None
    task: Task | None = None
    estimate: Estimate | None = None
    candidates: tuple[Candidate, ...] = ()
    chain: tuple[Candidate, ...] = ()
    why: str = ""
    refusal: Refusal | None = None
    choice: Choice | None = None
    history: History | None = None
    counting: bool = False

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        return tuple(c.rejection for c in self.candidates if c.rejection)
