"""What a request can need that not every model has."""

from __future__ import annotations

from enum import StrEnum


class Feature(StrEnum):
    """What a request can need that not every model has; also the keys of `capabilities`."""

    VISION = "vision"
    TOOLS = "tools"
    STRUCTURED_OUTPUT = "structuredOutput"
    AUDIO = "audio"
    DOCUMENTS = "documents"
    REASONING = "reasoning"
    EMBEDDINGS = "embeddings"

    __hash__ = str.__hash__  # Enum's own is Python, and every look-up of a request calls it
