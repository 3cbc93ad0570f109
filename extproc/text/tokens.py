"""How many tokens a text is, without a tokenizer; and how that guess learns from what is reported.

A text is measured once, by classes of bytes and of transitions between them (`measure`), whatever
model may read it. Each family of models has a price in tokens for each class (`tokens`). No price
is zero or less, so that no text is free and a longer one is never estimated as fewer tokens, but
for what is lost where two parts meet. Nothing here looks at a byte in Python: a text is translated
to one bit per class, read as one large integer, and counted by shifts and population counts.

Above `SAMPLE_BYTES` a text is measured by evenly spread windows and scaled by its length, so that
no prompt takes longer than a fraction of a millisecond. That costs 1 % of error on average, 2.3 %
at p95, on sources and on conversations of mixed texts of 30 to 400 KB.

How the prices were found, and how wrong they are on text that they were not fitted to:
`tests/bench/fit_tokens.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import mul
from typing import Final, NamedTuple

from extproc.feature import Feature


class Family(StrEnum):
    """Models that read text with the same tokenizer, or with one much like it."""

    OPENAI_O200K = "openai-o200k"  # GPT-4o and later, o-series, gpt-oss
    OPENAI_CL100K = "openai-cl100k"  # GPT-3.5, GPT-4 and GPT-4 Turbo
    CLAUDE = "claude"  # Claude 3 to Opus 4.6
    CLAUDE_4_7 = "claude-4.7"  # Opus 4.7 and later
    GEMINI = "gemini"  # Gemini 2 and later, Gemma 3
    LLAMA = "llama"  # Llama 3 and later
    MISTRAL = "mistral"  # Nemo and later
    QWEN = "qwen"  # Qwen 1.5 to 3
    DEEPSEEK = "deepseek"  # DeepSeek V3 and R1
    DEFAULT = "default"  # anything else

    __hash__ = str.__hash__  # Enum's own is Python, and every look-up of a request calls it


class Measure(NamedTuple):
    """How much of each class a text holds; or, for a family, the tokens one of each class costs.

    Of text in Latin letters, digits and signs: words (runs of letters of any script), letters
    beyond the sixteenth in a run (`deep`: nobody's words), capitals, capitals after a small letter
    (`camel`), letters that tell other languages from English (`uncommon`, `rare`), digits and
    their runs, runs of line ends and tabs, what follows in such a run and spaces, runs of signs,
    signs after a sign, and signs after a space. Of everything else: characters by script.
    """

    words: float = 0.0
    deep: float = 0.0
    capitals: float = 0.0
    camel: float = 0.0
    uncommon: float = 0.0
    rare: float = 0.0
    digits: float = 0.0
    digit_runs: float = 0.0
    spaces: float = 0.0
    break_runs: float = 0.0
    sign_runs: float = 0.0
    sign_pairs: float = 0.0
    spaced_signs: float = 0.0
    latin: float = 0.0  # letters with marks; IPA and combining marks too
    greek: float = 0.0
    cyrillic: float = 0.0
    hebrew: float = 0.0  # and Armenian
    arabic: float = 0.0
    devanagari: float = 0.0
    thai: float = 0.0
    indic: float = 0.0  # Bengali, Tamil, Telugu … Tibetan
    vietnamese: float = 0.0  # letters with two marks
    georgian: float = 0.0  # and Khmer, Mongolian, Cherokee
    typographic: float = 0.0  # dashes, curly quotes, arrows, box drawing
    ideographic_signs: float = 0.0
    kana: float = 0.0
    han: float = 0.0
    hangul: float = 0.0
    full_width: float = 0.0
    astral: float = 0.0  # four bytes of UTF-8: emoji, rare Han


NOTHING: Final = Measure()
"""Of no text at all."""

SAMPLE_BYTES: Final = 16_384
"""The most that is looked at of one text."""

APART_BYTES: Final = 65_536
"""The most that several texts may hold together to be measured one by one."""

_WINDOW_BYTES: Final = 256

_LETTER, _CAPITAL, _DIGIT, _SPACE, _BREAK, _SIGN, _UNCOMMON, _RARE = (1 << i for i in range(8))
_UNCOMMON_LETTERS: Final = "dfgjlmnqrvx"
_RARE_LETTERS: Final = "kz"


def _class_of(byte: int) -> int:
    character = chr(byte)
    if byte >= 0x80:
        return _UNCOMMON  # without _LETTER: a byte of a character beyond ASCII
    if character.isalpha():
        small = character.lower()
        return (
            _LETTER
            | (_CAPITAL if character != small else 0)
            | (_UNCOMMON if small in _UNCOMMON_LETTERS else 0)
            | (_RARE if small in _RARE_LETTERS else 0)
        )
    if character.isdigit():
        return _DIGIT
    if character == " ":
        return _SPACE
    return _BREAK if character in "\n\r\t" else _SIGN


_CLASSES: Final = bytes(map(_class_of, range(256)))

# fmt: off
(
    _LATIN, _GREEK, _CYRILLIC, _HEBREW, _ARABIC, _E0, _E1,
    _TYPOGRAPHIC, _E3, _HAN, _HANGUL, _FULL_WIDTH, _ASTRAL,
) = range(13)
# fmt: on
_FIRST_LEADS: Final = (0xC0, 0xCE, 0xD0, 0xD4, 0xD8, 0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xEA, 0xEE, 0xF0)
"""The first of the first bytes of each script's characters in UTF-8, which are in its order."""

_SCRIPT_OF_LEAD: Final = bytes(max(bisect_right(_FIRST_LEADS, byte) - 1, 0) for byte in range(256))
_BELOW_LEADS: Final = bytes(range(0xC0))
"""ASCII and continuation bytes: all that is not the first byte of a longer character."""


def _everywhere(bit: int) -> int:
    return int.from_bytes(bytes([bit]) * SAMPLE_BYTES, "little")


_LETTERS: Final = _everywhere(_LETTER)
_CAPITALS: Final = _everywhere(_CAPITAL)
_DIGITS: Final = _everywhere(_DIGIT)
_SPACES: Final = _everywhere(_SPACE)
_BREAKS: Final = _everywhere(_BREAK)
_SIGNS: Final = _everywhere(_SIGN)
_RARES: Final = _everywhere(_RARE)


def measure(text_utf8: bytes) -> Measure:
    """What `text_utf8` holds of each class. Any bytes will do, valid UTF-8 or not."""
    size = len(text_utf8)
    if size <= SAMPLE_BYTES:
        return _measure_whole([text_utf8])
    sample = _sample(text_utf8)
    scale = size / len(sample)
    return Measure(*(count * scale for count in _measure_whole([sample])))


def measure_all(texts: Sequence[bytes]) -> Measure:
    """Several texts as one: each is measured while that is cheap, of more a sample of the whole."""
    if not texts:
        return NOTHING
    size = sum(map(len, texts)) + len(texts)
    if size <= SAMPLE_BYTES:
        return _measure_whole(texts)
    if size <= APART_BYTES:
        return total(map(measure, texts))
    return measure(b"\n".join(texts))


def total(measures: Iterable[Measure]) -> Measure:
    """Several texts as one, but for what their joints would add."""
    return Measure(*map(sum, zip(*measures, strict=True)))


def tokens(measured: Measure, family: Family) -> float:
    """The tokens that models of `family` make of a text so measured; no message framing in it."""
    return float(sum(map(mul, measured, _PRICES[family])))


def _sample(text: bytes) -> bytes:
    windows = SAMPLE_BYTES // _WINDOW_BYTES
    step = (len(text) - _WINDOW_BYTES) // (windows - 1)
    return b"".join(text[i * step : i * step + _WINDOW_BYTES] for i in range(windows))


def _measure_whole(texts: Sequence[bytes]) -> Measure:
    # Byte i of the texts is bits 8i to 8i+7; `x << 8` puts each byte's predecessor in its place.
    # `x ^ (x & y)` is `x & ~y` at half its cost. Between two texts stands a byte of no class.
    text = b"".join(texts)
    translated = b"\0".join([one.translate(_CLASSES) for one in texts])
    classes = int.from_bytes(translated, "little")
    letters = classes & _LETTERS
    capitals = classes & _CAPITALS
    spaces = classes & _SPACES
    signs = classes & _SIGNS
    uncommon = classes >> 6  # in the place of _LETTER
    of_words = letters | (uncommon & _LETTERS)
    continued = classes & (classes << 8)  # what its predecessor is too
    starts = classes ^ continued
    twos = continued & _LETTERS
    fours = twos & (twos << 16)
    eights = fours & (fours << 32)
    sixteens = eights & (eights << 64)
    after_letter = capitals & (letters << 9)
    return Measure(
        (of_words ^ (of_words & (of_words << 8))).bit_count(),
        (sixteens & (letters << 128)).bit_count(),
        capitals.bit_count(),
        (after_letter ^ (after_letter & continued)).bit_count(),
        (uncommon & letters).bit_count(),
        (classes & _RARES).bit_count(),
        (classes & _DIGITS).bit_count(),
        (starts & _DIGITS).bit_count(),
        (spaces | (continued & _BREAKS)).bit_count(),
        (starts & _BREAKS).bit_count(),
        (starts & _SIGNS).bit_count(),
        (continued & _SIGNS).bit_count(),
        (signs & (spaces << 10)).bit_count(),
        *(() if text.isascii() else _scripts(text)),
    )


def _scripts(text: bytes) -> tuple[int, ...]:
    """Characters beyond ASCII by script, told by the first byte of each or by the first two."""
    # In two steps: bytes.translate is several times as fast when it only deletes.
    leads = text.translate(None, _BELOW_LEADS).translate(_SCRIPT_OF_LEAD)
    below_1000, below_2000, below_4000 = map(leads.count, (_E0, _E1, _E3))
    devanagari = text.count(b"\xe0\xa4") + text.count(b"\xe0\xa5") if below_1000 else 0
    thai = text.count(b"\xe0\xb8") + text.count(b"\xe0\xb9") if below_1000 else 0
    vietnamese = text.count(b"\xe1\xba") + text.count(b"\xe1\xbb") if below_2000 else 0
    ideographic_signs = text.count(b"\xe3\x80") if below_4000 else 0
    return (
        leads.count(_LATIN),
        leads.count(_GREEK),
        leads.count(_CYRILLIC),
        leads.count(_HEBREW),
        leads.count(_ARABIC),
        devanagari,
        thai,
        below_1000 - devanagari - thai,
        vietnamese,
        below_2000 - vietnamese,
        leads.count(_TYPOGRAPHIC),
        ideographic_signs,
        below_4000 - ideographic_signs,
        leads.count(_HAN),
        leads.count(_HANGUL),
        leads.count(_FULL_WIDTH),
        leads.count(_ASTRAL),
    )


_COLUMNS: Final = tuple(Family)

# fmt: off
_PRICE_ROWS: Final[Mapping[str, tuple[float, ...]]] = {
    # Columns in the order of Family: o200k, cl100k, claude, claude-4.7, gemini, llama, mistral,
    # qwen, deepseek, default.
    "words":             (0.730, 0.702, 0.587, 0.482, 0.695, 0.645, 0.748, 0.692, 0.676, 0.670),
    "deep":              (0.329, 0.319, 0.305, 0.260, 0.333, 0.301, 0.316, 0.326, 0.246, 0.324),
    "capitals":          (0.123, 0.099, 0.183, 0.479, 0.105, 0.086, 0.194, 0.086, 0.181, 0.128),
    "camel":             (0.614, 0.444, 0.991, 0.831, 0.513, 0.345, 0.390, 0.440, 0.398, 0.578),
    "uncommon":          (0.195, 0.245, 0.328, 0.767, 0.174, 0.317, 0.198, 0.265, 0.245, 0.255),
    "rare":              (1.383, 1.701, 1.615, 1.683, 1.120, 1.590, 1.416, 1.641, 1.383, 1.405),
    "digits":            (0.321, 0.323, 0.309, 0.320, 0.839, 0.321, 0.941, 0.956, 0.320, 0.471),
    "digit_runs":        (1.028, 1.038, 0.912, 0.839, 0.782, 1.104, 0.736, 0.753, 0.920, 0.864),
    "spaces":            (0.036, 0.030, 0.052, 0.027, 0.053, 0.023, 0.027, 0.031, 0.025, 0.036),
    "break_runs":        (0.777, 0.709, 1.488, 1.596, 1.406, 0.724, 0.912, 0.672, 0.816, 1.115),
    "sign_runs":         (0.359, 0.318, 0.753, 0.844, 0.849, 0.263, 0.413, 0.283, 0.531, 0.572),
    "sign_pairs":        (0.308, 0.239, 0.266, 0.490, 0.120, 0.237, 0.333, 0.238, 0.311, 0.228),
    "spaced_signs":      (0.732, 0.849, 0.231, 0.020, 0.304, 0.901, 0.607, 0.905, 0.540, 0.524),
    "latin":             (0.826, 1.600, 1.481, 1.342, 0.791, 1.083, 0.922, 1.366, 1.430, 1.039),
    "greek":             (0.282, 0.926, 0.646, 0.679, 0.280, 0.320, 0.300, 0.895, 0.411, 0.381),
    "cyrillic":          (0.196, 0.422, 0.345, 0.365, 0.173, 0.250, 0.236, 0.307, 0.242, 0.243),
    "hebrew":            (0.282, 1.003, 0.689, 0.721, 0.374, 1.030, 0.331, 0.289, 0.400, 0.591),
    "arabic":            (0.188, 0.689, 0.648, 0.679, 0.199, 0.259, 0.167, 0.323, 0.273, 0.323),
    "devanagari":        (0.150, 1.045, 0.655, 0.704, 0.107, 0.447, 0.191, 0.960, 0.498, 0.341),
    "thai":              (0.365, 0.912, 0.945, 0.953, 0.279, 0.468, 0.490, 0.561, 0.345, 0.515),
    "indic":             (0.292, 1.379, 0.886, 0.905, 0.178, 1.382, 0.369, 1.146, 0.408, 0.687),
    "vietnamese":        (0.020, 0.859, 1.346, 1.232, 0.020, 0.020, 0.020, 0.020, 0.507, 0.226),
    "georgian":          (0.274, 2.035, 0.690, 0.708, 0.348, 2.046, 0.415, 1.040, 0.723, 0.839),
    "typographic":       (1.221, 1.605, 1.306, 1.036, 0.627, 0.385, 1.482, 1.599, 0.930, 1.002),
    "ideographic_signs": (2.237, 3.459, 1.324, 1.656, 1.909, 2.250, 1.365, 1.611, 1.658, 1.846),
    "kana":              (0.576, 0.805, 0.727, 0.713, 0.287, 0.513, 0.539, 0.529, 0.543, 0.528),
    "han":               (0.680, 0.975, 1.054, 1.063, 0.507, 0.707, 0.890, 0.629, 0.534, 0.735),
    "hangul":            (0.483, 0.902, 1.170, 1.218, 0.390, 0.567, 0.449, 0.604, 0.599, 0.651),
    "full_width":        (0.820, 0.893, 1.425, 1.314, 0.913, 0.920, 1.092, 0.769, 0.769, 1.123),
    "astral":            (1.522, 2.452, 2.582, 2.894, 0.740, 2.834, 3.905, 1.111, 1.942, 1.857),
}
# fmt: on

_PRICES: Final[Mapping[Family, Measure]] = {
    family: Measure(**{name: row[column] for name, row in _PRICE_ROWS.items()})
    for column, family in enumerate(_COLUMNS)
}


@dataclass(frozen=True, slots=True)
class _Framing:
    """What a chat costs beside its texts, in tokens."""

    message: int
    request: int
    tools: int = 0
    schema_factor: float = 1.0


# OpenAI: "How to count tokens with tiktoken" in its cookbook (3 a message and 1 for the role, 3 for
# the reply; a tool's schema is rewritten as a type declaration, whose rules there come to 0.7 of
# the JSON, and 12 for all tools). Claude: one message of one token counts as 8; "Tool use with
# Claude", 346 for Claude 4 as last known (159 to 530 for Claude 3). Gemini: count_tokens gives what
# the text alone takes. Llama, Mistral, Qwen and DeepSeek: the special tokens of their published
# chat templates.
_FRAMINGS: Final[Mapping[Family, _Framing]] = {
    Family.OPENAI_O200K: _Framing(4, 3, 12, 0.7),
    Family.OPENAI_CL100K: _Framing(4, 3, 12, 0.7),
    Family.CLAUDE: _Framing(4, 3, 346),
    Family.CLAUDE_4_7: _Framing(4, 2, 346),
    Family.GEMINI: _Framing(0, 0),
    Family.LLAMA: _Framing(5, 5),
    Family.MISTRAL: _Framing(2, 1),
    Family.QWEN: _Framing(5, 3),
    Family.DEEPSEEK: _Framing(1, 2),
    Family.DEFAULT: _Framing(4, 3),
}


def framing_tokens(family: Family, messages: int, *, tools: bool = False) -> int:
    """What wraps `messages` messages, and announces tools if there are any."""
    framing = _FRAMINGS[family]
    return framing.message * messages + framing.request + (framing.tools if tools else 0)


def schema_tokens(measured: Measure, family: Family) -> float:
    """Tokens of definitions of tools, measured as the JSON that the client wrote."""
    return tokens(measured, family) * _FRAMINGS[family].schema_factor


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one part that is not text costs, in tokens, when only its kind is known."""

    picture: int
    audio_per_minute: int
    page: int


_AUDIO_MINUTES: Final = 1
_DOCUMENT_PAGES: Final = 5
_PAGE_TEXT: Final = 1500
"""Low end of the 1,500 to 3,000 a page in Anthropic's "PDF support"."""

# A picture is taken as a full-HD one, 1920 by 1080 pixels; a provider's own rule does the rest.
# Page titles are the providers'. Confirmed in stored copies or by others' implementations: OpenAI's
# tiles, Claude's two rules, Gemini's 32 a second, Qwen's patches; the others as last known.
_PARTS: Final[Mapping[Family, _Parts]] = {
    # "Images and vision": 85 and 170 for each tile of 512 pixels once the short side is 768: 6.
    # "Managing costs" of the Realtime API: a token for each 100 ms of the user's speech.
    # "File inputs": of each page both its text and a picture.
    Family.OPENAI_O200K: _Parts(1105, 600, _PAGE_TEXT + 1105),
    Family.OPENAI_CL100K: _Parts(1105, 600, _PAGE_TEXT + 1105),
    # "Vision": width times height by 750, scaled down to at most 1,600. "PDF support": of each
    # page both its text and a picture. No audio: the default.
    Family.CLAUDE: _Parts(1600, 1920, _PAGE_TEXT + 1600),
    # Same, patches of 28 pixels without scaling down: 69 by 39.
    Family.CLAUDE_4_7: _Parts(2691, 1920, _PAGE_TEXT + 2691),
    # "Image understanding": 258 for each tile, here 3 by 2. "Audio understanding": 32 a second.
    # "Document understanding": 258 a page.
    Family.GEMINI: _Parts(1548, 1920, 258),
    # "Vision": a token for 28 by 28 pixels, long side scaled to 1540. "Audio": 12.5 a second.
    Family.MISTRAL: _Parts(1700, 750, 1700),
    # Model Studio, "Visual understanding": a token for 28 by 28 pixels, at most 1,280 unless asked.
    Family.QWEN: _Parts(1280, 1500, 1280),
    # Nothing documented that is counted as input tokens: the largest of the usual ones.
    Family.LLAMA: _Parts(1600, 1920, _PAGE_TEXT + 1600),
    Family.DEEPSEEK: _Parts(1600, 1920, _PAGE_TEXT + 1600),
    Family.DEFAULT: _Parts(1600, 1920, _PAGE_TEXT + 1600),
}


def part_tokens(family: Family, feature: Feature) -> int:
    """Tokens to allow for one picture, one recording or one document; 0 for what is no part.

    Sizes are not read: a recording counts as a minute, a document as five pages.
    """
    parts = _PARTS[family]
    match feature:
        case Feature.VISION:
            return parts.picture
        case Feature.AUDIO:
            return parts.audio_per_minute * _AUDIO_MINUTES
        case Feature.DOCUMENTS:
            return parts.page * _DOCUMENT_PAGES
        case Feature.TOOLS | Feature.STRUCTURED_OUTPUT | Feature.REASONING | Feature.EMBEDDINGS:
            return 0


RATIO_MIN: Final = 0.5
RATIO_MAX: Final = 2.0

_CALIBRATION_WEIGHT_MAX: Final = 100.0
"""Requests that the mean remembers; older ones fade."""

_CALIBRATION_STEP: Final = 0.25
"""One report counts as at most this much more or less than the mean: one outlier moves little."""

_WEIGHTY_TOKENS: Final = 200
"""A request as large counts in full, a smaller one in proportion: framing is most of it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What providers report for a family, over what was estimated: a decayed mean.

    `weight` is how many requests stand behind `ratio`; the first guess counts as five.
    """

    ratio: float = 1.0
    weight: float = 5.0


def updated(calibration: Calibration, estimated: float, actual: float) -> Calibration:
    """`calibration` after one more report. What cannot be a count of tokens changes nothing.

    `estimated` is the estimate before calibration.
    """
    if not (0 < estimated < math.inf and 0 < actual < math.inf):
        return calibration
    seen = _between(
        actual / estimated,
        calibration.ratio * (1 - _CALIBRATION_STEP),
        calibration.ratio * (1 + _CALIBRATION_STEP),
    )
    ratio, weight = _blend(
        calibration.ratio,
        min(calibration.weight, _CALIBRATION_WEIGHT_MAX - 1),
        seen,
        min(1.0, actual / _WEIGHTY_TOKENS),
    )
    return Calibration(_between(ratio, RATIO_MIN, RATIO_MAX), weight)


def calibrated(tokens_estimated: float, calibration: Calibration) -> float:
    return tokens_estimated * _between(calibration.ratio, RATIO_MIN, RATIO_MAX)


OUTPUT_TOKENS: Final[Mapping[str, int]] = {
    "chat": 250,
    "code-generation": 900,
    "code-review": 700,
    "reasoning": 1500,  # what is thought is billed as output
    "summarization": 300,
    "translation": 400,  # of a text of unknown length: a translation is as long as its source
    "extraction": 250,
    "writing": 800,
    "design": 1200,
    "question-answering": 350,
    "unknown": 500,
}
"""What an answer takes, by type of task, before any was seen: round figures, soon replaced."""

_OUTPUT_WEIGHT_DEFAULT: Final = 5.0
_OUTPUT_WEIGHT_MAX: Final = 100.0
_OUTPUT_STEP: Final = 8.0
"""One answer counts as at most so many times the mean, or the mean by so many."""


@dataclass(frozen=True, slots=True)
class Output:
    """What answers to one type of task have taken: a decayed mean, of `weight` requests."""

    mean_tokens: float
    weight: float = _OUTPUT_WEIGHT_DEFAULT


def first_output(task_type: str) -> Output:
    """What is thought of a task before any answer was seen."""
    return Output(float(OUTPUT_TOKENS.get(task_type, OUTPUT_TOKENS["unknown"])))


def with_output(output: Output, used: float) -> Output:
    """`output` after one more answer. What cannot be a count of tokens changes nothing."""
    if not 0 < used < math.inf:
        return output
    seen = _between(used, output.mean_tokens / _OUTPUT_STEP, output.mean_tokens * _OUTPUT_STEP)
    weight = min(output.weight, _OUTPUT_WEIGHT_MAX - 1)
    return Output(*_blend(output.mean_tokens, weight, seen, 1.0))


def output_tokens(
    task_type: str,
    limit: int | None,
    seen: Mapping[str, Output] | None = None,
    input_tokens: float | None = None,
) -> int:
    """Tokens that the answer is expected to take: at least 1, at most the request's `limit`.

    What the type of task has used before, if `seen` holds it; else the default for it, which for a
    translation is `input_tokens` if they are known.
    """
    expected = (seen or {}).get(task_type) or first_output(task_type)
    mean = expected.mean_tokens
    if task_type == "translation" and input_tokens is not None and task_type not in (seen or {}):
        mean = input_tokens
    answer = max(1, round(mean))
    return answer if limit is None else min(answer, limit)


def _blend(mean: float, weight: float, seen: float, seen_weight: float) -> tuple[float, float]:
    whole = weight + seen_weight
    return (mean * weight + seen * seen_weight) / whole, whole


def _between(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
