"""Any client at any provider: the official SDKs, a real Envoy, and providers that are strict.

A stand-in refuses what its API's documentation says it refuses, so an answer is proof that the
request was right, and the SDK that it parsed is proof that the answer was.
"""

from __future__ import annotations

import json

import pytest
from data_plane import DataPlane
from dialects import MODELS, PIXEL, SHOWS_THINKING, says
from sdk_clients import CLIENTS, PLACE, Client, Question

every_client = pytest.mark.parametrize("surface", CLIENTS)
every_model = pytest.mark.parametrize("model", MODELS)
as_json_and_stream = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture(scope="module")
def running(native_plane: DataPlane) -> DataPlane:
    return native_plane


@pytest.fixture
def sdk(plane: DataPlane, surface: str) -> Client:
    return CLIENTS[surface](plane.base_url)


@every_client
@every_model
@as_json_and_stream
def test_text(sdk: Client, model: str, stream: bool) -> None:  # noqa: FBT001
    told = sdk.ask(model, Question("Hello, who are you?"), stream=stream)
    assert told.text == says(model)
    assert told.finish == "stop"
    assert told.input_tokens > 0
    assert told.output_tokens == -(-len(says(model)) // 4)
    assert told.model == MODELS[model][1]


@every_client
@every_model
@as_json_and_stream
def test_an_answer_that_is_cut_says_so(
    sdk: Client,
    model: str,
    stream: bool,  # noqa: FBT001
) -> None:
    told = sdk.ask(model, Question("Hello", image=PIXEL, tokens_max=16), stream=stream)
    assert told.text == f"{says(model)} I see 1 image (image/png, {len(PIXEL)} bytes)."[:64]
    assert told.finish == "length"
    assert told.output_tokens == 16


@every_client
@every_model
@as_json_and_stream
def test_an_image_arrives_whole(
    sdk: Client,
    model: str,
    stream: bool,  # noqa: FBT001
) -> None:
    told = sdk.ask(model, Question("What is this?", image=PIXEL), stream=stream)
    assert told.text == f"{says(model)} I see 1 image (image/png, {len(PIXEL)} bytes)."
    assert told.finish == "stop"


@every_client
@every_model
@as_json_and_stream
def test_tools_are_called_and_their_results_told(
    plane: DataPlane,
    sdk: Client,
    model: str,
    stream: bool,  # noqa: FBT001
) -> None:
    question = Question("Call everything", tools=True)
    told = sdk.ask(model, question, stream=stream)
    assert told.finish == "tool_calls"
    assert [(call.name, call.arguments) for call in told.calls] == [
        ("weather", {"city": "sample"}),
        ("time", {"city": "sample"}),
    ]
    assert told.output_tokens > 0
    after = sdk.report(model, question, told, stream=stream)
    assert "was told: " in after.text
    assert "time says 21 degrees" in after.text
    assert after.finish == "stop"
    body = plane.seen()[-1].body.decode()
    assert "weather says 21 degrees" in body
    assert "time says 21 degrees" in body


@every_client
@every_model
@as_json_and_stream
def test_an_answer_has_the_schema_asked_for(
    sdk: Client,
    model: str,
    stream: bool,  # noqa: FBT001
) -> None:
    told = sdk.ask(model, Question("Where is the Louvre?", schema=True), stream=stream)
    place = json.loads(told.text)
    assert place.keys() == PLACE["properties"].keys()
    assert isinstance(place["population"], int)
    assert told.finish == "stop"


@every_client
@every_model
@as_json_and_stream
def test_thinking_is_asked_for_shown_and_counted(
    sdk: Client,
    model: str,
    stream: bool,  # noqa: FBT001
    surface: str,
) -> None:
    told = sdk.ask(model, Question("What is 6 times 7?", thinks=True), stream=stream)
    provider, upstream = MODELS[model]
    thought = f"I am {upstream} at {provider}, and think about what to say."
    assert told.text == says(model)
    if model in SHOWS_THINKING:
        assert told.thinking == thought
    elif surface != "responses":
        assert not told.thinking
    assert told.output_tokens == -(-len(thought) // 4) + -(-len(says(model)) // 4)


@every_client
@every_model
@as_json_and_stream
def test_a_long_prompt_arrives_whole(
    plane: DataPlane,
    sdk: Client,
    model: str,
    stream: bool,  # noqa: FBT001
) -> None:
    prompt = "It was the best of times, it was the worst of times. " * 4000
    told = sdk.ask(model, Question(prompt), stream=stream)
    assert told.text == says(model)
    assert told.input_tokens >= len(prompt) // 4
    (seen,) = plane.seen()
    assert prompt.strip() in seen.body.decode()
