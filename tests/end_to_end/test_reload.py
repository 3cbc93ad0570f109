"""The config changes while requests are served: none fails, none sees two configs."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from data_plane import CHAT, HELLO, KEYS, PROVIDERS, DataPlane, eventually
from stand_ins import StandIns

pytestmark = pytest.mark.alone

# Two attempts of half a second: after 2 s, nothing may need what an older config had.
BOUNDS = "firstByteTimeout: 0.5s\nmaxAttempts: 2\n"
GRACE_S = 2.0


def one_route(model: str, name: str = "only", fallback: str = "") -> str:
    last = f", fallback: {fallback}" if fallback else ""
    return f"routes: [{{ name: {name}, match: {{ default: true }}, model: {model}{last} }}]\n"


PLAIN = BOUNDS + one_route("claude-sonnet-4")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(PLAIN, tmp_path_factory.mktemp("reload")) as plane:
        yield plane


@pytest.fixture(autouse=True)
def plain(plane: DataPlane) -> None:
    """Each test begins with the same config."""
    if plane.config_file.read_text("utf-8") != plane.config(PLAIN):
        plane.reload(plane.config(PLAIN))


def served(client: httpx.Client) -> str:
    answer = client.post(CHAT, json=HELLO)
    assert answer.status_code == 200, answer.text
    target: str = answer.headers["x-router-target"]
    return target


# What a reload changes


def test_a_provider_that_is_added_serves_and_one_that_is_removed_does_not(
    plane: DataPlane, client: httpx.Client
) -> None:
    """Over a connection that was open before, too."""
    assert served(client) == "anthropic/claude-sonnet-4"
    plane.reload(plane.config(BOUNDS + one_route("gpt-4o")))
    assert {served(client) for _ in range(10)} == {"openai/gpt-4o"}
    assert len(plane.seen("anthropic")) == 1
    assert {seen.headers["authorization"] for seen in plane.seen("openai")} == {
        f"Bearer {KEYS['openai'][1]}"
    }
    assert {seen.headers["x-account"] for seen in plane.seen("openai")} == {"account-of-openai"}


def test_what_is_removed_leaves_envoy_when_no_request_can_need_it(
    plane: DataPlane, client: httpx.Client
) -> None:
    def names() -> set[str]:
        stats = plane.stats(r"^cluster\..*\.membership_total$")
        return {re.split(r"^cluster\.|\.membership_total$", name)[1] for name in stats}

    def keys() -> set[str]:
        return {path.name.partition("@")[0] for path in plane.directory.glob("secrets/*.json")}

    plane.reload(plane.config(BOUNDS + one_route("gpt-4o")))
    assert names() >= {"anthropic/claude-sonnet-4", "openai/gpt-4o"}
    assert keys() >= {"anthropic", "openai"}
    eventually(lambda: "anthropic/claude-sonnet-4" not in names(), "the sweep", wait_s=10)
    key = f"key_openai@{plane.host_of('openai').replace(':', '_')}"
    assert names() == {
        *("extproc", "bounce", "unrouted", "openai/gpt-4o", "guard_openai/gpt-4o"),
        *(key, f"{key}#x-account"),
    }
    eventually(lambda: keys() == {"openai"}, "the key to go", wait_s=5)
    assert served(client) == "openai/gpt-4o"


def test_a_rotated_key_is_used_by_the_next_request(plane: DataPlane, client: httpx.Client) -> None:
    served(client)
    for number in range(5):
        plane.reload(plane.config(PLAIN, keys={"anthropic": f"rotated-{number}"}))
        served(client)
        assert plane.seen("anthropic")[-1].headers["authorization"] == f"Bearer rotated-{number}"


def test_a_provider_that_moves_is_found_at_its_new_port_and_each_place_keeps_its_key(
    plane: DataPlane, client: httpx.Client
) -> None:
    served(client)
    with StandIns(PROVIDERS["anthropic"]) as elsewhere:
        url = elsewhere.base_url("anthropic")
        keys, base_urls = {"anthropic": "of-the-new-place"}, {"anthropic": url}
        plane.reload(plane.config(PLAIN, keys=keys, base_urls=base_urls))
        for _ in range(5):
            served(client)
        assert len(elsewhere.seen()) == 5
        assert {s.headers["authorization"] for s in elsewhere.seen()} == {"Bearer of-the-new-place"}
        assert {s.headers["authorization"] for s in plane.seen()} == {
            f"Bearer {KEYS['anthropic'][1]}"
        }
        plane.reload(plane.config(PLAIN))
        served(client)
    assert len(plane.seen("anthropic")) == 2


def test_an_answer_that_streams_from_a_removed_provider_ends_whole(plane: DataPlane) -> None:
    plane.fault("anthropic", chunk_delay_s=0.3)
    with plane.client() as client, client.stream("POST", CHAT, json=HELLO | {"stream": True}) as it:
        lines = it.iter_lines()
        first = next(lines)
        plane.reload(plane.config(BOUNDS + one_route("gpt-4o")))
        eventually(
            lambda: not plane.stats(r"^cluster\.anthropic/claude-sonnet-4\.membership_total$"),
            "the sweep",
            wait_s=10,
        )
        text = "\n".join([first, *lines])
    assert text.rstrip().endswith("data: [DONE]")


def test_an_answer_that_streams_while_the_listener_changes_ends_whole(plane: DataPlane) -> None:
    changed = "listener_manager.listener_modified"
    before = plane.stat(changed)
    plane.fault("anthropic", chunk_delay_s=0.2)
    with plane.client() as client, client.stream("POST", CHAT, json=HELLO | {"stream": True}) as it:
        lines = it.iter_lines()
        first = next(lines)
        plane.reload(plane.config(PLAIN + "server: { decisionTimeout: 1.5s }\n"))
        assert plane.stat(changed) == before + 1
        with plane.client() as another:
            plane.reset()
            assert served(another) == "anthropic/claude-sonnet-4"
        text = "\n".join([first, *lines])
    assert text.rstrip().endswith("data: [DONE]")


def test_limits_and_routes_reach_envoy(plane: DataPlane, client: httpx.Client) -> None:
    with StandIns("127.0.0.8") as own:
        assert client.get("/elsewhere").json()["error"]["code"] == "unknown_url"
        passthrough = f"server: {{ passthrough: '{own.root_url}' }}\nbodyBytesMax: 4KiB\n"
        plane.reload(plane.config(PLAIN + passthrough))
        assert client.get("/healthz").is_success, "the upstream's own"
        long = {"messages": [{"role": "user", "content": "long " * 2000}]}
        assert client.post(CHAT, json=long).status_code == 413
    plane.reload(plane.config(PLAIN))
    assert client.post(CHAT, json=long).status_code == 200


# How a change is noticed


def test_an_edit_in_place_is_noticed(plane: DataPlane, client: httpx.Client) -> None:
    with plane.reloading():
        plane.config_file.write_text(plane.config(BOUNDS + one_route("gpt-4o")), "utf-8")
    assert served(client) == "openai/gpt-4o"


def test_a_rename_is_noticed(plane: DataPlane, client: httpx.Client) -> None:
    began = time.monotonic()
    with plane.reloading():
        plane.write_config(plane.config(BOUNDS + one_route("gpt-4o")))
    assert time.monotonic() - began < 5.0
    assert served(client) == "openai/gpt-4o"


def test_kubernetes_swap_of_a_symlink_is_noticed(plane: DataPlane, client: httpx.Client) -> None:
    """As a ConfigMap's volume is updated: config → ..data/config, ..data → ..2026_01."""
    directory = plane.directory

    def publish(version: str, text: str) -> None:
        folder = directory / f"..{version}"
        folder.mkdir()
        (folder / "routing.yaml").write_text(text, "utf-8")
        (directory / "..data_tmp").symlink_to(folder.name)
        (directory / "..data_tmp").replace(directory / "..data")

    publish("2026_01", plane.config(PLAIN))
    plane.config_file.unlink()
    plane.config_file.symlink_to("..data/routing.yaml")
    with plane.reloading():
        publish("2026_02", plane.config(BOUNDS + one_route("gpt-4o")))
    assert served(client) == "openai/gpt-4o"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("routes: [{ match: { default: true }, model: gpt-4oo }]", "did you mean gpt-4o?"),
        ("", "config: not a mapping; write keys such as `routes:` at the top level"),
        (None, "can't be read (No such file or directory); name a YAML or JSON file"),
        ("routes: [", "write valid YAML or JSON"),
    ],
    ids=["wrong", "empty", "gone", "half"],
)
def test_a_broken_file_keeps_the_last_good_config_and_says_so_once(
    plane: DataPlane, client: httpx.Client, broken: str | None, said: str
) -> None:
    with plane.reloading():
        if broken is None:
            plane.config_file.unlink()
        else:
            plane.write_config(broken)
    assert said in plane.said("not loaded")[-1]
    lines = len(plane.said("not loaded"))
    assert served(client) == "anthropic/claude-sonnet-4"
    time.sleep(1.2)
    assert len(plane.said("not loaded")) == lines
    with plane.reloading():
        plane.write_config(plane.config(BOUNDS + one_route("gpt-4o")))
    assert served(client) == "openai/gpt-4o"


def test_a_router_that_starts_anew_brings_envoy_up_to_date(
    plane: DataPlane, client: httpx.Client
) -> None:
    plane.router.send(signal.SIGTERM)
    plane.router.wait()
    plane.write_config(plane.config(BOUNDS + one_route("gpt-4o")))
    plane.start_router()
    eventually(plane.router_is_ready, "the router")
    eventually(lambda: served(client) == "openai/gpt-4o", "an answer")


# Under load


RELOADS = 100
BROKEN_EACH = 10
WORKERS = 4
PAUSE_S = 0.005


@dataclass(frozen=True)
class Version:
    """A config that can be told from all others by its route, its targets and its models.

    Every tenth also changes the listener.
    """

    number: int

    @property
    def provider(self) -> str:
        return list(PROVIDERS)[self.number % len(PROVIDERS)]

    @property
    def fallback(self) -> str:
        return list(PROVIDERS)[(self.number + 1) % len(PROVIDERS)]

    @property
    def targets(self) -> set[str]:
        return {f"{self.provider}/first-{self.number}", f"{self.fallback}/second-{self.number}"}

    def routing(self) -> str:
        first, second = f"first-{self.number}", f"second-{self.number}"
        return (
            f"{BOUNDS}bodyBytesMax: {self.number // 10 + 8}KiB\nmodels:\n"
            f"  {first}: {{ targets: [{{ provider: {self.provider} }}], contextWindow: 9000 }}\n"
            f"  {second}: {{ targets: [{{ provider: {self.fallback} }}], contextWindow: 9000 }}\n"
            f"{one_route(first, f'v{self.number}', second)}"
        )


def test_a_hundred_reloads_under_load_fail_no_request_and_mix_no_two_configs(
    plane: DataPlane,
) -> None:
    plane.reload(plane.config(Version(0).routing()))
    plane.reset()
    logged = len(plane.router.output())

    def reload_often() -> None:
        for number in range(1, RELOADS + 1):
            if number % BROKEN_EACH == 0:
                with plane.reloading(at_once=True):
                    plane.write_config(f"routes: [{number}]")
            else:
                plane.reload(plane.config(Version(number).routing()))

    answers = plane.under_load(reload_often, clients=WORKERS, pause_s=PAUSE_S)
    assert {answer.status_code for answer in answers} == {200}
    assert len(answers) > 2 * RELOADS
    for answer in answers:
        version = Version(int(answer.headers["x-router-route"].removeprefix("v")))
        assert answer.headers["x-router-target"] == f"{version.provider}/first-{version.number}"
        assert answer.headers["x-router-attempts"] == "1"
    assert_each_its_key(plane)

    decided = {answer.headers["x-router-decision"] for answer in answers}

    def records() -> list[dict[str, Any]]:
        """Of these requests: that of an earlier test's last one may come late."""
        return [one for one in records_in(plane.router.output()[logged:]) if one["id"] in decided]

    eventually(lambda: len(records()) >= len(answers), "a record for each request")
    assert len(records()) == len(answers)
    assert_one_config_each(records())


def assert_each_its_key(plane: DataPlane) -> None:
    for provider in PROVIDERS:
        for seen in plane.seen(provider):
            given = seen.headers.get("authorization", "") + seen.headers.get("api-key", "")
            assert given.removeprefix("Bearer ") == KEYS[provider][1]


def assert_one_config_each(records: list[dict[str, Any]]) -> None:
    digests: dict[str, str] = {}
    for record in records:
        number = int(record["route"].removeprefix("v"))
        assert {each["target"] for each in record["chain"]} == Version(number).targets
        assert digests.setdefault(record["route"], record["config"]) == record["config"]
    assert len(set(digests.values())) == len(digests) > RELOADS // 2


def records_in(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith('{"id"')]
