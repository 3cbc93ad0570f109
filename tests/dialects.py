"""A data plane with a provider of each API, all as native as they come, and questions for it."""

from __future__ import annotations

import zlib
from itertools import permutations
from struct import pack
from typing import Final

# Name of the model → provider, and what it is called there.
MODELS: Final = {
    "gpt": ("openai", "gpt-oss-120b"),
    "deployment": ("azure", "gpt-oss-120b"),
    "claude": ("anthropic", "claude-sonnet-4-5-20250929"),
    "gemini": ("google", "gemini-2.5-flash"),
    "claude-aws": ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
SHOWS_THINKING: Final = {"claude", "gemini", "claude-aws"}
"""Those of OpenAI keep what they think to themselves."""

_CAPABLE: Final = (
    "{ vision: true, tools: true, structuredOutput: true, documents: true, reasoning: true }"
)
ROUTING: Final = "\n".join(
    [
        "healthCheck: { enabled: false }",
        "models:",
        *(
            f"  {name}: {{ targets: [{{ provider: {provider}, upstreamModel: '{upstream}' }}],"
            f" contextWindow: 1000000, maxOutputTokens: 64000, capabilities: {_CAPABLE} }}"
            for name, (provider, upstream) in MODELS.items()
        ),
        "  embedder:",
        "    targets: [{ provider: openai, upstreamModel: text-embedding-3-small }]",
        "    contextWindow: 8192",
        "    capabilities: { embeddings: true }",
        "routes:",
        *(
            f"  - {{ name: {first}-then-{second}, candidates: [{first}, {second}],"
            f" match: {{ headers: {{ x-order: {first} {second} }} }} }}"
            for first, second in permutations(MODELS, 2)
        ),
        "  - { name: embeddings, match: { has: embeddings }, candidates: [embedder] }",
        "  - { match: { default: true }, candidates: [gpt] }",
    ]
)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


PIXEL: Final = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\x80"))
    + _chunk(b"IEND", b"")
)


def says(model: str) -> str:
    provider, upstream = MODELS[model]
    return f"This is {upstream} at {provider}, standing in."
