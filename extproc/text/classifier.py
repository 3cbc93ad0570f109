"""What kind of work a prompt asks for: a linear model over hashed words, and how sure it is.

The text is the last user turn. Of a turn above `CHARS_MAX` only its head and its tail are read,
half each, since people put the instruction before or after what they paste.

*Features* (`features`, which fitting shares) are 32-bit hashes; each counts once, however often
it occurs. They come from

* the prose: what stands outside code, and of that only the first and the last `WINDOW_CHARS`
  characters, NFKC and casefolded. Its tokens are the first letters of words, single characters
  in scripts that write no spaces, and the ends of sentences and lines; the features are tokens
  and pairs of them. An end with the word behind it is an opening, where an instruction has its
  verb; so is the start of the text;
* the form of all that was read: its signs, code, length and the like.

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
from functools import cache
from math import exp
from typing import Final
from unicodedata import normalize
from zlib import crc32

FEATURE_VERSION: Final = 2
"""Raised with every change to `features`: numbers fitted on other features mean nothing."""

CHARS_MAX: Final = 1024
"""Characters of a text that are looked at: half from its head, half from its tail."""

WINDOW_CHARS: Final = 180
"""Characters of prose at either end whose words are read."""

FEATURES_MAX: Final = 1280
"""Features of one text: two a token of two windows whose letters may become three, and the form."""

LANE_BITS: Final = 16
"""Room for the sum of one class, offset so that it is never negative."""

WEIGHT_MAX: Final = 24
"""Largest size of a weight: a lane holds the sum of `FEATURES_MAX` and a bias."""

_LANE_ZERO: Final = 1 << (LANE_BITS - 1)
_WORD_BYTES: Final = 6
"""Of a word, in UTF-8, that tell it from others: what follows are mostly endings."""

# Scripts written without spaces, a token a character: Thai, Lao, Burmese, Khmer, kana, Han, Hangul.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]"
)
_SIGNS_BEYOND_ASCII: Final = re.compile(r"[^\w\x00-\x7f]+")
_CODE_START: Final = ("  ", "\t", "def ", "#include")
_CODE_END: Final = (";", "{", "}", "):", ");")

_END: Final = b"."
"""The token that ends a sentence or a line."""
_ENDS: Final = b".!?;:\n"
_START: Final = b"^"
"""The token before the first."""


def _read_as(byte: int) -> int:
    if byte in _ENDS:
        return ord(_END)
    if byte >= 0x80:  # of a letter beyond ASCII
        return byte
    return ord(chr(byte).lower()) if chr(byte).isalnum() else ord(" ")


_WORDS_AND_ENDS: Final = bytes(map(_read_as, range(256)))
_ASCII: Final = bytes(range(0x80))
_SIGNS: Final = bytes(byte for byte in range(0x21, 0x7F) if not chr(byte).isalpha())
"""Digits among them."""


def _name(form: str) -> int:
    return crc32(b"form " + form.encode())


_ANY_BEYOND_ASCII: Final = tuple(
    (_name(form), frozenset(characters))
    for form, characters in {
        "quotes": "\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d",
        "maths": "\u2200\u2203\u2208\u2211\u222b\u221a\u221e\u2264\u2265\u2260\u2192"
        "\u00b2\u00b3\u00b1\u00d7\u00f7\u03c0",
        "currency": "\u20ac\u00a3\u00a5",
    }.items()
)
_ENDS_ASKING: Final = _name("ends asking")
_ENDS_IN_COLON: Final = _name("ends in a colon")
_CODE_LINES: Final = tuple(_name(f"code lines {size}") for size in range(16))
_CHARS: Final = tuple(_name(f"chars {size}") for size in range(16))
_TOKENS: Final = tuple(_name(f"tokens {count}") for count in range(8))
_TOKENS_SIZE: Final = tuple(_name(f"tokens size {size}") for size in range(16))
_ALL: Final = crc32(b"all ")
_ALL_TOKENS: Final = 4


def features(text: str) -> set[int]:
    """What the model knows of a text, at most `FEATURES_MAX` hashes."""
    head, tail = text, ""
    if len(text) > CHARS_MAX:
        head, tail = text[: CHARS_MAX // 2], text[-CHARS_MAX // 2 :]
    whole = head + tail
    head, head_code = _prose(head, from_end=False)
    tail, tail_code = _prose(tail, from_end=True)
    prose = head + tail
    if len(prose) > 2 * WINDOW_CHARS:
        prose = prose[:WINDOW_CHARS] + "\n" + prose[-WINDOW_CHARS:]

    found, tokens = _words(prose)
    found.update(_form(whole))
    last = prose.rstrip(" \n\t\"'\u201d)")[-1:]
    if last in {"?", "\uff1f"}:
        found.add(_ENDS_ASKING)
    elif last in {":", "\uff1a"}:
        found.add(_ENDS_IN_COLON)
    found.add(_CHARS[min(len(text).bit_length(), 15)])
    found.add(_CODE_LINES[(head_code + tail_code).bit_length()])
    found.add(_TOKENS[min(tokens, 7)])
    found.add(_TOKENS_SIZE[tokens.bit_length()])
    return found


def _prose(part: str, *, from_end: bool) -> tuple[str, int]:
    """A part without its code, and how many lines of code it had.

    Fences are paired from the end of the text that was not cut off.
    """
    code_lines = 0
    if "```" in part:
        pieces = part.split("```")
        if from_end:
            pieces.reverse()
        code_lines = sum(piece.count("\n") + 1 for piece in pieces[1::2])
        prose = pieces[::2]
        if from_end:
            prose.reverse()
        part = "\n".join(prose)
    if "\n" in part:
        lines = part.strip().split("\n")
        prose = [
            line for line in lines if not (line.startswith(_CODE_START) or line.endswith(_CODE_END))
        ]
        code_lines += len(lines) - len(prose)
        part = "\n".join(prose)
    return part, code_lines


def _words(prose: str) -> tuple[set[int], int]:
    """The features of the words of a prose, and how many tokens it has."""
    if not prose.isascii():
        prose = _spaced(prose)
    marked = prose.encode(errors="replace").translate(_WORDS_AND_ENDS)
    tokens = [word[:_WORD_BYTES] for word in marked.replace(_END, b" . ").split()]
    hashes = [*map(crc32, [_START, *tokens])]
    found = set(hashes)
    found.update(map(crc32, tokens, hashes))  # pairs: each with the one before it
    if len(tokens) <= _ALL_TOKENS:
        found.add(crc32(b" ".join(tokens), _ALL))
    return found, len(tokens)


def _spaced(prose: str) -> str:
    """The same as plainer text: no sign but ASCII's, and spaces between all tokens."""
    plain = normalize("NFKC", prose).casefold().replace("\u3002", ".")
    plain = _SIGNS_BEYOND_ASCII.sub(" ", plain)[: 3 * WINDOW_CHARS]  # one may become eighteen
    return _UNSPACED.sub(r" \g<0> ", plain)


def _form(text: str) -> set[int]:
    """The features of how a text looks. That of a sign of ASCII is its code."""
    data = text.encode(errors="replace")
    found = {sign for sign in _SIGNS if sign in data}
    if not text.isascii():
        rest = data.translate(None, _ASCII).decode()
        characters = {*rest, *normalize("NFKC", rest)}
        found.update([form for form, any_of in _ANY_BEYOND_ASCII if characters & any_of])
        found.update([sign for sign in _SIGNS if chr(sign) in characters])
    return found


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
        unit = self.scale / self.temperature
        shares = [exp((score - top) * unit) for score in scores]
        best = shares.index(max(shares[:-1]))
        confidence = shares[best] / sum(shares)
        if shares[best] <= shares[-1] or confidence < self.threshold:
            return Classification(None, confidence)
        return Classification(self.types[best], confidence)

    def _scores(self, found: set[int]) -> tuple[int, ...]:
        lanes = len(self.types) + 1
        known = self.weights.keys() & found
        return unpack(sum(map(self.weights.__getitem__, known), self.bias), lanes)


def pack(weights: Sequence[int]) -> int:
    """One integer of many, which add up lane by lane; the first is the lowest."""
    return sum(weight << (LANE_BITS * lane) for lane, weight in enumerate(weights))


def unpack(packed: int, lanes: int) -> tuple[int, ...]:
    shifted = packed + _zeros(lanes)
    unsigned = struct.unpack(f"<{lanes}H", shifted.to_bytes(lanes * LANE_BITS // 8, "little"))
    return tuple(lane - _LANE_ZERO for lane in unsigned)


@cache
def _zeros(lanes: int) -> int:
    return pack([_LANE_ZERO] * lanes)
