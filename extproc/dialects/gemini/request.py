"""Writing a conversation as a GenerateContentRequest.

Fields are those of https://ai.google.dev/api/generate-content and /api/caching#Tool. Schemas go
into the fields that take all of JSON Schema (`parametersJsonSchema`, `responseJsonSchema`), not
those of the OpenAPI subset, so that nothing of them is lost. What differs between models is in
`models`; models of one generation are told the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from extproc.dialects.conversation import (
    Conversation,
    Demand,
    OutputFormat,
    Reasoning,
    Tool,
    ToolChoice,
    Wording,
)
from extproc.dialects.gemini.contents import Json, contents, texts
from extproc.dialects.gemini.models import LEVELS, Budget, Facts, Levels, facts_of
from extproc.dialects.json_instruction import json_instruction
from extproc.dialects.tool_names import USUAL_CHARS_MAX, refuse_long_names
from extproc.vocabulary import Api, Target, UpstreamModel

LACKS: Final = frozenset(
    {
        Demand.SEVERAL_ANSWERS,
        Demand.LOGPROBS,
        Demand.AUDIO_OUTPUT,
        Demand.HOSTED_TOOLS,
        Demand.CUSTOM_TOOLS,
        Demand.STORED_STATE,
        Demand.STORED_FILES,
        Demand.BOUND_THINKING,
        Demand.ENCRYPTED_REASONING,
        Demand.BACKGROUND,
        Demand.COUNT,
        Demand.EMBEDDINGS,
        Demand.UNKNOWN_PARTS,
    }
)
"""What is not written here, be it that the API has no such thing or has it in another shape."""

STOP_SEQUENCES_MAX: Final = 5

_INT32_MAX: Final = 2**31 - 1
_COLLECTIONS: Final = ("models/", "tunedModels/")
_MODES: Final = {"auto": "AUTO", "none": "NONE", "any": "ANY", "named": "ANY"}

# Google's own: https://ai.google.dev/gemini-api/docs/openai#thinking
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768}
_LEAST_LEVELS: Final = {"none": 0, "minimal": 0, "low": 1, "medium": 2, "high": 3, "xhigh": 3}


def write_request(conversation: Conversation, target: Target) -> Wording:
    refuse_long_names(conversation.tools, USUAL_CHARS_MAX, Api.GEMINI)
    facts = facts_of(target.upstream_model)
    body: Json = {}
    turns = contents(conversation.messages, signed_calls=facts.signed_calls)
    wanted = conversation.output_format
    in_words = wanted is not None and bool(conversation.tools) and not facts.json_beside_tools
    system = texts(conversation.system)
    if wanted and in_words:
        system.append({"text": json_instruction(wanted.schema)})
    if system:
        body["systemInstruction"] = {"parts": system}
    body["contents"] = turns
    if conversation.tools:
        body["tools"] = [{"functionDeclarations": _functions(conversation.tools)}]
        if conversation.tool_choice:
            body["toolConfig"] = {"functionCallingConfig": _calling(conversation.tool_choice)}
    by_field = None if in_words else wanted
    config = _config(conversation, facts, by_field, target.model.output_tokens_max)
    if config:
        body["generationConfig"] = config
    endpoint = _endpoint(target.upstream_model, stream=conversation.stream)
    return Wording(endpoint, "{", msgspec.json.encode(body)[1:])


def _endpoint(model: UpstreamModel, *, stream: bool) -> str:
    collection = next((name for name in _COLLECTIONS if model.startswith(name)), _COLLECTIONS[0])
    name = quote(model.removeprefix(collection), safe="")
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/{collection}{name}:{method}"


def _functions(tools: Sequence[Tool]) -> list[Json]:
    return [
        _said(
            name=tool.name,
            description=tool.description,
            parametersJsonSchema=msgspec.Raw(tool.parameters.encode()) if tool.parameters else None,
        )
        for tool in tools
    ]


def _calling(choice: ToolChoice) -> Json:
    allowed = [choice.name] if choice.mode == "named" else None
    return _said(mode=_MODES[choice.mode], allowedFunctionNames=allowed)


def _config(
    asked: Conversation, facts: Facts, wanted: OutputFormat | None, output_tokens_max: int | None
) -> Json:
    """`generationConfig`. A penalty of 0 is none, and some models refuse to hear of any."""
    limits = [asked.output_tokens_max, output_tokens_max, _INT32_MAX]
    limit = min(n for n in limits if n is not None) if asked.output_tokens_max else None
    sampling = (asked.temperature, asked.top_p, asked.top_k) if facts.sampled else (None,) * 3
    return _said(
        maxOutputTokens=limit,
        temperature=sampling[0],
        topP=sampling[1],
        topK=sampling[2],
        stopSequences=[text for text in asked.stop if text][:STOP_SEQUENCES_MAX] or None,
        presencePenalty=asked.presence_penalty or None,
        frequencyPenalty=asked.frequency_penalty or None,
        seed=_seed(asked.seed),
        thinkingConfig=_thinking(asked.reasoning, facts.thinking) or None,
        **_output(wanted),
    )


def _seed(seed: int | None) -> int | None:
    """32 bits are all that the API takes; equal seeds stay equal."""
    if seed is None or -_INT32_MAX <= seed <= _INT32_MAX:
        return seed
    return seed % _INT32_MAX


def _output(wanted: OutputFormat | None) -> Json:
    if wanted is None:
        return {}
    schema = msgspec.Raw(wanted.schema.encode()) if wanted.schema else None
    return _said(responseMimeType="application/json", responseJsonSchema=schema)


def _thinking(reasoning: Reasoning | None, takes: Budget | Levels | None) -> Json:
    """`thinkingConfig`; a budget wins over an effort, being the more exact."""
    if reasoning is None or takes is None:
        return {}
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if budget is not None:
        effort = _effort(budget)
    elif effort is not None:
        budget = _BUDGETS.get(effort, 0)
    if effort not in _LEAST_LEVELS:
        return {"includeThoughts": True} if reasoning.shown else {}
    config: Json = {}
    if isinstance(takes, Levels):
        config["thinkingLevel"] = _level(effort, takes)
    else:
        config["thinkingBudget"] = _budget(budget or 0, takes)
    if effort != "none" and reasoning.shown is not False:
        config["includeThoughts"] = True
    return config


def _effort(budget: int) -> str:
    """The least effort of which `budget` is not more than Google's own."""
    if budget <= 0:
        return "none"
    efforts = ("low", "medium", "high")
    return next((effort for effort in efforts if budget <= _BUDGETS[effort]), "high")


def _level(effort: str, takes: Levels) -> str:
    """The least level of the model's that is no less than the effort."""
    wanted = LEVELS[_LEAST_LEVELS[effort] :]
    return next(level for level in takes.words if level in wanted)


def _budget(budget: int, takes: Budget) -> int:
    if budget <= 0 and takes.stops:
        return 0
    return min(max(budget, takes.least), takes.most)


def _said(**fields: object) -> Json:
    """Those of `fields` that say something."""
    return {name: value for name, value in fields.items() if value is not None}
