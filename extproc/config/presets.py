"""Providers as facts: where each one is, which API it speaks, and how it takes its key.

Every base URL is the one its provider documents for clients of that API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from extproc.vocabulary import USUAL_CHAT_FORM, Api, ChatForm, Surface


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """What all providers of one API have in common.

    `endpoints` are as in `Provider`. `version` is the last part of a base URL's path, added where
    it lacks: SDKs of some providers take a base URL without. `headers` go with what we write.
    `signs` says that a key may be one to sign with too, which no header takes then.
    """

    endpoints: Mapping[Surface, str] = field(default_factory=dict)
    credential_header: str = "authorization"
    credential_prefix: str = "Bearer "
    version: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    signs: bool = False


_CHAT_AND_EMBEDDINGS: Final = {
    Surface.CHAT: "/chat/completions",
    Surface.EMBEDDINGS: "/embeddings",
}
RESPONSES_ENDPOINT: Final = "/responses"

APIS: Final[Mapping[Api, ApiFacts]] = MappingProxyType(
    {
        Api.OPENAI: ApiFacts(_CHAT_AND_EMBEDDINGS),
        # docs: "Azure OpenAI REST API reference", data plane: the deployment stands in the path.
        Api.AZURE: ApiFacts(
            {
                Surface.CHAT: "/openai/deployments/{model}/chat/completions?api-version={version}",
                Surface.EMBEDDINGS: "/openai/deployments/{model}/embeddings?api-version={version}",
            },
            credential_header="api-key",
            credential_prefix="",
        ),
        Api.ANTHROPIC: ApiFacts(
            {
                Surface.MESSAGES: "/messages",
                Surface.COUNT_TOKENS: "/messages/count_tokens",
            },
            credential_header="x-api-key",
            credential_prefix="",
            version="v1",
            headers={"anthropic-version": "2023-06-01"},
        ),
        Api.GEMINI: ApiFacts(
            credential_header="x-goog-api-key", credential_prefix="", version="v1beta"
        ),
        # docs: "Amazon Bedrock API keys", a bearer token; everything older signs (SigV4).
        Api.BEDROCK: ApiFacts(signs=True),
    }
)

AZURE_VERSION: Final = "2024-10-21"
"""The latest `api-version` of Azure's data plane that is generally available."""

AZURE_V1: Final = "/openai/v1"
"""Where Azure's newer API is, which is as OpenAI's own: no deployment or version in the path."""

AZURE_V1_END: Final = "/v1"
"""What tells its base URL from the older one's, wherever a gateway puts it."""


@dataclass(frozen=True, slots=True)
class Preset:
    """`key_names` are environment variables, the first that is set wins; none: no key is needed.

    `signing_key_names` are those of the parts of a key to sign with, id, secret and, if it is set,
    session token. They are read where none of `key_names` is set and the API signs.

    `base_url` is None where it differs from customer to customer. `key_required` is False where a
    provider runs with or without a key. `responses` says whether an OpenAI-compatible provider has
    OpenAI's Responses API too, `chat_form` is as in `Provider`.
    """

    base_url: str | None
    key_names: tuple[str, ...]
    api: Api = Api.OPENAI
    key_required: bool = True
    base_url_example: str = ""
    responses: bool = False
    chat_form: ChatForm = USUAL_CHAT_FORM
    signing_key_names: tuple[str, ...] = ()


# developers.openai.com, "Create chat completion"; its reasoning models refuse `max_tokens`. Azure's
# reference says the same, and Groq's (console.groq.com, "API Reference").
_OPENAIS: Final = ChatForm(
    output_limit_field="max_completion_tokens", stops_max=4, tool_name_chars_max=64
)

# docs.mistral.ai, "API", chat completions; what it does not know is a 422 `extra_forbidden`.
# GitHub: partITech/php-mistral, issue 76; anomalyco/opencode, issue 1680 (ids of calls);
# mistralai/mistral-common, src/mistral_common/protocol/instruct/validator.py (ids, names of tools,
# the order of roles), and zed-industries/zed, issue 37021 (that order, in the API).
_MISTRALS: Final = ChatForm(
    seed_field="random_seed",
    takes_user=False,
    takes_stream_options=False,
    short_call_ids=True,
    strict_turns=True,
    tool_name_chars_max=64,
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "openai": Preset(
            "https://api.openai.com/v1",
            ("OPENAI_API_KEY",),
            responses=True,
            chat_form=_OPENAIS,
        ),
        "anthropic": Preset(
            "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), api=Api.ANTHROPIC
        ),
        # Both names of the key are in use.
        "google": Preset(
            "https://generativelanguage.googleapis.com/v1beta",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            api=Api.GEMINI,
        ),
        "azure": Preset(
            None,
            ("AZURE_OPENAI_API_KEY",),
            api=Api.AZURE,
            base_url_example="https://RESOURCE.openai.azure.com",
            chat_form=_OPENAIS,
        ),
        "bedrock": Preset(
            None,
            ("AWS_BEARER_TOKEN_BEDROCK",),
            api=Api.BEDROCK,
            base_url_example="https://bedrock-runtime.REGION.amazonaws.com",
            signing_key_names=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        ),
        "mistral": Preset("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), chat_form=_MISTRALS),
        "groq": Preset("https://api.groq.com/openai/v1", ("GROQ_API_KEY",), chat_form=_OPENAIS),
        "together": Preset("https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
        "openrouter": Preset("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
        "ollama": Preset("http://127.0.0.1:11434/v1", (), key_required=False),
        "vllm": Preset(
            "http://127.0.0.1:8000/v1",
            ("VLLM_API_KEY",),
            key_required=False,
            chat_form=ChatForm(output_limit_field="max_completion_tokens"),
        ),
    }
)
