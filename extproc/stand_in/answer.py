"""The answer to a question, in no dialect."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from extproc.stand_in.question import Function, Question
from extproc.stand_in.sample import Json, sample

BYTES_PER_TOKEN = 4
QUOTED_CHARS_MAX = 500
ARGUMENT_PIECE_CHARS = 12
CALL_EVERYTHING = "call everything"
"""Where the last prompt has these words, every function is called, not just the first."""

Ending = Literal["said", "called", "cut"]


@dataclass(frozen=True, slots=True)
class Call:
    """`id` is letters and digits; each dialect puts its own prefix before it."""

    id: str
    name: str
    arguments: str

    def value(self) -> Json:
        """The arguments parsed, for those dialects that have them so; empty if they were cut."""
        try:
            value: Json = msgspec.json.decode(self.arguments)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated. `thinking` is empty unless it was asked for.

    `cached_tokens` are part of the prompt's, `reasoning_tokens` part of the completion's.
    """

    id: str
    created_s: int
    provider: str
    model: str
    thinking: str
    text: str
    calls: tuple[Call, ...]
    ending: Ending
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Bill:
    """What of the usage does not follow from the texts: so much was cached, so much thought."""

    cached_tokens: int = 0
    reasoning_tokens: int = 0


def compose(question: Question, provider: str, bill: Bill, *, answer_id: str, now_s: int) -> Answer:
    """What is thought counts against the most tokens allowed, before what is said."""
    called = _called(question)
    texts = [_json(sample(one.parameters)) for one in called] or [_text(question, provider)]
    thinking = _thinking(question, provider)
    wished = bill.reasoning_tokens or _tokens(len(thinking.encode()))
    written = [text.encode() for text in texts]
    tokens_max = question.tokens_max or sum(_tokens(len(one)) for one in written) + wished
    thought = min(wished, tokens_max)
    kept, said = _cut(written, tokens_max - thought)
    prompt_tokens = _tokens(question.prompt_bytes)
    return Answer(
        id=answer_id,
        created_s=now_s,
        provider=provider,
        model=question.model,
        thinking=thinking,
        text="" if called else kept[0],
        calls=tuple(
            Call(f"{answer_id[:22]}{index:02x}", one.name, arguments)
            for index, (one, arguments) in enumerate(zip(called, kept, strict=False))
        ),
        ending="cut" if kept != texts else "called" if called else "said",
        prompt_tokens=prompt_tokens,
        completion_tokens=thought + said,
        cached_tokens=min(bill.cached_tokens, prompt_tokens),
        reasoning_tokens=thought,
    )


def words(text: str) -> Iterator[str]:
    """A text in the pieces it streams in."""
    yield from re.findall(r"\s*\S+|\s+$", text)


def pieces(arguments: str) -> Iterator[str]:
    """A call's arguments in the pieces they stream in."""
    for start in range(0, len(arguments), ARGUMENT_PIECE_CHARS):
        yield arguments[start : start + ARGUMENT_PIECE_CHARS]


def _called(question: Question) -> tuple[Function, ...]:
    if question.told is not None or question.is_silent:
        return ()
    everything = question.several_calls and CALL_EVERYTHING in question.last_text.lower()
    return question.functions if everything else question.functions[:1]


def _cut(written: list[bytes], tokens: int) -> tuple[list[str], int]:
    """What of each text fits into so many tokens, and how many it takes."""
    kept: list[str] = []
    said = 0
    for one in written:
        if said >= tokens and kept:
            break
        part = one[: (tokens - said) * BYTES_PER_TOKEN]
        kept.append(part.decode(errors="ignore"))
        said += _tokens(len(part))
    return kept, said


def _text(question: Question, provider: str) -> str:
    if question.is_silent:
        return ""
    seen = _seen(question)
    if question.told is not None:
        told = question.told[:QUOTED_CHARS_MAX]
        return f"{question.model} at {provider} was told: {told}{seen}"
    if question.schema is not None:
        return _json(sample(question.schema))
    if question.wants_json:
        return _json({"model": question.model, "provider": provider, "standing_in": True})
    return f"This is {question.model} at {provider}, standing in.{seen}"


def _thinking(question: Question, provider: str) -> str:
    if not question.thinks or question.is_silent:
        return ""
    return f"I am {question.model} at {provider}, and think about what to say."


def _seen(question: Question) -> str:
    """As in ` I see 1 image (image/png, 68 bytes).`."""
    counts = Counter(media.kind for media in question.media)
    things = []
    for kind, count in counts.items():
        what = "; ".join(media.what for media in question.media if media.kind == kind)
        things.append(f"{count} {kind}{'s' if count > 1 else ''} ({what})")
    return f" I see {' and '.join(things)}." if things else ""


def _tokens(byte_count: int) -> int:
    return -(-byte_count // BYTES_PER_TOKEN)


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()
