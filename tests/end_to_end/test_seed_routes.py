"""The seed's config, as it reads: which model a request reaches, and that nothing else changes."""

from __future__ import annotations

import json

import httpx
import pytest
from data_plane import CHAT, HELLO, DataPlane

# Far from the thousand tokens between the routes: they are estimated, not counted.
LONG = "word " * 2000
SHORT = "word " * 200

OPUS = ("claude-opus-4", "anthropic", "claude-opus-4-20250514")
SONNET = ("claude-sonnet-4", "anthropic", "claude-sonnet-4-20250514")
HAIKU = ("claude-haiku-3", "anthropic", "claude-3-haiku-20240307")
GPT_4O = ("gpt-4o", "openai", "gpt-4o")
GPT_4O_MINI = ("gpt-4o-mini", "openai", "gpt-4o-mini")
GEMINI_FLASH = ("gemini-flash-2.0", "google", "gemini-2.0-flash")

ULID_CHARS = 26


def assert_served_by(
    plane: DataPlane, answer: httpx.Response, route: str, served: tuple[str, str, str]
) -> None:
    """Client, provider and response headers agree on who served, at the first attempt."""
    model, provider, upstream_model = served
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == upstream_model
    assert answer.headers["x-router-route"] == route
    assert answer.headers["x-router-model"] == model
    assert answer.headers["x-router-target"] == f"{provider}/{model}"
    assert answer.headers["x-router-attempts"] == "1"
    assert len(answer.headers["x-router-decision"]) == ULID_CHARS
    (seen,) = plane.seen()
    assert (seen.provider, seen.host) == (provider, plane.host_of(provider))
    assert json.loads(seen.body)["model"] == upstream_model


@pytest.mark.parametrize(
    ("task", "prompt", "route", "served"),
    [
        ("code-generation", LONG, "route-1", OPUS),
        ("code-generation", SHORT, "route-2", SONNET),
        ("summarization", SHORT, "route-3", HAIKU),
        ("summarization", LONG, "route-3", HAIKU),
        ("translation", LONG, "default", SONNET),
        (None, SHORT, "default", SONNET),
    ],
)
def test_task_and_length_of_the_prompt_choose_the_model(
    plane: DataPlane,
    client: httpx.Client,
    *,
    task: str | None,
    prompt: str,
    route: str,
    served: tuple[str, str, str],
) -> None:
    headers = {"x-router-task": task} if task else {}
    body = {"messages": [{"role": "user", "content": prompt}]}
    answer = client.post(CHAT, json=body, headers=headers)
    assert_served_by(plane, answer, route, served)


def test_the_task_may_stand_in_the_payloads_metadata(
    plane: DataPlane, client: httpx.Client
) -> None:
    answer = client.post(CHAT, json=HELLO | {"metadata": {"task_type": "summarization"}})
    assert_served_by(plane, answer, "route-3", HAIKU)


def test_the_header_names_the_task_before_the_metadata_does(
    plane: DataPlane, client: httpx.Client
) -> None:
    answer = client.post(
        CHAT,
        json=HELLO | {"metadata": {"task_type": "summarization"}},
        headers={"x-router-task": "code-generation"},
    )
    assert_served_by(plane, answer, "route-2", SONNET)


@pytest.mark.parametrize(
    ("requested", "served"),
    [
        ("auto", SONNET),
        ("gpt-4o-mini", GPT_4O_MINI),
        ("gemini-flash-2.0", GEMINI_FLASH),
        ("gemini-2.0-flash", GEMINI_FLASH),
        ("claude-opus-4-20250514", OPUS),
    ],
)
def test_a_model_that_the_client_names_is_used(
    plane: DataPlane, client: httpx.Client, requested: str, served: tuple[str, str, str]
) -> None:
    answer = client.post(CHAT, json=HELLO | {"model": requested})
    assert_served_by(plane, answer, "default", served)


def test_every_model_can_be_named_whatever_the_task(plane: DataPlane, client: httpx.Client) -> None:
    models = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert len(models) == 7
    for task in ("code-generation", "summarization", "translation"):
        for model in models[1:]:
            body = HELLO | {"model": model}
            answer = client.post(CHAT, json=body, headers={"x-router-task": task})
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-router-model"] == model


@pytest.mark.parametrize(
    ("needs", "served"),
    [
        ({"response_format": {"type": "json_object"}}, GPT_4O),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, SONNET),
    ],
)
def test_a_model_that_lacks_what_is_needed_is_passed_over(
    plane: DataPlane, client: httpx.Client, needs: dict[str, object], served: tuple[str, str, str]
) -> None:
    assert_served_by(plane, client.post(CHAT, json=HELLO | needs), "default", served)


def test_the_path_may_have_a_prefix_and_a_query(plane: DataPlane, client: httpx.Client) -> None:
    answer = client.post("/team-a" + CHAT + "?api-version=1", json=HELLO)
    assert_served_by(plane, answer, "default", SONNET)
    (seen,) = plane.seen()
    assert seen.path == "/anthropic" + CHAT


MESSAGES = r'"messages":[{"role":"user","content":"Hi"}]'


@pytest.mark.parametrize(
    "body",
    [
        r'{"messages":[{"role":"user","content":"\u00e9 \ud83d\ude00 \/ \t é 😀 \u2028"}]}',
        r'{"messages":[{"role":"user","content":"<>&"}],"us\u0065r":"caf\u00e9"}',
        '\r\n\t { "messages" :\n[ {"role"\t:"user" , "content":"Hi"} ] ,"n"\r:1\n}\t\n',
        r'{"seed":123456789012345678901234567890,"temperature":1.0e-7,' + MESSAGES + "}",
        r'{"top_p":0.10000000000000000555,"x":[1E+2,-0.0,1.50,1e400],' + MESSAGES + "}",
        r'{"x":{"a":1,"a":2,"model":"m","model":7},' + MESSAGES + "}",
        r'{"unheard_of":null,"":"","x-y.z":{"deep":[[[{}]]]},"store":false,' + MESSAGES + "}",
        r'{"model":"auto",' + MESSAGES + "}",
        "{" + MESSAGES + r',"model":"auto"}',
        '{ "user":"u" ,\n "model" : "auto" ,\n ' + MESSAGES + ' , "n":1 }',
        '{ "user":"u" ,\n ' + MESSAGES + ' ,\n "model" : null }',
        r'{"mod\u0065l":"auto",' + MESSAGES + "}",
    ],
)
def test_every_other_field_arrives_byte_for_byte(
    plane: DataPlane, client: httpx.Client, body: str
) -> None:
    assert client.post(CHAT, content=body.encode()).status_code == 200
    (seen,) = plane.seen()
    arrived = fields(seen.body.decode())
    models = [value for name, value in arrived if json.loads(name) == "model"]
    assert models == ['"claude-sonnet-4-20250514"']
    assert without_model(arrived) == without_model(fields(body))


def fields(body: str) -> list[tuple[str, str]]:
    """Names and values of an object's fields as they are written, in order."""
    decode = json.JSONDecoder().raw_decode
    found = []
    position = body.index("{") + 1
    separator = ","
    while separator == ",":
        start = skip_space(body, position)
        _, end = decode(body, start)
        value_start = skip_space(body, skip_space(body, end) + 1)
        _, value_end = decode(body, value_start)
        found.append((body[start:end], body[value_start:value_end]))
        separator_at = skip_space(body, value_end)
        separator, position = body[separator_at], separator_at + 1
    assert separator == "}"
    assert not body[position:].strip()
    return found


def skip_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position


def without_model(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in found if json.loads(name) != "model"]
