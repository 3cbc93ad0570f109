"""OpenAI's own SDK, unchanged but for `base_url`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import openai
import pydantic
import pytest
from data_plane import DataPlane

ROUTING = """
healthCheck: { enabled: false }
routes:
  - match: { taskType: summarization }
    model: claude-haiku-3
    fallback: gemini-flash-2.0
  - match: { default: true }
    model: claude-sonnet-4
    fallback: gpt-4o
"""

T = TypeVar("T")

HELLO: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
SONNET_SAYS = "This is claude-sonnet-4-20250514 at anthropic, standing in."
GPT_4O_SAYS = "This is gpt-4o at openai, standing in."
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Place(pydantic.BaseModel):
    city: str
    population: int


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(ROUTING, tmp_path_factory.mktemp("sdk")) as plane:
        yield plane


@pytest.fixture
def sdk(plane: DataPlane) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=plane.base_url + "/v1", api_key="anything") as client:
        yield client


def asked_async(plane: DataPlane, ask: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
    async def run() -> T:
        base_url = plane.base_url + "/v1"
        async with openai.AsyncOpenAI(base_url=base_url, api_key="anything") as client:
            return await ask(client)

    return asyncio.run(run())


def test_a_completion(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="auto", messages=HELLO)
    assert answer.choices[0].message.content == SONNET_SAYS
    assert answer.usage
    assert answer.usage.total_tokens > 0


def test_a_completion_async(plane: DataPlane) -> None:
    answer = asked_async(
        plane, lambda sdk: sdk.chat.completions.create(model="auto", messages=HELLO)
    )
    assert answer.choices[0].message.content == SONNET_SAYS


def test_a_stream(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.create(
        model="auto", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, usage = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SONNET_SAYS
    assert usage.usage
    assert usage.usage.total_tokens > 0


def test_a_stream_async(plane: DataPlane) -> None:
    async def ask(sdk: openai.AsyncOpenAI) -> str:
        text = ""
        async with sdk.chat.completions.stream(model="auto", messages=HELLO) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    text += event.delta
        return text

    assert asked_async(plane, ask) == SONNET_SAYS


def test_a_fallback_is_not_noticed(plane: DataPlane, sdk: openai.OpenAI) -> None:
    plane.fault("anthropic", status=503)
    answer = sdk.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    assert answer.parse().choices[0].message.content == GPT_4O_SAYS
    assert answer.headers["x-router-model"] == "gpt-4o"
    assert len(plane.seen()) == 2


def test_a_requested_model_and_a_task(sdk: openai.OpenAI) -> None:
    named = sdk.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert named.choices[0].message.content == GPT_4O_SAYS
    headers = {"x-router-task": "summarization"}
    summary = sdk.chat.completions.create(model="auto", messages=HELLO, extra_headers=headers)
    assert summary.model == "claude-3-haiku-20240307"
    metadata = {"task_type": "summarization"}
    summary = sdk.chat.completions.create(model="auto", messages=HELLO, metadata=metadata)
    assert summary.model == "claude-3-haiku-20240307"


@pytest.mark.parametrize("failing", [False, True], ids=["well", "first one down"])
def test_a_tool_is_called_and_its_result_told(
    plane: DataPlane, sdk: openai.OpenAI, *, failing: bool
) -> None:
    if failing:
        plane.fault("anthropic", status=529)
    first = sdk.chat.completions.create(
        model="auto", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls
    (call,) = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments).keys() == {"city"}
    said: Any = message.model_dump(exclude_none=True)
    told: Any = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
    second = sdk.chat.completions.create(
        model="auto",
        messages=[*HELLO, said, told],
        tools=[WEATHER],
    )
    assert (second.choices[0].message.content or "").endswith("was told: Rain.")
    assert second.choices[0].finish_reason == "stop"


def test_a_streamed_tool_call_async(plane: DataPlane) -> None:
    async def ask(sdk: openai.AsyncOpenAI) -> str:
        async with sdk.chat.completions.stream(
            model="auto", messages=HELLO, tools=[WEATHER], tool_choice="required"
        ) as stream:
            completion = await stream.get_final_completion()
        calls = completion.choices[0].message.tool_calls
        assert calls
        (call,) = calls
        return call.function.arguments

    assert json.loads(asked_async(plane, ask)).keys() == {"city"}


def test_a_schema_is_met_by_a_model_that_can(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.parse(model="auto", messages=HELLO, response_format=Place)
    assert answer.model == "gpt-4o"  # claude-sonnet-4 has no structured output
    assert isinstance(answer.choices[0].message.parsed, Place)


def test_the_models_are_listed(sdk: openai.OpenAI) -> None:
    listed = {model.id: model.owned_by for model in sdk.models.list()}
    assert listed == {
        "auto": "router",
        "claude-haiku-3": "anthropic",
        "gemini-flash-2.0": "google",
        "claude-sonnet-4": "anthropic",
        "gpt-4o": "openai",
    }
    assert sdk.models.retrieve("gpt-4o").id == "gpt-4o"


def test_the_models_are_listed_async(plane: DataPlane) -> None:
    async def ask(sdk: openai.AsyncOpenAI) -> set[str]:
        return {model.id async for model in sdk.models.list()}

    assert "gpt-4o" in asked_async(plane, ask)


@pytest.mark.parametrize(
    ("request_fields", "error", "code"),
    [
        ({"messages": []}, openai.BadRequestError, "invalid_value"),
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"modalities": ["audio"]}, openai.UnprocessableEntityError, "no_eligible_target"),
    ],
)
def test_a_refusal_is_the_exception_that_openai_would_raise(
    plane: DataPlane,
    sdk: openai.OpenAI,
    request_fields: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    fields: dict[str, Any] = {"model": "auto", "messages": HELLO} | request_fields
    with pytest.raises(error) as raised:
        sdk.chat.completions.create(**fields)
    assert raised.value.code == code
    assert raised.value.type == "invalid_request_error"
    with pytest.raises(error):
        asked_async(plane, lambda sdk: sdk.chat.completions.create(**fields))
    assert not plane.seen()


def test_a_model_that_is_not_there_is_not_found(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        sdk.models.retrieve("gpt-9")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_an_error_of_all_providers_is_raised_as_it_is(
    plane: DataPlane,
    sdk: openai.OpenAI,
    status: int,
    error: type[openai.APIStatusError],
    *,
    stream: bool,
) -> None:
    for provider in plane.providers:
        plane.fault(provider, status=status)
    with pytest.raises(error) as raised:
        sdk.with_options(max_retries=0).chat.completions.create(
            model="auto", messages=HELLO, stream=stream
        )
    assert raised.value.status_code == status
