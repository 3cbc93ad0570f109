"""What models behind OpenAI's dialect take of a translated request, by how their names begin.

Efforts and sampling: developers.openai.com, "Reasoning models", "Using GPT-5.2" and "Using GPT-5.4"
(parameter compatibility), and the reference of `reasoning_effort`; GitHub, anomalyco/opencode, pull
request 26268, which asked each GPT-5, and openai/codex, issue 6647. Stop sequences: GitHub,
huggingface/smolagents, pull requests 1662 and 1868 and issue 1893. Efforts beside tools: GitHub,
openai/openai-openapi, issue 541, and BerriAI/litellm, pull request 34569. Others:
docs.mistral.ai, "Adjustable" reasoning; ai.google.dev, "OpenAI compatibility"; console.groq.com,
"Reasoning".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from extproc.vocabulary import Target


@dataclass(frozen=True, slots=True)
class Ways:
    """What one family takes.

    `efforts` are those that it knows, from the least to the most; without any it is told none.
    `rests` says that it does not think unless told to. `sampled`: temperature, top_p and penalties
    are taken while it thinks, too; `stops`: stop sequences are taken. `tires_of_tools`: no effort
    but `none` is taken beside tools, by this API.
    """

    efforts: tuple[str, ...] = ("low", "medium", "high")
    rests: bool = False
    sampled: bool = True
    stops: bool = True
    tires_of_tools: bool = False


_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")
_UNKNOWN: Final = Ways(rests=True)
_SILENT: Final = Ways(())


def _openais(*efforts: str, rests: bool = False, tires_of_tools: bool = False) -> Ways:
    return Ways(efforts, rests, sampled=False, stops=False, tires_of_tools=tires_of_tools)


_O: Final = _openais("low", "medium", "high")
_FROM_NONE: Final = ("none", "low", "medium", "high", "xhigh")

_WAYS: Final = tuple(
    [
        (re.compile(name), ways)
        for name, ways in (
            (r"gpt-oss", Ways()),
            (r"gpt-[34]|gpt-5-chat|chatgpt", _SILENT),
            (r"gpt-\d[\d.]*-chat", _openais()),
            (r"gpt-5-pro", _openais("high")),
            (r"gpt-\d[\d.]*-pro", _openais("medium", "high", "xhigh")),
            (r"gpt-5(\.1)?-codex(?!-max)", _O),
            (r"gpt-\d[\d.]*-codex", _openais("low", "medium", "high", "xhigh")),
            (r"gpt-5(?![\d.])", _openais("minimal", "low", "medium", "high")),
            (r"gpt-5\.1(?!\d)", _openais("none", "low", "medium", "high", rests=True)),
            (r"gpt-5\.[23](?!\d)", _openais(*_FROM_NONE, rests=True)),
            (r"gpt-5\.4(?!\d)", _openais(*_FROM_NONE, rests=True, tires_of_tools=True)),
            # What is not known yet is taken as the latest that is.
            (r"gpt-\d", _openais(*_FROM_NONE, tires_of_tools=True)),
            (r"o1-(mini|preview)", _openais()),
            (r"o\d(?!\w)", _O),
            (r"mistral-(small-(2603|4|latest)|medium-(2604|3[.-]5))", Ways(("none", "high"))),
            (r"(mi|ma|mini|code|dev)(s|gis)tral|pixtral", _SILENT),
            (r"qwen3-32b", _SILENT),
            (r"gemini-2\.5-flash", Ways(_EFFORTS[:5])),
            (r"gemini", Ways(_EFFORTS[1:5])),
        )
    ]
)
"""The first that fits."""


def ways_of(target: Target) -> Ways:
    """By the name that is sent or, where it says nothing (Azure's deployments), the config's."""
    for name in (target.upstream_model, target.model.name):
        last = name.rpartition("/")[2].lower()
        for begins, ways in _WAYS:
            if begins.match(last):
                return ways
    return _UNKNOWN


def nearest_effort(wanted: str, ways: Ways) -> str | None:
    """What `ways` has that comes nearest; None to say nothing of it.

    Who asks for thought is not given none, and who asks for none is given the least that there is.
    """
    if wanted in ways.efforts:
        return wanted
    if wanted == "none":
        return None if ways.rests else next(iter(ways.efforts), None)
    place = _EFFORTS.index(wanted)
    thoughts = [effort for effort in ways.efforts if effort != "none"]
    return min(thoughts, key=lambda effort: abs(_EFFORTS.index(effort) - place), default=None)
