"""Reloading with nobody about: what is noticed and told, and what stays when something is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from configs import CATCH_ALL, compiled, snapshot_of

from extproc.command_line.serve import telling_nobody
from extproc.servers.reload import Reloader, ReloadError, ReloadStatus, content_of
from extproc.servers.watch import Settling
from extproc.snapshot import Snapshot

POLL_S = 0.001
SECRET = "key-of-somebody"


# When a change is acted on


@pytest.mark.parametrize(
    ("readings", "acted_on"),
    [
        ([b"a", b"a", b"a"], []),
        ([b"b"], []),
        ([b"b", b"b"], [1]),
        ([b"b", b"b", b"b"], [1]),
        ([b"b", b"bc", b"bcd", b"bcd"], [3]),  # as it is being written
        ([b"b", b"a", b"a"], []),  # taken back before it settled
        ([None, None, None], [1]),  # gone: acted on once
        ([None, b"a", b"a"], []),  # between the removal and the rename of an odd editor
        ([None, None, b"a", b"a"], [1, 3]),  # what ran comes back after a failure
        ([b"b", b"b", b"a", b"a"], [1, 3]),
    ],
)
def test_a_reading_is_acted_on_when_it_came_twice_and_is_news(
    readings: list[bytes | None], acted_on: list[int]
) -> None:
    settling = Settling(b"a")
    assert [i for i, reading in enumerate(readings) if settling.settles(reading)] == acted_on


# The reloader


@dataclass(frozen=True)
class Config:
    snapshot: Snapshot
    text: str


def config(text: str) -> Config:
    """One per text; the text stands for all that it says."""
    return Config(snapshot_of(CATCH_ALL + f"aliases: {{ {text}: gpt-4o }}"), text)


@dataclass
class World:
    """A file, and what is published."""

    path: Path
    published: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    hold: asyncio.Event | None = None

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def load(self, content: bytes | None) -> Config:
        if content is None:
            raise ReloadError("file: gone")
        text = content.decode()
        if text == "bug":
            raise ZeroDivisionError(SECRET)
        if text.startswith("broken"):
            raise ReloadError("a: is wrong\nb: is wrong too")
        self.loaded.append(text)
        return config(text)

    async def publish(self, loaded: Config) -> None:
        if self.hold:
            await self.hold.wait()
        if loaded.text in self.refuses:
            raise ReloadError("Envoy refuses it")
        self.published.append(loaded.text)

    def reloader(self) -> Reloader[Config]:
        return Reloader(
            self.path,
            content_of(self.path),
            config("first"),
            load=self.load,
            publish=self.publish,
            poll_s=POLL_S,
            clock=lambda: 1000.0,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "config")
    world.write("first")
    return world


def watching(
    world: World, story: Callable[[Reloader[Config]], Awaitable[None]]
) -> tuple[ReloadStatus, list[str]]:
    """The status after `story`, and what was swapped in."""
    swapped: list[str] = []

    async def run() -> ReloadStatus:
        reloader = world.reloader()
        reloader.on_reload(lambda loaded: swapped.append(loaded.text))
        task = asyncio.create_task(reloader.run())
        async with asyncio.timeout(10):
            await story(reloader)
        task.cancel()
        return reloader.status

    return asyncio.run(run()), swapped


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what is polled for happens in a thread
        await asyncio.sleep(POLL_S)


def test_what_the_file_says_is_published_and_then_swapped_in(world: World) -> None:
    async def story(reloader: Reloader[Config]) -> None:
        world.write("second")
        await until(lambda: reloader.status.succeeded == 1)
        assert reloader.loaded.text == "second"

    status, swapped = watching(world, story)
    assert world.published == swapped == ["second"]
    assert status == ReloadStatus(
        path=str(world.path),
        config=config("second").snapshot.config,
        loaded_at=1000.0,
        last_attempt_at=1000.0,
        succeeded=1,
    )


@pytest.mark.parametrize("text", ["broken", None], ids=["wrong", "gone"])
def test_a_broken_file_keeps_what_runs_until_it_is_mended(world: World, text: str | None) -> None:
    async def story(reloader: Reloader[Config]) -> None:
        world.path.unlink()
        if text is not None:
            world.write(text)
        await until(lambda: reloader.status.failed == 1)
        assert reloader.loaded.text == "first"
        assert reloader.status.last_error == (
            "file: gone" if text is None else "a: is wrong\nb: is wrong too"
        )
        world.write("first")
        await until(lambda: reloader.status.succeeded == 1)

    status, swapped = watching(world, story)
    assert swapped == ["first"]
    assert (status.last_error, status.failed, status.succeeded) == (None, 1, 1)


def test_each_mistake_is_one_line_and_the_same_mistakes_are_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(reloader: Reloader[Config]) -> None:
        for number in range(3):
            world.write(f"broken {number}")
            await until(lambda number=number: reloader.status.failed == number + 1)  # type: ignore[misc]

    caplog.set_level(logging.INFO)
    watching(world, story)
    told = [record.getMessage() for record in caplog.records if "not loaded" in record.getMessage()]
    first = config("first").snapshot.config
    assert told == [
        f"not loaded, {first} stays: a: is wrong",
        f"not loaded, {first} stays: b: is wrong too",
    ]


def test_what_envoy_refuses_does_not_run(world: World) -> None:
    world.refuses.add("second")

    async def story(reloader: Reloader[Config]) -> None:
        world.write("second")
        await until(lambda: reloader.status.failed == 1)

    status, swapped = watching(world, story)
    assert swapped == []
    assert status.last_error == "Envoy refuses it"


def test_a_mistake_of_ours_is_no_end_and_repeats_nothing_of_the_config(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(reloader: Reloader[Config]) -> None:
        world.write("bug")
        await until(lambda: reloader.status.failed == 1)
        world.write("second")
        await until(lambda: reloader.status.succeeded == 1)

    caplog.set_level(logging.DEBUG)
    _, swapped = watching(world, story)
    assert swapped == ["second"]
    assert "ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text


def test_a_newer_change_supersedes_those_that_wait(world: World) -> None:
    async def story(reloader: Reloader[Config]) -> None:
        world.hold = asyncio.Event()
        world.write("second")
        await until(lambda: world.loaded == ["second"])
        for text in ("third", "fourth"):
            world.write(text)
            await asyncio.sleep(5 * POLL_S)
        world.hold.set()
        await until(lambda: reloader.loaded.text == "fourth")

    _, swapped = watching(world, story)
    assert swapped == world.published == ["second", "fourth"]


def test_asked_to_it_loads_at_once_even_what_has_not_changed(world: World) -> None:
    async def story(reloader: Reloader[Config]) -> None:
        reloader.reload_now()
        await until(lambda: reloader.status.succeeded == 1)

    assert watching(world, story)[1] == ["first"]


def test_every_attempt_is_told_to_those_who_asked(world: World) -> None:
    told: list[tuple[str | None, int, int]] = []

    async def story(reloader: Reloader[Config]) -> None:
        reloader.on_attempt(lambda s: told.append((s.last_error, s.succeeded, s.failed)))
        world.write("broken")
        await until(lambda: len(told) == 1)
        world.write("second")
        await until(lambda: len(told) == 2)

    watching(world, story)
    assert told == [("a: is wrong\nb: is wrong too", 0, 1), (None, 1, 1)]


# Without Envoy's directory


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# a comment" + CATCH_ALL, False),
        ("apps: { from: x-team }" + CATCH_ALL, False),
        ("providers: { openai: { apiKey: another } }" + CATCH_ALL, True),
        ("providers: { openai: { baseUrl: 'http://127.0.0.1:1/v1' } }" + CATCH_ALL, True),
        ("routes: [{ match: { default: true }, model: gpt-4o, fallback: gpt-4o-mini }]", True),
    ],
)
def test_it_is_said_when_an_envoy_that_nobody_keeps_in_step_must_be_told(
    text: str, *, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    publish = telling_nobody()

    async def story() -> None:
        await publish(compiled(CATCH_ALL))
        assert not caplog.records
        await publish(compiled(text))

    asyncio.run(story())
    said = ["Envoy must know them too" in record.message for record in caplog.records]
    assert said == [True] * told
