"""Providers as facts: where each one's OpenAI chat dialect is, and how it takes its key.

Every base URL is the one its provider documents for OpenAI-compatible clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Preset:
    """`key_names` are environment variables, the first that is set wins; none: no key is needed.

    `base_url` is None where it differs from customer to customer. `key_required` is False where a
    provider runs with or without a key.
    """

    base_url: str | None
    key_names: tuple[str, ...]
    key_required: bool = True
    credential_header: str = "authorization"
    credential_prefix: str = "Bearer "
    base_url_example: str = ""


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "openai": Preset("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
        # docs: "OpenAI SDK compatibility"; takes its key as a bearer token there.
        "anthropic": Preset("https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
        # docs: "OpenAI compatibility" of the Gemini API; both names of the key are in use.
        "google": Preset(
            "https://generativelanguage.googleapis.com/v1beta/openai",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ),
        # The v1 API names the deployment in the body's `model`; keys go into a header of their own.
        "azure": Preset(
            None,
            ("AZURE_OPENAI_API_KEY",),
            credential_header="api-key",
            credential_prefix="",
            base_url_example="https://RESOURCE.openai.azure.com/openai/v1",
        ),
        # Bedrock's OpenAI-compatible endpoint takes a Bedrock API key, so no request signing.
        "bedrock": Preset(
            None,
            ("AWS_BEARER_TOKEN_BEDROCK",),
            base_url_example="https://bedrock-runtime.REGION.amazonaws.com/openai/v1",
        ),
        "mistral": Preset("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
        "groq": Preset("https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
        "together": Preset("https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
        "openrouter": Preset("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
        "ollama": Preset("http://127.0.0.1:11434/v1", (), key_required=False),
        "vllm": Preset("http://127.0.0.1:8000/v1", ("VLLM_API_KEY",), key_required=False),
    }
)
