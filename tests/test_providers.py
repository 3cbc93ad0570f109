"""What a provider is: where, how it takes its key, and which APIs of clients it speaks itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from configs import CATCH_ALL, snapshot_of

from extproc.config.presets import APIS, AZURE_VERSION, PRESETS
from extproc.vocabulary import Api, ChatForm, Provider, ProviderName, Surface

CHAT = {Surface.CHAT: "/chat/completions", Surface.EMBEDDINGS: "/embeddings"}
RESPONSES = {Surface.RESPONSES: "/responses"}
MESSAGES = {Surface.MESSAGES: "/messages", Surface.COUNT_TOKENS: "/messages/count_tokens"}


def deployed(version: str) -> dict[Surface, str]:
    return {
        surface: f"/openai/deployments/{{model}}{end}?api-version={version}"
        for surface, end in CHAT.items()
    }


def provider(**fields: str) -> Provider:
    """The provider that a config declares with these fields."""
    written = ", ".join(f"{name}: {value}" for name, value in fields.items())
    text = f"providers: {{mine: {{{written}}}}}\n"
    text += "models: {m: {targets: [{provider: mine}], contextWindow: 9}}" + CATCH_ALL
    return snapshot_of(text).providers[ProviderName("mine")]


ON_A_URL = "http://p.test"


# By API


@pytest.mark.parametrize(
    ("api", "header", "prefix", "headers", "endpoints"),
    [
        ("openai", "authorization", "Bearer ", {}, CHAT),
        ("azure", "api-key", "", {}, deployed(AZURE_VERSION)),
        ("anthropic", "x-api-key", "", {"anthropic-version": "2023-06-01"}, MESSAGES),
        ("gemini", "x-goog-api-key", "", {}, {}),
        ("bedrock", "authorization", "Bearer ", {}, {}),
    ],
)
def test_an_api_says_how_a_key_is_taken_and_what_is_spoken(
    api: str, header: str, prefix: str, headers: dict[str, str], endpoints: Mapping[Surface, str]
) -> None:
    found = provider(api=api, baseUrl=ON_A_URL, apiKey="k")
    assert found.api is Api(api)
    assert (found.credential_header, found.credential_prefix) == (header, prefix)
    assert (found.headers, found.api_headers) == ((), headers)
    assert found.endpoints == endpoints


def test_every_api_is_in_the_table_above() -> None:
    assert APIS.keys() == {*Api} == {"openai", "azure", "anthropic", "gemini", "bedrock"}


@pytest.mark.parametrize(
    ("api", "url", "base_path"),
    [
        ("anthropic", "http://p.test", "/v1"),
        ("anthropic", "http://p.test/", "/v1"),
        ("anthropic", "http://p.test/v1", "/v1"),
        ("anthropic", "http://p.test/v1/", "/v1"),
        ("anthropic", "http://p.test/team", "/team/v1"),
        ("anthropic", "http://p.test/team/v2", "/team/v2"),
        ("anthropic", "http://p.test/v1/team", "/v1/team/v1"),
        ("gemini", "http://p.test", "/v1beta"),
        ("gemini", "http://p.test/v1beta", "/v1beta"),
        ("gemini", "http://p.test/v1", "/v1"),
        ("gemini", "http://p.test/v1alpha2", "/v1alpha2"),
        ("openai", "http://p.test", ""),
        ("openai", "http://p.test/api/v1", "/api/v1"),
        ("azure", "http://p.test", ""),
        ("bedrock", "http://p.test", ""),
    ],
)
def test_a_version_is_added_to_a_base_url_that_lacks_one_where_the_api_has_one(
    api: str, url: str, base_path: str
) -> None:
    assert provider(api=api, baseUrl=url).base_path == base_path


def test_a_configs_own_headers_stand_beside_the_apis() -> None:
    """Which outranks which is for Envoy's filters to say: the config's come after the rewrite."""
    found = provider(
        api="anthropic", baseUrl=ON_A_URL, headers='{Anthropic-Version: "2024-01-01", x-a: b}'
    )
    assert found.headers == ("anthropic-version", "x-a")
    assert found.api_headers == {"anthropic-version": "2023-06-01"}


# By preset


APIS_OF_PRESETS = {
    "anthropic": Api.ANTHROPIC,
    "google": Api.GEMINI,
    "azure": Api.AZURE,
    "bedrock": Api.BEDROCK,
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_speaks_openais_api_unless_its_provider_has_one_of_its_own(preset: str) -> None:
    found = provider(preset=preset, baseUrl=ON_A_URL)
    assert found.api is APIS_OF_PRESETS.get(preset, Api.OPENAI)
    if found.api is Api.OPENAI:
        assert found.endpoints.keys() >= CHAT.keys()


@pytest.mark.parametrize("preset", PRESETS)
def test_only_openais_own_has_responses(preset: str) -> None:
    found = provider(preset=preset, baseUrl=ON_A_URL)
    assert (Surface.RESPONSES in found.endpoints) == (preset == "openai")


def test_what_no_preset_stands_behind_has_no_responses() -> None:
    assert provider(baseUrl=ON_A_URL).endpoints == CHAT
    assert provider(api="openai", baseUrl=ON_A_URL).endpoints == CHAT
    assert provider(preset="openai", baseUrl=ON_A_URL).endpoints == CHAT | RESPONSES


def test_a_file_may_say_that_a_preset_speaks_another_api() -> None:
    found = provider(preset="openrouter", api="anthropic", baseUrl=ON_A_URL, apiKey="k")
    assert found.api is Api.ANTHROPIC
    assert found.endpoints == MESSAGES
    assert (found.credential_header, found.base_path) == ("x-api-key", "/v1")
    assert provider(preset="openai", api="gemini", baseUrl=ON_A_URL).endpoints == {}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_limit_of_an_answer_is_called_as_its_provider_wants_it(preset: str) -> None:
    new = {"openai", "azure", "groq", "vllm"}
    wanted = "max_completion_tokens" if preset in new else "max_tokens"
    assert provider(preset=preset, baseUrl=ON_A_URL).chat_form.output_limit_field == wanted
    assert provider(baseUrl=ON_A_URL).chat_form == ChatForm()


def test_only_mistral_wants_more_than_another_name_for_the_limit_and_limits() -> None:
    usual: dict[str, Any] = {
        "output_limit_field": "max_tokens",
        "stops_max": None,
        "tool_name_chars_max": None,
    }
    differ = {
        name for name, preset in PRESETS.items() if replace(preset.chat_form, **usual) != ChatForm()
    }
    assert differ == {"mistral"}


@pytest.mark.parametrize("preset", PRESETS)
def test_openai_azure_and_groq_take_four_stop_sequences(preset: str) -> None:
    wanted = 4 if preset in {"openai", "azure", "groq"} else None
    assert provider(preset=preset, baseUrl=ON_A_URL).chat_form.stops_max == wanted


# Azure


@pytest.mark.parametrize(
    ("version", "written"),
    [
        (None, AZURE_VERSION),
        ("2024-06-01-preview", "2024-06-01-preview"),
        ("'a b&c=1'", "a%20b%26c%3D1"),
    ],
)
def test_azures_version_stands_in_the_query(version: str | None, written: str) -> None:
    fields = {} if version is None else {"apiVersion": version}
    found = provider(api="azure", baseUrl=ON_A_URL, **fields)
    assert found.endpoints == deployed(written)


@pytest.mark.parametrize("base", ["/openai/v1", "/openai/v1/", "/gateway/v1"])
def test_azures_newer_api_is_as_openais_own_without_deployment_or_version(base: str) -> None:
    found = provider(api="azure", baseUrl=ON_A_URL + base, apiVersion="x", apiKey="k")
    assert found.endpoints == CHAT | RESPONSES
    assert (found.credential_header, found.base_path) == ("api-key", base.rstrip("/"))
