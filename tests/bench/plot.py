"""A bar chart as SVG: panels side by side, a bar for each system, whiskers for the spread.

What is compared differs by orders of magnitude, so the scales are logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median
from typing import Final

_BAR: Final = 22
_GAP: Final = 12
_NAMES: Final = 190
_PANEL: Final = 250
_LABEL: Final = 72
_TOP: Final = 44
_FONT: Final = 'font-family="sans-serif" font-size="13"'
_COLOURS: Final = ("#8a8f98", "#2563eb", "#0ea5e9", "#16a34a", "#d97706", "#9333ea", "#dc2626")


@dataclass(frozen=True, slots=True)
class Panel:
    """By system, the values of the rounds; `form` writes one. A name that is absent has no bar."""

    title: str
    values: Mapping[str, Sequence[float]]
    form: str


def svg(names: Sequence[str], panels: Sequence[Panel]) -> str:
    width = _NAMES + len(panels) * (_PANEL + _LABEL)
    height = _TOP + len(names) * (_BAR + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for row, name in enumerate(names):
        lines.append(_text(_NAMES - 8, _middle(row), name, "end"))
    for column, panel in enumerate(panels):
        left = _NAMES + column * (_PANEL + _LABEL)
        lines.append(_text(left, 22, panel.title, "start"))
        lines += _bars(names, panel, left)
    return "\n".join([*lines, "</svg>", ""])


def _bars(names: Sequence[str], panel: Panel, left: float) -> Iterator[str]:
    every = [value for taken in panel.values.values() for value in taken if value > 0]
    least, greatest = min(every, default=1.0) / 2, max(every, default=1.0)
    scale = _PANEL / math.log(greatest / least)
    for row, name in enumerate(names):
        taken = [max(value, least) for value in panel.values.get(name, ())]
        middle_y = _middle(row)
        if not taken:
            yield _text(left, middle_y, "-", "start")
            continue
        low, middle, high = (math.log(pick(taken) / least) * scale for pick in (min, median, max))
        colour = _COLOURS[row % len(_COLOURS)]
        yield (
            f'<rect x="{left}" y="{middle_y - _BAR / 2}" width="{max(middle, 1):.1f}" '
            f'height="{_BAR}" fill="{colour}"/>'
        )
        yield (
            f'<path d="M{left + low:.1f} {middle_y}H{left + high:.1f}" stroke="#111" '
            'stroke-width="2"/>'
        )
        yield _text(left + high + 6, middle_y, panel.form.format(median(taken)), "start")


def _middle(row: int) -> float:
    return _TOP + row * (_BAR + _GAP) + _BAR / 2


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="middle">'
        f"{escape(text)}</text>"
    )
