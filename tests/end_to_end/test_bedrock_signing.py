"""Bedrock with AWS's own keys: what arrives is signed, and a signature goes nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import httpx
import pytest
from data_plane import CHAT, HELLO, KEYS, DataPlane, eventually
from signatures import SCHEME, is_signed_with, parts_of

from extproc.stand_in import Seen

ID: Final = "AKIDOFTHEFIRSTKEY"
SECRET: Final = "c2VjcmV0/of+the/first/key"
TOKEN: Final = "dG9rZW4/of+the/first/session=="
KEY: Final = f"{ID}:{SECRET}"

# Three attempts of half a second each: after 2.5 s nothing may need what an older config had.
ROUTING: Final = """
healthCheck: { enabled: false }
firstByteTimeout: 0.5s
models:
  claude:
    targets: [{ provider: bedrock, upstreamModel: 'anthropic.claude-v1:0' }]
    contextWindow: 9000000
  nova: { targets: [{ provider: bedrock, upstreamModel: amazon.nova }], contextWindow: 9000000 }
  gpt: { targets: [{ provider: openai, upstreamModel: gpt-4o }], contextWindow: 9000000 }
  sonnet: { targets: [{ provider: anthropic }], contextWindow: 9000000, maxOutputTokens: 64000 }
routes:
  - match: { headers: { x-first: bedrock } }
    candidates: [claude, gpt, nova]
  - match: { headers: { x-first: openai } }
    candidates: [gpt, claude, sonnet]
  - match: { default: true }
    model: claude
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    directory = tmp_path_factory.mktemp("signing")
    with DataPlane(ROUTING, directory, native=True, keys={"bedrock": KEY}) as plane:
        yield plane


def served(client: httpx.Client, first: str = "", body: Mapping[str, object] = HELLO) -> str:
    answer = client.post(CHAT, json=body, headers={"x-first": first})
    assert answer.status_code == 200, answer.text
    target: str = answer.headers["x-router-target"]
    return target


def assert_signed(seen: Seen, secret: str = SECRET, *, token: str | None = None) -> None:
    """With this key, and nothing else of a key or of Envoy's own is there."""
    (authorization,) = seen.headers.getall("authorization")
    assert authorization.startswith(SCHEME)
    headers = {name.lower(): value for name, value in seen.headers.items()}
    assert is_signed_with(secret, seen.path, headers, seen.body)
    assert headers.get("x-amz-security-token") == token
    assert not headers.keys() & {"x-api-key", "api-key", "x-goog-api-key"}
    assert_nothing_internal(seen)


def assert_nothing_internal(seen: Seen) -> None:
    names = {name.lower() for name in seen.headers}
    assert not [name for name in names if name.startswith(("x-llm-", "x-router-"))]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_arrives_is_signed(
    plane: DataPlane,
    client: httpx.Client,
    stream: bool,  # noqa: FBT001
) -> None:
    assert served(client, body=HELLO | {"stream": stream}) == "bedrock/claude"
    (seen,) = plane.seen()
    assert_signed(seen)
    assert seen.host == plane.host_of("bedrock")
    assert "anthropic.claude-v1%3A0" in seen.path
    told = parts_of(seen.headers["authorization"])
    assert told["Credential"].startswith(f"{ID}/")
    assert told["Credential"].endswith("/us-east-1/bedrock/aws4_request")
    assert seen.headers["x-account"] == "account-of-bedrock"


def test_a_long_body_is_signed_whole(plane: DataPlane, client: httpx.Client) -> None:
    long = [{"role": "user", "content": "It was the best of times. " * 200_000}]
    served(client, body={"messages": long})
    (seen,) = plane.seen()
    assert len(seen.body) > 5_000_000
    assert_signed(seen)


def test_what_a_client_says_of_signatures_is_not_passed_on(
    plane: DataPlane, client: httpx.Client
) -> None:
    names = ("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256")
    for first in ("", "openai"):
        answer = client.post(
            CHAT, json=HELLO, headers=dict.fromkeys(names, "mine") | {"x-first": first}
        )
        assert answer.status_code == 200, answer.text
    signed, born = plane.seen("bedrock", "openai")
    assert_signed(signed)
    assert not [name for name in born.headers if name.lower().startswith("x-amz-")]
    assert "mine" not in [*signed.headers.values(), *born.headers.values()]


def test_from_a_signature_to_a_bearer_key_and_back_each_gets_only_its_own(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("bedrock", status=503, times=1)
    plane.fault("openai", status=503)
    assert served(client, "bedrock") == "bedrock/nova"
    first, last = plane.seen("bedrock")
    assert_signed(first)
    assert_signed(last)
    assert "nova" in last.path
    (between,) = plane.seen("openai")
    assert between.headers.getall("authorization") == [f"Bearer {KEYS['openai'][1]}"]
    assert not [name for name in between.headers if name.lower().startswith("x-amz-")]
    assert between.headers["x-account"] == "account-of-openai"
    assert_nothing_internal(between)


def test_after_a_bearer_key_a_signature_and_then_a_key_in_a_header_of_its_own(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.fault("openai", status=503)
    plane.fault("bedrock", status=503)
    assert served(client, "openai") == "anthropic/sonnet"
    (second,), (third,) = plane.seen("bedrock"), plane.seen("anthropic")
    assert_signed(second)
    assert third.headers["x-api-key"] == KEYS["anthropic"][1]
    names = {name.lower() for name in third.headers}
    assert "authorization" not in names
    assert not [name for name in names if name.startswith("x-amz-")]
    assert_nothing_internal(third)


def test_a_rotated_key_signs_the_next_request(plane: DataPlane, client: httpx.Client) -> None:
    for number in range(5):
        secret, token = f"rotated/{number}", f"session/{number}"
        plane.reload(plane.config(ROUTING, keys={"bedrock": f"{ID}:{secret}:{token}"}))
        served(client)
        assert_signed(plane.seen()[-1], secret, token=token)
    plane.reload(plane.config(ROUTING))
    served(client)
    assert_signed(plane.seen()[-1])


def test_a_provider_that_no_longer_signs_bears_its_key_and_the_file_of_the_other_goes(
    plane: DataPlane, client: httpx.Client
) -> None:
    def files() -> set[str]:
        found = plane.directory.glob("secrets/bedrock@*")
        return {path.suffix for path in found if "#" not in path.name}  # no header of its own

    assert files() == {".aws"}
    plane.reload(plane.config(ROUTING, keys={"bedrock": "key-of-bedrock"}))
    served(client)
    (seen,) = plane.seen()
    assert seen.headers.getall("authorization") == ["Bearer key-of-bedrock"]
    assert not [name for name in seen.headers if name.lower().startswith("x-amz-")]
    eventually(lambda: files() == {".json"}, "the sweep", wait_s=10)
    plane.reload(plane.config(ROUTING))
    served(client)
    assert_signed(plane.seen()[-1])
    eventually(lambda: files() == {".aws"}, "the sweep", wait_s=10)
    served(client)
    assert_signed(plane.seen()[-1])


def test_no_file_but_its_own_holds_a_key_to_sign_with(plane: DataPlane) -> None:
    holding = [
        path
        for path in plane.directory.rglob("*")
        if path.is_file() and path != plane.config_file and SECRET in path.read_text("utf-8")
    ]
    assert [path.suffix for path in holding] == [".aws"]
