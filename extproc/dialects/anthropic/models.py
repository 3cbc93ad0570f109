"""What Claude models take in a request, by the version in their names.

A table of facts, each from the page "What's new" or the migration guide of its models
(platform.claude.com/docs/en/about-claude/models/, …/docs/en/models/), and of
…/build-with-claude/adaptive-thinking, …/effort and …/structured-outputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from extproc.vocabulary import UpstreamModel


@dataclass(frozen=True, slots=True)
class Ways:
    """How one generation of models wants to be asked.

    `thinking` is by a `budget`, or `adaptive` with an effort. `at_rest` is how a request for no
    thinking is written: nothing, `thinking` of type `disabled`, or the lowest effort where
    thinking can't be turned off. `schemas` says whether it takes `output_config.format` and strict
    tools, `sampling` whether temperature, top_p and top_k, `prefill` whether the last message may
    be the assistant's, `forced_calls` whether `tool_choice` may be `any` or a tool.
    """

    thinking: Literal["none", "budget", "adaptive"]
    at_rest: Literal["silence", "disabled", "lowest"] = "silence"
    schemas: bool = True
    sampling: bool = True
    prefill: bool = True
    forced_calls: bool = True
    efforts: frozenset[str] = frozenset({"low", "medium", "high", "xhigh"})


_ALWAYS_THINKING: Final = Ways(
    "adaptive", "lowest", sampling=False, prefill=False, forced_calls=False
)

_SINCE: Final = (
    ((5, 1), _ALWAYS_THINKING),
    ((5, 0), Ways("adaptive", "disabled", sampling=False, prefill=False)),
    ((4, 7), Ways("adaptive", sampling=False, prefill=False)),
    ((4, 6), Ways("adaptive", prefill=False, efforts=frozenset({"low", "medium", "high"}))),
    ((4, 5), Ways("budget")),
    ((3, 7), Ways("budget", schemas=False)),
    ((0, 0), Ways("none", schemas=False)),
)
_COMPATIBLE: Final = Ways("budget", schemas=False)

_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_ALWAYS_THINKING_LINES: Final = ("claude-fable", "claude-mythos")


def ways_of(model: UpstreamModel) -> Ways:
    """Of a Claude without a version the newest ones; of another model what older Claudes had.

    Others that speak this dialect have imitated it as it was with budgets.
    """
    name = model.lower()
    if "claude" not in name:
        return _COMPATIBLE
    version = _VERSION.search(name)
    if not version or any(line in name for line in _ALWAYS_THINKING_LINES):
        return _ALWAYS_THINKING
    number = (int(version[1]), int(version[2] or 0))
    return next(ways for since, ways in _SINCE if number >= since)
