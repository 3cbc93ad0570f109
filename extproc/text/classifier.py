"""What kind of work a prompt asks for: a linear model over hashed words, and how sure it is.

The text is the last user turn. Of a turn above `BYTES_MAX` only its head and its tail are read,
half each, since people put the instruction before or after what they paste.

*Features* (`features`, which fitting shares) are 32-bit hashes; each counts once, however often
it occurs. They come from

* the prose: what stands outside code, and of that only the first and the last `WINDOW_CHARS`
  characters, NFKC and casefolded. Its tokens are words, and single characters in scripts that
  write no spaces; the features are runs of one to three tokens within a sentence, the stems of
  longer words, and the openings: the first tokens of the text and of each line or sentence,
  where an instruction has its verb;
* the form of all that was read: length, question marks, code, digits, lists and the like.

*Scores* are sums of weights, one per class; a softmax at `temperature` makes them probabilities.
The last class is *no task*: where it wins, or the best type is less probable than `threshold`,
the answer is an abstention.

Weights are small integers, and all those of one feature are packed into one Python integer,
`LANE_BITS` a class, so that adding a feature is one addition whatever the number of classes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, repeat
from math import exp
from operator import eq
from typing import Final
from unicodedata import normalize
from zlib import crc32

FEATURE_VERSION: Final = 1
"""Raised with every change to `features`: numbers fitted on other features mean nothing."""

BYTES_MAX: Final = 8192
"""UTF-8 bytes of a text that are looked at: half from its head, half from its tail."""

WINDOW_CHARS: Final = 480
"""Characters of prose at either end whose words are read."""

SENTENCES_MAX: Final = 48
"""Sentences of the two windows that are read; a window of full stops has more."""

LINES_MAX: Final = 400
"""Lines of either half that are told apart as code or prose."""

LANE_BITS: Final = 32
"""Room for the sum of one class, offset so that it is never negative."""

WEIGHT_MAX: Final = 31
"""Largest size of a weight: a lane holds the sum of millions."""

_LANE_ZERO: Final = 1 << (LANE_BITS - 1)
_STEM_CHARS: Final = 5
_OPENING_TOKENS: Final = 4

# Scripts written without spaces, a token a character: Thai, Lao, Burmese, Khmer, kana, Han, Hangul.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
)
_TOKEN: Final = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_SENTENCE_END: Final = re.compile(r"[.!?;:\u2026\u3002\n]+")
_CODE_START: Final = ("  ", "\t", "def ", "#include")
_CODE_END: Final = (";", "{", "}", "):", ");")

_STEM: Final = crc32(b"stem ")
_OPENING: Final = crc32(b"opening ")
_FIRST: Final = crc32(b"first ")
_ALL: Final = crc32(b"all ")
_ALL_TOKENS: Final = 3


def _name(form: str) -> int:
    return crc32(b"form " + form.encode())


_ANY_OF: Final = tuple(
    (_name(form), frozenset(characters))
    for form, characters in {
        "question": "?\uff1f\u037e",
        "exclamation": "!\uff01",
        "quotes": '"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d',
        "single quote": "'\u2018\u2019",
        "backtick": "`",
        "braces": "{}",
        "brackets": "[]",
        "parentheses": "()\uff08\uff09",
        "semicolon": ";",
        "equals": "=",
        "angles": "<>",
        "bar": "|",
        "underscore": "_",
        "digit": "0123456789",
        "maths": "\u2200\u2203\u2208\u2211\u222b\u221a\u221e\u2264\u2265\u2260\u2192"
        "\u00b2\u00b3\u00b1\u00d7\u00f7\u03c0^+*",
        "percent": "%",
        "currency": "$\u20ac\u00a3\u00a5",
        "at": "@",
        "colon": ":\uff1a",
        "comma": ",\uff0c\u3001",
        "stop": ".\u3002",
    }.items()
)
_CONTAINS: Final = tuple(
    (_name(form), form)
    for form in ("```", "://", "\n- ", "\n* ", "\n1.", "():", ");", '": ', "Traceback", "Error",
                 "Exception", "ERROR", ":\n", "...", "\n\n", " = ", " + ", "==", "=>")
)  # fmt: skip
_ENDS_ASKING: Final = _name("ends asking")
_ENDS_IN_COLON: Final = _name("ends in a colon")
_NO_WORD: Final = _name("no word")
_CODE_LINES: Final = tuple(_name(f"code lines {size}") for size in range(16))
_BYTES: Final = tuple(_name(f"bytes {size}") for size in range(16))
_TOKENS: Final = tuple(_name(f"tokens {count}") for count in range(8))
_TOKENS_SIZE: Final = tuple(_name(f"tokens size {size}") for size in range(16))
_NUMBERS: Final = tuple(_name(f"numbers {size}") for size in range(16))


def features(text: str) -> set[int]:
    """What the model knows of a text, at most a few thousand hashes."""
    head, tail = _read(text)
    whole = head + tail
    head, head_code = _prose(head, from_end=False)
    tail, tail_code = _prose(tail, from_end=True)
    prose = head + tail
    if len(prose) > 2 * WINDOW_CHARS:
        prose = prose[:WINDOW_CHARS] + "\n" + prose[-WINDOW_CHARS:]
    # Cut again: one character can become eighteen.
    found, tokens, numbers = _words(normalize("NFKC", prose).casefold()[: 3 * WINDOW_CHARS])

    characters = set(whole)
    found.update(form for form, any_of in _ANY_OF if not characters.isdisjoint(any_of))
    found.update(form for form, part in _CONTAINS if part in whole)
    last = prose.rstrip(" \n\t\"'\u201d)")[-1:]
    if last in {"?", "\uff1f"}:
        found.add(_ENDS_ASKING)
    elif last in {":", "\uff1a"}:
        found.add(_ENDS_IN_COLON)
    if not tokens:
        found.add(_NO_WORD)
    found.add(_BYTES[len(whole.encode(errors="replace")).bit_length()])
    found.add(_CODE_LINES[(head_code + tail_code).bit_length()])
    found.add(_TOKENS[min(tokens, 7)])
    found.add(_TOKENS_SIZE[tokens.bit_length()])
    found.add(_NUMBERS[numbers.bit_length()])
    return found


def _read(text: str) -> tuple[str, str]:
    """The head and the tail of a text, `BYTES_MAX` together; the tail is empty when all fits."""
    if len(text) * 4 <= BYTES_MAX:
        return text, ""
    half = BYTES_MAX // 2
    if len(text) <= BYTES_MAX:
        whole = text.encode(errors="replace")
        if len(whole) <= BYTES_MAX:
            return text, ""
    head = text[:half].encode(errors="replace")[:half].decode(errors="ignore")
    tail = text[-half:].encode(errors="replace")[-half:].decode(errors="ignore")
    return head, tail


def _prose(part: str, *, from_end: bool) -> tuple[str, int]:
    """A part without its code, and how many lines of code it had.

    Fences are paired from the end of the text that was not cut off.
    """
    code_lines = 0
    if "```" in part:
        pieces = part.split("```", LINES_MAX)
        if from_end:
            pieces.reverse()
        code_lines = sum(piece.count("\n") + 1 for piece in pieces[1::2])
        prose = pieces[::2]
        if from_end:
            prose.reverse()
        part = "\n".join(prose)
    if "\n" in part:
        lines = part.strip().split("\n", LINES_MAX)
        prose = [
            line for line in lines if not (line.startswith(_CODE_START) or line.endswith(_CODE_END))
        ]
        code_lines += len(lines) - len(prose)
        part = "\n".join(prose)
    return part, code_lines


def _words(prose: str) -> tuple[set[int], int, int]:
    """The features of the words of normal prose, how many there are, and how many are numbers.

    The tokens of all sentences are hashed in one go, since many sentences are short; runs of
    tokens that would reach beyond the end of a sentence are then left out.
    """
    sentences = [*filter(None, map(_TOKEN.findall, _SENTENCE_END.split(prose, SENTENCES_MAX)))]
    tokens = [*chain.from_iterable(sentences)]
    if not tokens:
        return set(), 0, 0
    coded = [*map(str.encode, tokens)]
    ones = [*map(crc32, coded)]
    twos = [*map(crc32, coded[1:], ones)]
    threes = map(crc32, coded[2:], twos)
    sentence_of = [*chain.from_iterable(map(repeat, range(len(sentences)), map(len, sentences)))]
    stems = [token[:_STEM_CHARS].encode() for token in tokens if len(token) > _STEM_CHARS]
    openings = [t[:_STEM_CHARS].encode() for some in sentences for t in some[:_OPENING_TOKENS]]
    found = set(ones)
    found.update(compress(twos, map(eq, sentence_of, sentence_of[1:])))
    found.update(compress(threes, map(eq, sentence_of, sentence_of[2:])))
    found.update(map(crc32, stems, repeat(_STEM)))
    found.update(map(crc32, openings, repeat(_OPENING)))
    found.add(crc32(coded[0], _FIRST))
    found.add(crc32("".join(sentences[0][:2]).encode(), _FIRST))
    if len(tokens) <= _ALL_TOKENS:
        found.add(crc32(b" ".join(coded), _ALL))
    return found, len(tokens), sum(map(str.isdigit, tokens))


@dataclass(frozen=True, slots=True)
class Classification:
    """The type, or None for an abstention, and the probability of the likeliest type, 0 to 1."""

    type: str | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Classifier:
    """The fitted numbers, ready to add up.

    `weights` maps a feature to its packed weights: a lane for each of `types`, and a last one for
    *no task*. `scale` is what one unit of weight adds to a score.
    """

    types: tuple[str, ...]
    weights: Mapping[int, int]
    bias: int
    scale: float
    temperature: float
    threshold: float

    def classify(self, text: str) -> Classification:
        scores = self._scores(features(text))
        top = max(scores)
        shares = [exp((score - top) * self.scale / self.temperature) for score in scores]
        best = max(range(len(self.types)), key=shares.__getitem__)
        confidence = shares[best] / sum(shares)
        if shares[best] <= shares[-1] or confidence < self.threshold:
            return Classification(None, confidence)
        return Classification(self.types[best], confidence)

    def _scores(self, found: set[int]) -> tuple[int, ...]:
        lanes = len(self.types) + 1
        total = self.bias + sum(map(self.weights.get, found, repeat(0)))
        return unpack(total, lanes)


def pack(weights: Sequence[int]) -> int:
    """One integer of many, which add up lane by lane; the first is the lowest."""
    return sum(weight << (LANE_BITS * lane) for lane, weight in enumerate(weights))


def unpack(packed: int, lanes: int) -> tuple[int, ...]:
    shifted = packed + pack([_LANE_ZERO] * lanes)
    unsigned = struct.unpack(f"<{lanes}I", shifted.to_bytes(lanes * LANE_BITS // 8, "little"))
    return tuple(lane - _LANE_ZERO for lane in unsigned)
