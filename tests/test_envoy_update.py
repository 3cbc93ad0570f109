"""Bringing a config to Envoy: in which order, what stays for how long, and back if it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from configs import KEYS, compiled

from extproc.config import Compiled
from extproc.envoy_config import Deployment, TcpAddress, write
from extproc.envoy_config.files import read_resources, secret_files, secrets_of
from extproc.envoy_config.transition import joined, with_additions
from extproc.envoy_config.xds import FILES, Resources, resources
from extproc.servers import envoy_update
from extproc.servers.envoy_admin import Progress, progress_of
from extproc.servers.envoy_update import EnvoyUpdate, Needs
from extproc.servers.reload import ReloadError
from extproc.snapshot import Passthrough

PLACE = Deployment(
    listen=TcpAddress("127.0.0.1", 1),
    admin=TcpAddress("127.0.0.1", 2),
    routers=(TcpAddress("127.0.0.1", 3),),
    secrets_dir="/run/secrets",
    ca_file="/run/roots.pem",
)


def config(model: str = "gpt-4o", more: str = "") -> Compiled:
    return compiled(f"routes: [{{match: {{default: true}}, model: {model}}}]\n{more}")


def moved(port: int, key: str = "secret-of-the-place") -> Compiled:
    where = f"baseUrl: 'http://127.0.0.1:{port}/v1', apiKey: {key}"
    return config(more=f"providers: {{ openai: {{ {where} }} }}")


def needs(of: Compiled) -> Needs:
    return Needs(resources(of.snapshot, PLACE), secrets_of(of.snapshot, of.secrets))


OPENAI, ANTHROPIC = config("gpt-4o"), config("claude-haiku-3")


# What is there at each step


def names(of: Resources) -> set[str]:
    return set(of.clusters)


def places(of: Resources) -> set[str]:
    tree = of.filters["provider"]["xds_matcher"]["matcher_tree"]
    return set(tree["exact_match_map"]["map"])


def scrubbed(of: Resources) -> set[str]:
    mutations = of.filters["scrub"]["mutations"]["request_mutations"]
    return {each["remove"] for each in mutations if "remove" in each}


def test_between_two_configs_everything_of_both_is_there() -> None:
    old, new = needs(OPENAI).resources, needs(ANTHROPIC).resources
    for both in (with_additions(old, new), joined(new, [old])):
        assert names(both) == names(old) | names(new)
        assert places(both) == places(old) | places(new)
        assert scrubbed(both) == scrubbed(old) | scrubbed(new)
        assert both.routes == new.routes


def test_a_provider_that_moves_keeps_its_place_until_its_new_key_is_known() -> None:
    old, new = needs(moved(1001)).resources, needs(moved(1002)).resources
    first, then = with_additions(old, new), joined(new, [old])
    target = "openai/gpt-4o"
    assert first.clusters[target] == old.clusters[target] != new.clusters[target]
    assert places(first) == {"openai@127.0.0.1:1001", "openai@127.0.0.1:1002"}
    assert then.clusters[target] == new.clusters[target]


def test_nothing_is_joined_where_nothing_is_left() -> None:
    keyless = compiled("routes: [{match: {default: true}, model: gpt-4o}]", {})
    old, new = resources(keyless.snapshot, PLACE), needs(ANTHROPIC).resources
    assert joined(old, [old]) == old
    assert places(joined(new, [old])) == places(joined(old, [new])) == places(new)


# Envoy's answers


def test_what_envoy_runs_and_refuses_is_read_from_its_counters() -> None:
    stats = """\
cluster_manager.cds.version_text: "17"
sds.openai@127.0.0.1_1.version_text: ""
cluster_manager.cds.update_rejected: 2
listener_manager.lds.update_rejected: 0
cluster_manager.warming_clusters: 1
"""
    progress = progress_of(stats)
    assert progress == Progress(
        frozenset({"17", ""}), {"cluster_manager.cds": 2, "listener_manager.lds": 0}, 1
    )
    assert progress.refused_since(progress) == []
    before = replace(progress, refused={"cluster_manager.cds": 1})
    assert progress.refused_since(before) == ["cluster_manager.cds"]


@dataclass
class Envoy:
    """Takes whatever is in its directory when asked, unless told otherwise; notes what it saw."""

    directory: Path
    refuses: Callable[[Resources], bool] = lambda _: False
    deaf: bool = False
    absent: bool = False
    seen: list[Resources] = field(default_factory=list)
    refused: int = 0
    taken: frozenset[str] = frozenset()
    unwatched: set[str] = field(default_factory=set)

    async def progress(self) -> Progress | None:
        if self.absent:
            return None
        found = read_resources(self.directory)
        assert found
        if not self.seen or self.seen[-1] != found:
            self.seen.append(found)
            self.refused += self.refuses(found)
        files = [*self.directory.glob("*.json"), *self.directory.glob("secrets/*.json")]
        watched = [path for path in files if path.name not in self.unwatched]
        held = [json.loads(path.read_text("utf-8")) for path in watched]
        versions = frozenset(one["version_info"] for one in held if "version_info" in one)
        self.taken = self.taken if self.deaf else versions
        return Progress(self.taken, {"cds": self.refused}, 0)


@pytest.fixture
def envoy(tmp_path: Path) -> Envoy:
    write(tmp_path, OPENAI.snapshot, replace(PLACE, directory=str(tmp_path)), OPENAI.secrets)
    return Envoy(tmp_path)


def publishing(
    envoy: Envoy,
    story: Callable[[EnvoyUpdate[Compiled]], Awaitable[None]],
    grace_s: float = 0.05,
) -> None:
    async def run() -> None:
        place = replace(PLACE, directory=str(envoy.directory))

        def needs(of: Compiled) -> Needs:
            return Needs(resources(of.snapshot, place), secrets_of(of.snapshot, of.secrets))

        update = EnvoyUpdate(envoy.directory, needs, envoy, lambda _: grace_s)
        await update.publish(OPENAI)
        await story(update)

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # what is polled for happens in a thread
            await asyncio.sleep(0.01)


def test_additions_come_first_and_what_is_not_needed_goes_last(envoy: Envoy) -> None:
    async def story(update: EnvoyUpdate[Compiled]) -> None:
        await update.publish(ANTHROPIC)
        assert names(envoy.seen[-1]) >= {"openai/gpt-4o", "anthropic/claude-haiku-3"}
        assert len(secret_files(envoy.directory)) == 2
        await until(lambda: secret_files(envoy.directory) == {"anthropic@api.anthropic.com.json"})
        await envoy.progress()

    publishing(envoy, story)
    old, *_, last = envoy.seen
    assert names(last) & names(old) == set()
    assert places(last) == {"anthropic@api.anthropic.com"}
    for before, after in zip(envoy.seen, envoy.seen[1:], strict=False):
        assert names(after) >= places_in_key_holders(after)
        assert names(before) <= names(after) or after is last


def places_in_key_holders(of: Resources) -> set[str]:
    """A filter comes after the cluster that makes Envoy read its key."""
    return {f"key:{place}" for place in places(of)}


def test_what_came_back_is_not_taken_away(envoy: Envoy) -> None:
    async def story(update: EnvoyUpdate[Compiled]) -> None:
        await update.publish(ANTHROPIC)
        await update.publish(OPENAI)
        await until(lambda: secret_files(envoy.directory) == {"openai@api.openai.com.json"})
        await envoy.progress()

    publishing(envoy, story)
    assert names(envoy.seen[-1]) == names(envoy.seen[0])


ID = "AKIDEXAMPLE00001"
SIGNED_FILE = "bedrock@bedrock-runtime.eu-west-1.amazonaws.com.aws"


def at_bedrock(key: str) -> Compiled:
    where = f"baseUrl: 'https://bedrock-runtime.eu-west-1.amazonaws.com', apiKey: '{key}'"
    return compiled(
        f"providers: {{ bedrock: {{ {where} }} }}\n"
        "models: { m: { targets: [{ provider: bedrock }], contextWindow: 9 } }\n"
        "routes: [{ match: { default: true }, model: m }]"
    )


def test_a_key_to_sign_with_is_there_before_its_filter_and_goes_after_it(envoy: Envoy) -> None:
    path = envoy.directory / "secrets" / SIGNED_FILE
    place = SIGNED_FILE.removesuffix(".aws")

    def refuses_a_filter_without_its_file(found: Resources) -> bool:
        return place in places(found) and not path.exists()

    envoy.refuses = refuses_a_filter_without_its_file

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        await update.publish(at_bedrock(f"{ID}:first"))
        assert place in places(envoy.seen[-1])
        assert f"key:{place}" not in names(envoy.seen[-1])
        await until(lambda: secret_files(envoy.directory) == {SIGNED_FILE})
        await update.publish(OPENAI)
        await until(lambda: secret_files(envoy.directory) == {"openai@api.openai.com.json"})

    publishing(envoy, story)


def test_a_key_to_sign_with_is_rotated_and_what_envoy_is_asked_after_it_is_waited_for(
    envoy: Envoy,
) -> None:
    path = envoy.directory / "secrets" / SIGNED_FILE
    held: list[str] = []
    asked = envoy.progress

    async def progress() -> Progress | None:
        held.append(path.read_text("utf-8") if path.exists() else "")
        return await asked()

    envoy.progress = progress  # type: ignore[method-assign]

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        await update.publish(at_bedrock(f"{ID}:first"))
        held.clear()
        await update.publish(at_bedrock(f"{ID}:second"))
        assert ["second" in each for each in held[-2:]] == [True, True]
        times = len(held)
        held.clear()
        await update.publish(at_bedrock(f"{ID}:second"))
        assert times == len(held) + 2, "the same again is not waited for"

    publishing(envoy, story, grace_s=9)


def test_a_key_to_sign_with_is_taken_back_with_what_envoy_refuses(envoy: Envoy) -> None:
    path = envoy.directory / "secrets" / SIGNED_FILE

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        await update.publish(at_bedrock(f"{ID}:first"))
        before = path.read_text("utf-8")
        envoy.refuses = lambda found: "passthrough" in found.clusters
        other = at_bedrock(f"{ID}:second")
        away = Passthrough("127.0.0.1", 80, tls=False, base_path="")
        with pytest.raises(ReloadError):
            await update.publish(replace(other, snapshot=replace(other.snapshot, passthrough=away)))
        assert path.read_text("utf-8") == before

    publishing(envoy, story, grace_s=9)


def test_a_reload_that_changes_nothing_for_envoy_writes_nothing(envoy: Envoy) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in envoy.directory.rglob("*.json")}

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        before = stamps()
        await update.publish(config(more="apps: { from: x-team }"))
        assert stamps() == before

    publishing(envoy, story)


def refusing_anthropic(found: Resources) -> bool:
    return "anthropic/claude-haiku-3" in found.clusters


def test_what_envoy_refuses_is_taken_back(envoy: Envoy) -> None:
    envoy.refuses = refusing_anthropic

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        with pytest.raises(ReloadError, match="Envoy refuses it, its log says why: cds"):
            await update.publish(ANTHROPIC)

    before = read_resources(envoy.directory)
    publishing(envoy, story)
    assert read_resources(envoy.directory) == before


def test_a_key_that_came_with_a_refused_config_is_taken_back_too(envoy: Envoy) -> None:
    def held() -> Any:  # noqa: ANN401  a JSON value
        path = envoy.directory / "secrets/openai@api.openai.com.json"
        return json.loads(path.read_text("utf-8"))["resources"]

    before = held()
    envoy.refuses = refusing_anthropic
    both = "providers: { openai: { apiKey: another } }\nroutes: [{match: {default: true}, "
    rotated = compiled(both + "model: claude-haiku-3, fallback: gpt-4o}]", KEYS)

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        with pytest.raises(ReloadError):
            await update.publish(rotated)

    publishing(envoy, story)
    assert held() == before


def test_an_envoy_that_does_not_take_it_is_not_waited_for_without_end(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_update, "TAKEN_WITHIN_S", 0.05)

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        envoy.deaf = True
        with pytest.raises(ReloadError, match=r"Envoy did not take cds\.json within 0\.05 s"):
            await update.publish(ANTHROPIC)

    publishing(envoy, story)


def test_a_file_that_somebodys_own_envoy_does_not_watch_is_not_waited_for(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_update, "SETTLES_WITHIN_S", 0.02)
    envoy.unwatched = {"lds.json", "rds.json"}

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        await update.publish(config("claude-haiku-3", "firstByteTimeout: 7s\nbodyBytesMax: 9KiB"))

    publishing(envoy, story)


def test_where_envoy_can_not_be_asked_each_step_is_given_its_time(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_update, "UNSEEN_STEP_S", 0.02)
    envoy.absent = True

    async def story(update: EnvoyUpdate[Compiled]) -> None:
        began = asyncio.get_running_loop().time()
        await update.publish(ANTHROPIC)
        assert asyncio.get_running_loop().time() - began >= 2 * 0.02

    publishing(envoy, story)
    found = read_resources(envoy.directory)
    assert found
    assert names(found) >= names(needs(ANTHROPIC).resources)
    assert {path.name for path in envoy.directory.glob("*.json")} >= set(FILES)


def test_a_directory_that_can_not_be_written_is_an_error_of_the_reload(envoy: Envoy) -> None:
    async def story(update: EnvoyUpdate[Compiled]) -> None:
        for path in envoy.directory.glob("secrets/*"):
            path.unlink()
        (envoy.directory / "secrets").rmdir()
        (envoy.directory / "secrets").touch()
        with pytest.raises(ReloadError, match=r"can't be written \(File exists\)"):
            await update.publish(ANTHROPIC)

    publishing(envoy, story)
