"""OpenAI chat completions: a conversation as the request that a provider of this API takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from extproc.dialects.conversation import (
    Conversation,
    Demand,
    OutputFormat,
    Reasoning,
    Tool,
    ToolChoice,
    Wording,
)
from extproc.dialects.openai_chat.message_writer import write_messages
from extproc.dialects.openai_chat.models import Ways, nearest_effort, ways_of
from extproc.dialects.payload import endpoint_of, model_prefix
from extproc.dialects.tool_names import refuse_long_names
from extproc.feature import Feature
from extproc.text.tokens import Family
from extproc.vocabulary import ChatForm, Model, Surface, Target

LACKS: Final = frozenset(
    {
        Demand.STORED_STATE,
        Demand.STORED_FILES,
        Demand.BOUND_THINKING,
        Demand.ENCRYPTED_REASONING,
        Demand.HOSTED_TOOLS,
        Demand.CUSTOM_TOOLS,
        Demand.LINKED_DOCUMENTS,
        Demand.BACKGROUND,
        Demand.COUNT,
        Demand.EMBEDDINGS,
        Demand.UNKNOWN_PARTS,
        # OpenAI's own has these, but no conversation or answer of another dialect carries them.
        Demand.SEVERAL_ANSWERS,
        Demand.LOGPROBS,
        Demand.AUDIO_OUTPUT,
    }
)
"""What a request of another dialect can want that this API can't be asked for."""

MEDIUM_BUDGET_TOKENS: Final = 8_192
HIGH_BUDGET_TOKENS: Final = 24_576
"""From where a budget is a `medium` or a `high` effort. Google equates them with these:
https://ai.google.dev/gemini-api/docs/openai#thinking."""

_ANSWER: Final = "answer"

_Json = Mapping[str, object]


def write_request(conversation: Conversation, target: Target) -> Wording:
    """The body for `target`; nothing of `conversation` that its API has a place for is lost.

    Raises `NotTakenError`.
    """
    signed = target.model.family == Family.GEMINI  # OpenAI refuses fields that it does not know
    form, ways = target.provider.chat_form, ways_of(target)
    refuse_long_names(conversation.tools, form.tool_name_chars_max, target.provider.api)
    effort = _effort(conversation, target.model, ways)
    body = {
        "messages": write_messages(conversation, form, signed=signed),
        **_streaming(conversation, form),
        **_tools(conversation),
        "response_format": _response_format(conversation.output_format),
        form.output_limit_field: _limit(conversation, target.model),
        "reasoning_effort": effort,
        "stop": (list(conversation.stop[: form.stops_max]) or None) if ways.stops else None,
        **_sampling(conversation, effort, ways),
        form.seed_field: conversation.seed,
        "user": conversation.user if form.takes_user else None,
    }
    rest = msgspec.json.encode(_said(body))[1:]
    endpoint = endpoint_of(target, Surface.CHAT)
    return Wording(endpoint, model_prefix(target.upstream_model), rest)


def _said(fields: _Json) -> _Json:
    """Those that are set: a server may refuse a null."""
    return {name: value for name, value in fields.items() if value is not None}


def _streaming(conversation: Conversation, form: ChatForm) -> _Json:
    """Usage is wanted whether or not the client asked for it."""
    if not conversation.stream:
        return {}
    options = {"stream_options": {"include_usage": True}} if form.takes_stream_options else {}
    return {"stream": True} | options


def _tools(conversation: Conversation) -> _Json:
    """OpenAI refuses both a choice among no tools and an empty list of them."""
    if not conversation.tools:
        return {}
    return {
        "tools": [_tool(tool) for tool in conversation.tools],
        "tool_choice": _choice(conversation.tool_choice),
        "parallel_tool_calls": conversation.parallel_calls,
    }


def _tool(tool: Tool) -> _Json:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": _json(tool.parameters),
        "strict": tool.strict,
    }
    return {"type": "function", "function": _said(function)}


def _choice(choice: ToolChoice | None) -> str | _Json | None:
    if choice is None:
        return None
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice.mode == "any" else choice.mode


def _response_format(wanted: OutputFormat | None) -> _Json | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    schema = {
        "name": wanted.name or _ANSWER,  # required
        "description": wanted.description,
        "schema": _json(wanted.schema),
        "strict": wanted.strict,
    }
    return {"type": "json_schema", "json_schema": _said(schema)}


def _limit(conversation: Conversation, model: Model) -> int | None:
    """What the client allows, at most what the model can: more would be refused."""
    allowed, most = conversation.output_tokens_max, model.output_tokens_max
    return allowed if allowed is None or most is None else min(allowed, most)


def _effort(conversation: Conversation, model: Model, ways: Ways) -> str | None:
    """None for a model that is known not to reason: it would refuse the field."""
    if model.capabilities.get(Feature.REASONING) is False:
        return None
    if conversation.tools and ways.tires_of_tools:
        return None if ways.rests else "none"
    wanted = _wanted_effort(conversation.reasoning)
    return None if wanted is None else nearest_effort(wanted, ways)


def _sampling(conversation: Conversation, effort: str | None, ways: Ways) -> _Json:
    rests = effort == "none" or (effort is None and ways.rests)
    if not (ways.sampled or rests):
        return {}
    names = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    return {name: getattr(conversation, name) for name in names}


def _wanted_effort(reasoning: Reasoning | None) -> str | None:
    if reasoning is None:
        return None
    budget_tokens = reasoning.budget_tokens
    if reasoning.effort is not None or budget_tokens is None:
        return reasoning.effort
    if budget_tokens < 0:
        return None  # Gemini's word for: as the model sees fit
    if budget_tokens == 0:
        return "none"
    if budget_tokens < MEDIUM_BUDGET_TOKENS:
        return "low"
    return "medium" if budget_tokens < HIGH_BUDGET_TOKENS else "high"


def _json(text: str | None) -> Raw | None:
    return None if text is None else Raw(text.encode())
