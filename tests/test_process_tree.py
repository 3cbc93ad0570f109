"""Programs as one: who is told of which signal, and who is waited for. Run as users run them."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_plane import eventually

PARENT = """
import asyncio, fcntl, sys, termios
from extproc.servers.process_tree import Child, run_together

CHILD = '''
import signal, time
def say(text):
    print(text, flush=True)
signal.signal(signal.SIGHUP, lambda *_: say("child: hangup"))
if "stubborn" in "MODE":
    signal.signal(signal.SIGTERM, lambda *_: say("child: not yet"))
say("child: up")
while True:
    time.sleep(0.01)
'''

async def is_ready():
    await asyncio.sleep(0.3)
    return True

async def drain():
    print("draining", flush=True)
    await asyncio.sleep(60 if "long drain" in "MODE" else 0.2)
    print("drained", flush=True)

if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal becomes that of this session
child = Child("it", [sys.executable, "-c", CHILD], is_ready, drain=drain, takes_hangup=True)
asyncio.run(run_together([child], lambda: print("all up", flush=True)))
"""


class Tree:
    def __init__(self, directory: Path, mode: str, terminal: int | None = None) -> None:
        self._log = directory / "log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PARENT.replace("MODE", mode)],
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.send = self._process.send_signal

    def said(self, text: str) -> bool:
        return text in self._log.read_text()

    def until_said(self, text: str) -> None:
        eventually(lambda: self.said(text), text)

    def ended_within(self, seconds: float) -> int:
        return self._process.wait(seconds)

    def runs(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    started = Tree(tmp_path, getattr(request, "param", ""))
    yield started
    started.end()


def test_a_child_is_drained_before_it_is_told_to_leave(tree: Tree) -> None:
    tree.until_said("all up")
    tree.send(signal.SIGTERM)
    assert tree.ended_within(5) == 0
    assert tree.said("drained")


@pytest.mark.parametrize("tree", ["long drain", "long drain, stubborn"], indirect=True)
def test_a_second_signal_waits_for_nobody(tree: Tree) -> None:
    tree.until_said("all up")
    tree.send(signal.SIGINT)
    tree.until_said("draining")
    tree.send(signal.SIGINT)
    assert tree.ended_within(3) == 0
    assert not tree.said("drained")


def test_a_hangup_is_passed_on(tree: Tree) -> None:
    tree.until_said("all up")
    tree.send(signal.SIGHUP)
    tree.until_said("child: hangup")
    assert tree.runs()


def test_a_hangup_while_it_starts_ends_nobody(tree: Tree) -> None:
    tree.until_said("child: up")
    tree.send(signal.SIGHUP)
    tree.until_said("all up")
    assert not tree.said("child: hangup")


def test_who_closes_the_terminal_leaves_nothing_behind(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    tree = Tree(tmp_path, "", terminal=end)
    try:
        os.close(end)
        tree.until_said("all up")
        tree.send(signal.SIGHUP)  # the terminal is there still
        tree.until_said("child: hangup")
        time.sleep(0.1)
        assert tree.runs()
        os.close(terminal)
        assert tree.ended_within(5) == 0
    finally:
        tree.end()
