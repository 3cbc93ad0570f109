"""What Converse leaves to each model: how it thinks, what may be set, what can be cached.

Read off the model's id. An id that names no model (an inference profile of one's own, an imported
model) counts as one of which nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from extproc.vocabulary import UpstreamModel


@dataclass(frozen=True, slots=True)
class Traits:
    """`thinking` says how it is asked for, None where it can't be.

    `sampling` is which of temperature and top_p may be set: `any`, `one` of them, or `none`.
    `top_k` says whether it is taken as one of the model's own fields. `caching` is where cache
    points are taken and `long_caching` whether they may last an hour. `late` models know the effort
    `xhigh` and hide what they think unless asked. `failures` says whether a tool's result may be
    marked as one, `schemas` whether an answer can be held to a schema, `prefill` whether the last
    turn may be the assistant's.
    """

    thinking: Literal["budget", "adaptive"] | None = None
    sampling: Literal["any", "one", "none"] = "any"
    top_k: bool = False
    caching: Literal["everywhere", "but tools", "nowhere"] = "nowhere"
    long_caching: bool = False
    late: bool = False
    failures: bool = True
    schemas: bool = True
    prefill: bool = True


_CLAUDE: Final = "anthropic.claude-"
_NOVA: Final = "amazon.nova-"

# https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
# https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html
# https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolResultBlock.html
# https://docs.aws.amazon.com/bedrock/latest/userguide/model-card-anthropic-claude-opus-4-7.html
# https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
# https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6 (prefills)
_OLD: Final = Traits(top_k=True, schemas=False)
_CLAUDE_3_5_HAIKU: Final = Traits(top_k=True, caching="everywhere", schemas=False)
_CLAUDE_4: Final = Traits("budget", top_k=True, caching="everywhere", schemas=False)
_CLAUDE_4_1: Final = Traits("budget", "one", top_k=True, caching="everywhere", schemas=False)
_CLAUDE_4_5: Final = Traits("budget", "one", top_k=True, caching="everywhere", long_caching=True)
_CLAUDE_4_6: Final = Traits(
    "adaptive", "one", top_k=True, caching="everywhere", long_caching=True, prefill=False
)
_LATER_CLAUDE: Final = Traits(
    "adaptive", "none", caching="everywhere", long_caching=True, late=True, prefill=False
)

_CLAUDES: Final = (
    ("instant", _OLD),
    ("v2", _OLD),
    ("3-haiku", _OLD),
    ("3-sonnet", _OLD),
    ("3-opus", _OLD),
    ("3-5-sonnet", _OLD),
    ("3-5-haiku", _CLAUDE_3_5_HAIKU),
    ("3-7-", _CLAUDE_4),
    ("opus-4-1", _CLAUDE_4_1),
    ("opus-4-2025", _CLAUDE_4),
    ("sonnet-4-2025", _CLAUDE_4),
    ("opus-4-5", _CLAUDE_4_5),
    ("sonnet-4-5", _CLAUDE_4_5),
    ("haiku-4-5", _CLAUDE_4_5),
    ("opus-4-6", _CLAUDE_4_6),
    ("sonnet-4-6", _CLAUDE_4_6),
    ("", _LATER_CLAUDE),
)
"""By how what follows `anthropic.claude-` begins; what is not known yet is taken as the latest."""

_NOVAS: Final = Traits(caching="but tools", schemas=False)
_UNKNOWN: Final = Traits(failures=False)


def traits_of(model: UpstreamModel) -> Traits:
    _, is_claude, rest = model.rpartition(_CLAUDE)
    if is_claude:
        return next(traits for start, traits in _CLAUDES if rest.startswith(start))
    return _NOVAS if _NOVA in model else _UNKNOWN
