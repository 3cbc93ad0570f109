# ruff: noqa: T201 (a command: what it prints is its answer)
"""Fit the task classifier: `python tests/bench/fit_task_classifier.py DATA_DIR [--out FILE]`.

DATA_DIR holds `train.jsonl` and `dev.jsonl`: an object a line with `prompt`, `category`, `lang`.
The numbers go to `extproc/text/classifier.json`; the report, on dev and on the prompts of
`tests/task_prompts.yaml`, to standard output. Same data and phrases, same bytes out.

1. The labelled prompts are few, templated and unbalanced, so they are half of the matter only. The
   other half is made from `task_phrases.yaml`: instructions in eight languages, as often for each
   task, and things that are no task. Both are *dressed* as real messages are: politeness,
   background, pasted text and code, careless case. The dress says nothing of the task.
2. Known features are those of several labelled prompts or of several instructions. Slots that are
   mere subject matter (`CONTENT`) count for nothing there.
3. A softmax regression by stochastic gradient (Adagrad), labelled prompts weighted against their
   imbalance; then again on the `KEPT` features that mattered most.
4. Temperature and threshold come from a second model that has seen neither a fifth of the labelled
   prompts nor a fifth of the instruction patterns, on just those: dev stays out of it.

Pure Python: no dependency, and no thread or library version for the result to depend on.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from extproc.config.classifier import fold, from_numbers
from extproc.text.classifier import FEATURE_VERSION, WEIGHT_MAX, Classifier, features

HERE: Final = Path(__file__).parent
OUT: Final = HERE.parents[1] / "extproc" / "text" / "classifier.json"
PROMPTS: Final = HERE.parent / "task_prompts.yaml"

CATEGORIES: Final[Mapping[str, str]] = {
    "code-generation": "simple-code complex-code testing ml-pipeline migration agentic-task",
    "code-review": "code-review debugging security-analysis performance code-snippet-qa",
    "reasoning": "formal-proof algorithm-proof math-derivation math-word-problem formal-logic"
    " logic-puzzle game-theory",
    "summarization": "summary",
    "translation": "translation",
    "extraction": "extraction structured-output classification data-analysis",
    "writing": "creative rewrite brainstorming documentation",
    "design": "system-design architecture infrastructure",
    "question-answering": "factual-qa explanation definition comparison",
    "chat": "greeting",
}
TYPES: Final = tuple(CATEGORIES)
NONE: Final = "none"
CLASSES: Final = (*TYPES, NONE)
CLASS_OF_CATEGORY: Final = {
    category: CLASSES.index(task)
    for task, names in CATEGORIES.items()
    for category in names.split()
}

SEED: Final = 7
INSTRUCTIONS: Final = 72_000
INSTRUCTIONS_HELD_OUT_FIT: Final = 16_000
COPIES: Final = 6
"""Times each labelled prompt is fitted: once as it is, the others dressed."""
INSTRUCTIONS_SHARE: Final = 2.0
"""Weight of all made instructions against all labelled prompts."""
BALANCE: Final = 0.5
"""0 leaves the labelled classes as unbalanced as they are, 1 makes them weigh the same."""
PROMPTS_MIN: Final = 3
INSTRUCTIONS_MIN: Final = 9
KEPT: Final = 14_000
EPOCHS: Final = 2
RATE: Final = 0.2
WRONG_COSTS: Final = 0.6
"""What a wrong type costs where a right one is worth 1 and an abstention nothing."""
THRESHOLDS: Final = [step / 100 for step in range(35, 61)]

Weights = list[list[float]]


@dataclass(frozen=True, slots=True)
class Labelled:
    text: str
    label: int
    lang: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """A made instruction; `frame` is without its subject matter, None where all of it is noise."""

    text: str
    frame: str | None
    task: str
    lang: str


@dataclass(frozen=True, slots=True)
class Example:
    found: Sequence[int]
    label: int
    weight: float


# --- What people write --------------------------------------------------------------------------

PHRASES: Final[dict[str, Any]] = YAML(typ="safe").load(
    (HERE / "task_phrases.yaml").read_text("utf-8")
)
AROUND: Final[dict[str, Any]] = PHRASES.pop("around")
ANY: Final[dict[str, Any]] = PHRASES.pop("any") | {"foreign": AROUND["foreign"]}
CONTENT: Final = {"topic", "about", "sentence", "foreign", "who", "n"}
SHORT: Final = ("chat", NONE)
"""What is said in a word or two, and so in each language by itself."""
LANGUAGES: Final = [lang for lang in PHRASES for _ in range(6 if lang == "en" else 2)]

CHOICE: Final = re.compile(r"\[([^\[\]]*)\]")
SLOT: Final = re.compile(r"<([a-z]+)>")
KEYBOARDS: Final = (
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("йцукенгшщзх", "фывапролджэ", "ячсмитьбю"),
    ("的一是不了人我在有他", "大小上下天地日月水火"),
)
SIGNS: Final = "!@#$%^&*.,;:?-_ "
SCRAPS: Final = "abcdefghijklmnopqrstuvwxyz0123456789#@[]!$"

# How often an instruction of each task comes with a text, or with code, pasted below or above it.
WITH_TEXT: Final = {
    "summarization": 0.65, "extraction": 0.5, "translation": 0.25, "writing": 0.2, "design": 0.05,
    "question-answering": 0.05, "code-generation": 0.04, "code-review": 0.02, "reasoning": 0.02,
}  # fmt: skip
WITH_CODE: Final = {
    "code-review": 0.6, "code-generation": 0.15, "extraction": 0.04, "design": 0.03,
    "writing": 0.02, "question-answering": 0.02, "summarization": 0.02,
}  # fmt: skip


def instructions(
    rng: random.Random, count: int, keep: Callable[[str], bool] = lambda _: True
) -> list[Instruction]:
    """Made instructions, as many of each class; `keep` says which patterns may be used."""
    made: list[Instruction] = []
    while len(made) < count:
        task = CLASSES[len(made) % len(CLASSES)]
        lang = rng.choice(list(PHRASES) if task in SHORT else LANGUAGES)
        if task == NONE and rng.random() < 0.5:
            made.append(Instruction(noise(rng), None, task, lang))
            continue
        section = PHRASES[lang]
        patterns = [pattern for pattern in section["phrases"][task] if keep(lang + pattern)]
        if patterns:
            text, frame = expand(rng.choice(patterns), section["slots"], rng)
            made.append(Instruction(text, frame, task, lang))
    return made


def expand(pattern: str, slots: Mapping[str, Sequence[str]], rng: random.Random) -> tuple[str, str]:
    """One sentence that the pattern allows, and the same without its subject matter."""
    while choice := CHOICE.search(pattern):
        chosen = rng.choice(choice[1].split("|"))
        pattern = pattern[: choice.start()] + chosen + pattern[choice.end() :]
    parts = SLOT.split(pattern)
    names = parts[1::2]
    filled = [str(rng.choice(slots.get(name) or ANY[name])) for name in names]
    framed = [
        "\u00a7" if name in CONTENT else word for name, word in zip(names, filled, strict=True)
    ]
    return _join(parts[::2], filled), _join(parts[::2], framed)


def _join(literals: Sequence[str], words: Sequence[str]) -> str:
    return "".join(literal + word for literal, word in zip(literals, [*words, ""], strict=True))


def noise(rng: random.Random) -> str:
    """What a cat writes, or somebody who tries whether anything happens."""
    kind = rng.random()
    if kind < 0.15:
        return "".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 12)))
    if kind < 0.25:
        return "".join(rng.choice("0123456789 ") for _ in range(rng.randint(1, 14)))
    if kind < 0.3:
        return rng.choice(".?!-\u2026") * rng.randint(1, 8)
    if kind < 0.45:
        words = [rng.choices(SCRAPS, k=rng.randint(1, 8)) for _ in range(rng.randint(1, 6))]
        return " ".join(map("".join, words))
    board = rng.choice(KEYBOARDS)
    return " ".join(_mashed(board, rng) for _ in range(rng.choice([1, 1, 1, 2, 3, 4, 5])))


def _mashed(board: Sequence[str], rng: random.Random) -> str:
    row = rng.choice(board)
    if rng.random() < 0.4:
        start = rng.randrange(len(row) - 1)
        return row[start : start + rng.randint(2, 9)]
    letters = row if rng.random() < 0.5 else "".join(board)
    times = rng.choice([1, 1, 2])
    return "".join(rng.choice(letters) * times for _ in range(rng.randint(2, 10 // times)))


def dress(text: str, task: str, lang: str, rng: random.Random) -> str:
    """The instruction within a message: what stands around it says nothing of the task."""
    lang = lang if lang in AROUND["prose"] else "en"
    if task == NONE:
        text = text.capitalize() if rng.random() < 0.4 else text
        return text + rng.choice(["", "", "", ".", "!", "?"])
    while task != "chat" and rng.random() < 0.35:
        space = "" if lang == "zh" else rng.choice([" ", " ", "\n"])
        start = text[:1] if rng.random() < 0.5 else text[:1].lower()
        text = rng.choice(AROUND["before"][lang]) + space + start + text[1:]
    if rng.random() < 0.15:
        text += rng.choice([" ", " ", "\n", "\n\n"]) + rng.choice(AROUND["after"][lang])
    if block := _pasted(task, lang, rng):
        if rng.random() < 0.7:
            colon = rng.choice([":", ":", ":", ".", ""])
            space = rng.choice(["\n\n", "\n", "\n" if "\n" in block else " "])
            text = text.rstrip(".") + colon + space + block
        else:
            text = block + "\n\n" + text
        if rng.random() < 0.07:
            text += "\n\n" + rng.choice(AROUND["after"][lang])
    return _careless(text, rng)


def _pasted(task: str, lang: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < WITH_TEXT.get(task, 0):
        other = lang if rng.random() < 0.8 else rng.choice(list(AROUND["prose"]))
        paragraphs = rng.sample(AROUND["prose"][other], k=rng.choice([1, 1, 2, 3]))
        if rng.random() < (0.7 if task == "extraction" else 0.15):
            paragraphs = [rng.choice(AROUND["data"]) if rng.random() < 0.2 else _rows(other, rng)]
        block = rng.choice(["\n", " ", "\n\n"]).join(paragraphs)
        if rng.random() < 0.15:
            block *= rng.randint(2, 12)
        return f'"{block}"' if rng.random() < 0.2 else block
    if draw > 1 - WITH_CODE.get(task, 0):
        block = rng.choice(AROUND["code"] + (AROUND["log"] if task == "code-review" else []))
        if task == "code-review" and rng.random() < 0.2:
            block += "\n" + rng.choice(AROUND["log"])
        fence = rng.choice(["", "", "python", "js", "sql", "text"])
        return f"```{fence}\n{block.rstrip()}\n```" if rng.random() < 0.6 else block.rstrip()
    return ""


def _rows(lang: str, rng: random.Random) -> str:
    """A list of things with numbers in it, which by themselves are no arithmetic."""
    slots = PHRASES[lang]["slots"]
    kind, number = rng.randrange(5), rng.randrange(1, 2000)
    rows = []
    for position in range(1, rng.randint(2, 7)):
        number += rng.randrange(1, 300)
        who, thing = rng.choice(ANY["who"]), str(rng.choice(slots["topic"]))
        said = str(rng.choice(slots["sentence"]))
        rows.append(
            (
                f"{position}{'.' if number % 2 else ')'} {said}",
                f"({chr(96 + position)}) {said}",
                f"{position} x {thing} {number / 100:.2f}",
                f"{who}, {thing}, {number % 28 + 1}.{number % 12 + 1}.2023, {number} EUR",
                f"- {who}: {said} {number} kg, {thing}",
            )[kind]
        )
    return rng.choice(["\n", " ", ", ", "; "]).join(rows)


def _careless(text: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.12:
        return text.lower()
    if draw < 0.2:
        return text.rstrip(".?!\uff1f\u3002")
    if draw < 0.22:
        return text.upper()
    return text[:1].upper() + text[1:] if draw < 0.5 else text


# --- The fit ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Model:
    """Weights by feature, and the bias, a number a class."""

    weights: Mapping[int, Sequence[float]]
    bias: Sequence[float]

    def scores(self, text: str) -> list[float]:
        rows = [self.weights[found] for found in features(text) if found in self.weights]
        return [math.fsum(column) for column in zip(self.bias, *rows, strict=True)]


def fit(
    labelled: Sequence[Labelled], made: Sequence[Instruction], kept: int, rng: random.Random
) -> Model:
    vocabulary = known_features(labelled, made)
    matter = [
        Example([found for found in sorted(features(text)) if found in vocabulary], label, weight)
        for text, label, weight in dressed(labelled, made, rng)
    ]
    model = descend(matter, vocabulary, rng)
    vocabulary = most_telling(model, matter, kept)
    matter = [
        Example([found for found in one.found if found in vocabulary], one.label, one.weight)
        for one in matter
    ]
    return descend(matter, vocabulary, rng)


def known_features(labelled: Iterable[Labelled], made: Iterable[Instruction]) -> set[int]:
    prompts: Counter[int] = Counter()
    for one in labelled:
        prompts.update(features(one.text))
    frames: Counter[int] = Counter()
    for each in made:
        if each.frame is not None:
            frames.update(features(each.frame))
    return {found for found, count in prompts.items() if count >= PROMPTS_MIN} | {
        found for found, count in frames.items() if count >= INSTRUCTIONS_MIN
    }


def dressed(
    labelled: Sequence[Labelled], made: Sequence[Instruction], rng: random.Random
) -> Iterable[tuple[str, int, float]]:
    """Texts with their class and weight."""
    counts = Counter(one.label for one in labelled)
    for one in labelled:
        weight = (len(labelled) / len(TYPES) / counts[one.label]) ** BALANCE / COPIES
        yield one.text, one.label, weight
        for _ in range(COPIES - 1):
            yield dress(one.text, CLASSES[one.label], one.lang, rng), one.label, weight
    weight = INSTRUCTIONS_SHARE * len(labelled) / len(made)
    for each in made:
        yield dress(each.text, each.task, each.lang, rng), CLASSES.index(each.task), weight


def descend(matter: Sequence[Example], vocabulary: set[int], rng: random.Random) -> Model:
    """Softmax regression by Adagrad, one step size a feature."""
    weights: dict[int, list[float]] = {found: [0.0] * len(CLASSES) for found in sorted(vocabulary)}
    seen = dict.fromkeys(weights, 1e-2)
    bias = [0.0] * len(CLASSES)
    order = list(range(len(matter)))
    for epoch in range(EPOCHS):
        rng.shuffle(order)
        rate = RATE / (1 + epoch / 2)
        for position in order:
            one = matter[position]
            scores = list(
                map(sum, zip(bias, *[weights[found] for found in one.found], strict=True))
            )
            slope = [one.weight * share for share in softmax(scores)]
            slope[one.label] -= one.weight
            size = sum([value * value for value in slope])
            for found in one.found:
                seen[found] += size
                step = rate / math.sqrt(seen[found])
                weights[found] = [w - step * s for w, s in zip(weights[found], slope, strict=True)]
            bias = [b - 0.02 * rate * s for b, s in zip(bias, slope, strict=True)]
    return Model(weights, bias)


def most_telling(model: Model, matter: Iterable[Example], kept: int) -> set[int]:
    """The features whose weights differ most between classes, and often."""
    often: dict[int, float] = defaultdict(float)
    for one in matter:
        for found in one.found:
            often[found] += one.weight

    def telling(found: int) -> tuple[float, int]:
        row = model.weights[found]
        mean = sum(row) / len(row)
        return -math.sqrt(sum((w - mean) ** 2 for w in row) * often[found]), found

    return set(sorted(model.weights, key=telling)[:kept])


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    top = max(scores)
    shares = [math.exp((score - top) / temperature) for score in scores]
    total = sum(shares)
    return [share / total for share in shares]


# --- How sure it is -----------------------------------------------------------------------------


def calibrate(labelled: Sequence[Labelled], rng: random.Random) -> tuple[float, float]:
    """Temperature and threshold, from what a model says of prompts and patterns new to it."""

    def seen(text: str) -> bool:
        return random.Random(text).random() >= 0.2

    fitted = [one for one in labelled if seen(one.text)]
    model = fit(fitted, instructions(rng, INSTRUCTIONS_HELD_OUT_FIT, seen), KEPT, rng)
    unseen = [(dress(one.text, CLASSES[one.label], one.lang, rng), one.label)
              for one in labelled if not seen(one.text)]  # fmt: skip
    unseen += [
        (dress(each.text, each.task, each.lang, rng), CLASSES.index(each.task))
        for each in instructions(rng, 3000, lambda pattern: not seen(pattern))
    ]
    scored = [(model.scores(text), label) for text, label in unseen]

    def surprise(temperature: float) -> float:
        return -sum(math.log(max(softmax(scores, temperature)[label], 1e-9))
                    for scores, label in scored)  # fmt: skip

    # Not below 1: texts from elsewhere are not easier than these.
    temperature = min((step / 20 for step in range(20, 61)), key=surprise)
    judged = [(softmax(scores, temperature), label) for scores, label in scored]
    return temperature, max(THRESHOLDS, key=lambda threshold: payoff(judged, threshold))


def payoff(judged: Iterable[tuple[Sequence[float], int]], threshold: float) -> float:
    """1 for a right type or a right abstention, 0 for a needless one, `-WRONG_COSTS` otherwise."""
    none = CLASSES.index(NONE)
    total = 0.0
    for shares, label in judged:
        best = shares.index(max(shares))
        answer = best if shares[best] >= threshold else none
        total += answer == label or (0.0 if answer == none else -WRONG_COSTS)
    return total


def numbers_of(
    model: Model, temperature: float, threshold: float, fitted_on: int
) -> dict[str, Any]:
    """What is committed: hashes and integers, and no word of any prompt."""
    centred: dict[int, list[float]] = {}
    for found, row in model.weights.items():
        mean = sum(row) / len(row)
        centred[found] = [weight - mean for weight in row]
    # The few largest weights are cut off so that the many are told apart.
    sizes = sorted(max(map(abs, row)) for row in centred.values())
    scale = sizes[int(len(sizes) * 0.995)] / WEIGHT_MAX
    flat: list[int] = []
    previous = 0
    for found in sorted(centred):
        whole = [max(-WEIGHT_MAX, min(WEIGHT_MAX, round(w / scale))) for w in centred[found]]
        flat += found - previous, fold(whole)
        previous = found
    return {
        "feature_version": FEATURE_VERSION,
        "seed": SEED,
        "prompts": fitted_on,
        "instructions": INSTRUCTIONS,
        "types": list(TYPES),
        "temperature": temperature,
        "threshold": threshold,
        "scale": float(f"{scale:.6g}"),
        "bias": [round(value / scale) for value in model.bias],
        "features": flat,
    }


# --- The report ---------------------------------------------------------------------------------

Predict = Callable[[str], str]


def majority(train: Sequence[Labelled]) -> Predict:
    label = Counter(one.label for one in train).most_common(1)[0][0]
    return lambda _: CLASSES[label]


def by_length(train: Sequence[Labelled]) -> Predict:
    """The commonest type among prompts of about that length, a fifth of an octave."""

    def bucket(text: str) -> int:
        return round(5 * math.log2(len(text.encode()) + 1))

    labels: dict[int, Counter[int]] = defaultdict(Counter)
    for one in train:
        labels[bucket(one.text)][one.label] += 1

    def predict(text: str) -> str:
        near = min(labels, key=lambda size: abs(size - bucket(text)))
        return CLASSES[labels[near].most_common(1)[0][0]]

    return predict


def nearest_neighbours(train: Sequence[Labelled], k: int = 5) -> Predict:
    """A vote of the `k` prompts that share most of their features (Jaccard)."""
    known = [(features(one.text), one.label) for one in train]

    def predict(text: str) -> str:
        mine = features(text)
        near = sorted(
            ((len(mine & theirs) / len(mine | theirs), -label) for theirs, label in known),
            reverse=True,
        )[:k]
        votes: dict[int, float] = defaultdict(float)
        for similarity, label in near:
            votes[-label] += similarity
        return CLASSES[max(votes, key=votes.__getitem__)]

    return predict


def macro_recall(items: Sequence[Labelled], said: Sequence[str]) -> float:
    per_type = recalls(items, said)
    return sum(per_type.values()) / len(per_type)


def recalls(items: Sequence[Labelled], said: Sequence[str]) -> dict[str, float]:
    """Recall of each type that occurs; an abstention is a miss."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for one, answer in zip(items, said, strict=True):
        truth = CLASSES[one.label]
        if truth != NONE:
            total[truth] += 1
            right[truth] += answer == truth
    return {truth: right[truth] / total[truth] for truth in TYPES if total[truth]}


def print_report(
    title: str, items: Sequence[Labelled], classifier: Classifier, others: Mapping[str, Predict]
) -> None:
    said = [classifier.classify(one.text).type or NONE for one in items]
    columns = {name: [predict(one.text) for one in items] for name, predict in others.items()}
    beside = {name: recalls(items, column) for name, column in columns.items()}
    asked = Counter(CLASSES[one.label] for one in items)
    answered = Counter(said)
    print(f"\n{title}: {len(items)} prompts")
    print(
        f"  {'':20}{'n':>5}{'recall':>9}{'prec.':>8}{'F1':>7}", *(f"{name:>12}" for name in others)
    )
    for task, recall in recalls(items, said).items():
        right = recall * asked[task]
        precision = right / answered[task] if answered[task] else 0.0
        f1 = 2 * right / (asked[task] + answered[task])
        print(f"  {task:20}{asked[task]:5}{recall:9.2f}{precision:8.2f}{f1:7.2f}",
              *(f"{recall[task]:12.2f}" for recall in beside.values()))  # fmt: skip
    print(f"  {'macro':20}{'':5}{macro_recall(items, said):9.2f}{'':15}",
          *(f"{macro_recall(items, column):12.2f}" for column in columns.values()))  # fmt: skip
    real = [
        (one, answer) for one, answer in zip(items, said, strict=True) if CLASSES[one.label] != NONE
    ]
    print(f"  coverage {sum(answer != NONE for _, answer in real) / len(real):.3f}")
    langs = sorted({one.lang for one, _ in real})
    per_lang = {
        lang: [CLASSES[one.label] == answer for one, answer in real if one.lang == lang]
        for lang in langs
    }
    print(
        "  right, by language:", *(f"{lang} {sum(r) / len(r):.2f}" for lang, r in per_lang.items())
    )
    nothing = [
        answer for one, answer in zip(items, said, strict=True) if CLASSES[one.label] == NONE
    ]
    if nothing:
        print(f"  no task: {nothing.count(NONE)} of {len(nothing)} abstained")


def load(path: Path) -> list[Labelled]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    none = CLASSES.index(NONE)
    return [Labelled(row["prompt"], CLASS_OF_CATEGORY.get(row["category"], none), row["lang"])
            for row in rows]  # fmt: skip


def load_own(path: Path) -> list[Labelled]:
    rows = YAML(typ="safe").load(path.read_text("utf-8"))
    return [
        Labelled(row["prompt"], CLASSES.index(row["type"] or NONE), row["lang"]) for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the task classifier.")
    parser.add_argument("data", type=Path, help="folder of train.jsonl and dev.jsonl")
    parser.add_argument("--out", type=Path, default=OUT, help="where the numbers go")
    arguments = parser.parse_args()
    started = time.monotonic()

    everything = load(arguments.data / "train.jsonl")
    train = [one for one in everything if CLASSES[one.label] != NONE]
    temperature, threshold = calibrate(train, random.Random(SEED))
    rng = random.Random(SEED)
    model = fit(train, instructions(rng, INSTRUCTIONS), KEPT, rng)
    numbers = numbers_of(model, temperature, threshold, len(train))
    text = json.dumps(numbers, separators=(",", ":")) + "\n"
    arguments.out.write_text(text, "utf-8")

    others = {
        "majority": majority(train),
        "length": by_length(train),
        "neighbours": nearest_neighbours(train),
    }
    classifier = from_numbers(numbers)
    dev = load(arguments.data / "dev.jsonl")
    print(f"{len(model.weights)} features, {len(text)} bytes, temperature {temperature},",
          f"threshold {threshold}, fitted in {time.monotonic() - started:.0f} s")  # fmt: skip
    edges = [one for one in everything if CLASSES[one.label] == NONE]
    print_report("dev, and the edge-* prompts of train, which are not fitted on",
                 dev + edges, classifier, others)  # fmt: skip
    print_report("written by hand for the tests", load_own(PROMPTS), classifier, others)


if __name__ == "__main__":
    main()
