"""The names of tools, which Anthropic lets be longer than the other APIs do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from extproc.dialects.conversation import NotTakenError, Tool
from extproc.vocabulary import Api

USUAL_CHARS_MAX: Final = 64
"""At Google (https://ai.google.dev/api/caching#FunctionDeclaration) and at Bedrock (`name` of
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html)."""


def refuse_long_names(tools: Iterable[Tool], most: int | None, api: Api) -> None:
    """Raises `NotTakenError` for a tool whose name is longer than `most`, None for any length.

    A shorter name would have to be found again in the answer, and in each later history.
    """
    if most is not None and any(len(tool.name) > most for tool in tools):
        raise NotTakenError("tools", f"a tool name of more than {most} characters", api)
