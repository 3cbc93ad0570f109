"""What Gemini's models differ in, known by their names alone.

Sources, below https://ai.google.dev/gemini-api/docs: /thinking for budgets and levels,
/latest-model for what begins with 3.5 Flash-Lite and 3.6, /thought-signatures for Gemini 3,
/structured-output for JSON beside tools.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Budget:
    """Thinking is told in tokens, from `least` to `most`; `stops` says that it takes 0 too."""

    least: int
    most: int
    stops: bool = True


@dataclass(frozen=True, slots=True)
class Levels:
    """Thinking is told in words, from the least to the most."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model takes.

    `signed_calls`: calls need thought signatures, and results may hold images (Gemini 3).
    `sampled`: temperature, topP and topK have an effect; later models ignore them, and the API
    announces that it will refuse them. `json_beside_tools`: an answer may have to be JSON where
    functions may be called (Gemini 3); before, that is refused.
    """

    thinking: Budget | Levels | None
    signed_calls: bool
    sampled: bool
    json_beside_tools: bool


LEVELS: Final = ("minimal", "low", "medium", "high")
"""All there are, of which some models take fewer."""

_FROM_MINIMAL: Final = Levels(LEVELS)
_FROM_LOW: Final = Levels(LEVELS[1:])

# By the start of a name, the first that fits.
_THINKING: Final[tuple[tuple[str, Budget | Levels], ...]] = (
    ("gemini-2.5-pro", Budget(128, 32_768, stops=False)),
    ("gemini-2.5-flash-lite", Budget(512, 24_576)),
    ("gemini-2.5-flash", Budget(1, 24_576)),
    ("gemini-3-pro", Levels(("low", "high"))),
    ("gemini-3-flash", _FROM_MINIMAL),
    ("gemini-3.1-flash-lite", _FROM_MINIMAL),
    ("gemini-3.5-flash", _FROM_MINIMAL),
    ("gemini-3.6-flash", _FROM_MINIMAL),
)
# Models that make pictures or speech have ways of thinking of their own.
_OTHER_OUTPUT: Final = re.compile(r"-(?:image|tts|live|native-audio)\b")

_NUMBERED: Final = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?![\d.])")
_LATEST: Final = re.compile(r"gemini-[a-z-]*latest")

_SIGNED_SINCE: Final = (3, 0)
_JSON_BESIDE_TOOLS_SINCE: Final = (3, 0)
_UNSAMPLED_SINCE: Final = (3, 6)
_NEWEST: Final = (999, 0)


def facts_of(upstream_model: str) -> Facts:
    """What is known of the model; of one that is no Gemini, such as Gemma, nothing is assumed."""
    name = upstream_model.rpartition("/")[2].lower()
    generation = _generation(name)
    unsampled = generation >= _UNSAMPLED_SINCE or name.startswith("gemini-3.5-flash-lite")
    return Facts(
        _thinking(name, generation),
        signed_calls=generation >= _SIGNED_SINCE,
        sampled=not unsampled,
        json_beside_tools=generation >= _JSON_BESIDE_TOOLS_SINCE,
    )


def _generation(name: str) -> tuple[int, int]:
    numbered = _NUMBERED.match(name)
    if numbered:
        return int(numbered[1]), int(numbered[2] or 0)
    # `gemini-flash-latest` moves on; what the newest models take, those since 3 take too.
    return _NEWEST if _LATEST.match(name) else (0, 0)


def _thinking(name: str, generation: tuple[int, int]) -> Budget | Levels | None:
    if _OTHER_OUTPUT.search(name):
        return None
    for start, thinking in _THINKING:
        if name.startswith(start):
            return thinking
    return _FROM_LOW if generation >= _SIGNED_SINCE else None
