"""`extproc up`: one command, one process tree, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from data_plane import CHAT, HELLO, LOOPBACK, Program, environment, eventually, free_port

SEED = Path(__file__).parents[2] / "config" / "seed.yaml"
FLAGS = ("port", "admin-port", "envoy-admin-port", "extproc-port", "stand-in-port")
CHILDREN = {
    "the stand-in providers": "extproc.stand_in",
    "the router": "serve",
    "Envoy": "--config-path",
}
"""How each child is called, and by which word of its command line it is known."""


class Up:
    """`extproc up` with the seed's config, no provider key, and a free port for each flag."""

    def __init__(self, directory: Path) -> None:
        self.ports = {flag: free_port() for flag in FLAGS}
        self.config = directory / "config.yaml"
        self.config.write_text(SEED.read_text("utf-8"), "utf-8")
        flags = [word for flag, port in self.ports.items() for word in (f"--{flag}", str(port))]
        self.program = Program(
            [sys.executable, "-m", "extproc", "up", str(self.config), *flags],
            directory / "up.log",
            environment({}) | {"TMPDIR": str(directory)},
        )
        self.directory = directory
        self._known: set[int] = set()
        self.base_url = f"http://{LOOPBACK}:{self.ports['port']}"

    def children(self) -> dict[str, int]:
        """The process ids of the children that run by now."""
        pid = self.program.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        words = {int(pid): command_line(int(pid)) for pid in children}
        self._known.update(words)
        return {
            name: pid
            for name, word in CHILDREN.items()
            for pid, line in words.items()
            if word in line
        }

    def wait_ready(self) -> dict[str, int]:
        """Returns the process ids of all children."""

        def is_ready() -> bool:
            assert self.program.status is None, self.program.output()
            return f"ready on {self.base_url};" in self.program.output()

        eventually(is_ready, "`extproc up` to be ready")
        children = self.children()
        assert children.keys() == CHILDREN.keys()
        return children

    def post(self) -> httpx.Response:
        return httpx.post(self.base_url + CHAT, json=HELLO, trust_env=False, timeout=30)

    def fault(self, **fields: object) -> None:
        """For every request to the first provider from now on."""
        url = f"http://{LOOPBACK}:{self.ports['stand-in-port']}/anthropic/fault"
        httpx.put(url, json=fields, trust_env=False).raise_for_status()

    def open_requests(self) -> int:
        url = f"http://{LOOPBACK}:{self.ports['envoy-admin-port']}/stats"
        name = "http.llm.downstream_rq_active"
        stats = httpx.get(url, params={"filter": name}, trust_env=False).text
        return int(stats.removeprefix(f"{name}: "))

    def lets_in(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.ports["port"])).close()
        except OSError:
            return False
        return True

    def assert_nothing_left(self, children: dict[str, int]) -> None:
        eventually(lambda: not any(map(runs, children.values())), "the children to end")
        for port in self.ports.values():
            socket.create_server((LOOPBACK, port)).close()

    def end(self) -> None:
        self.program.end()
        for pid in filter(runs, self._known):  # only after a failure
            os.kill(pid, signal.SIGKILL)


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def runs(pid: int) -> bool:
    """Whether there is such a process; one that has ended but was not waited for is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    yield started
    started.end()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_request_works_without_any_key_and_a_signal_ends_all(
    up: Up, signum: signal.Signals
) -> None:
    children = up.wait_ready()
    assert f"curl {up.base_url}{CHAT}" in up.program.output()
    answer = httpx.post(up.base_url + CHAT, json=HELLO, trust_env=False, verify=False)
    assert answer.status_code == 200
    assert answer.headers["x-router-model"] == "claude-sonnet-4"
    up.program.send(signum)
    assert up.program.wait() == 0
    up.assert_nothing_left(children)
    assert {path.name for path in up.directory.iterdir()} == {"up.log", "config.yaml"}


def test_the_first_request_works_as_curl_sends_it(up: Up) -> None:
    up.wait_ready()
    command = re.search(r"curl (\S+) -d '(.+)'", up.program.output())
    assert command
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = httpx.post(command[1], content=command[2], headers=form, trust_env=False, verify=False)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]


def test_a_signal_lets_what_is_open_finish_and_be_recorded(up: Up) -> None:
    children = up.wait_ready()
    ended = [up.post() for _ in range(10)]
    up.fault(delay_s=1)
    with ThreadPoolExecutor() as threads:
        still_open = threads.submit(up.post)
        eventually(lambda: up.open_requests() == 1, "the request")
        up.program.send(signal.SIGTERM)
        eventually(lambda: not up.lets_in(), "the listener to be closed")
        answers = [*ended, still_open.result()]
    assert up.program.wait() == 0
    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].headers["connection"] == "close"
    lines = [line for line in up.program.output().splitlines() if line.startswith("{")]
    ids = {answer.headers["x-router-decision"] for answer in answers}
    assert {json.loads(line)["id"] for line in lines} == ids
    up.assert_nothing_left(children)


def test_a_second_signal_waits_for_no_request(up: Up) -> None:
    children = up.wait_ready()
    up.fault(hang=True)
    with ThreadPoolExecutor() as threads:
        cut_off = threads.submit(up.post)
        eventually(lambda: up.open_requests() == 1, "the request")
        up.program.send(signal.SIGTERM)
        eventually(lambda: not up.lets_in(), "the listener to be closed")
        up.program.send(signal.SIGTERM)
        assert up.program.wait(5) == 0
        assert isinstance(cut_off.exception(), httpx.TransportError)
    up.assert_nothing_left(children)


def test_a_hangup_loads_the_config_at_once(up: Up) -> None:
    up.wait_ready()
    up.program.send(signal.SIGHUP)
    config = f"http://{LOOPBACK}:{up.ports['admin-port']}/config"

    def is_loaded() -> bool:
        last: object = httpx.get(config, trust_env=False).json()["last_reload"]
        return last is not None

    eventually(is_loaded, "another load of the same file")
    assert up.program.status is None


EDITED = """
models: { added: { contextWindow: 9000, targets: [{ provider: mistral }] } }
routes: [{ match: { default: true }, model: added }]
"""


def test_editing_the_config_adds_routes_and_providers_to_what_runs(up: Up) -> None:
    """One without a key is stood in for, as at the start."""
    up.wait_ready()
    up.config.write_text(EDITED, "utf-8")

    def target() -> str | None:
        answer = httpx.post(up.base_url + CHAT, json=HELLO, trust_env=False, verify=False)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-router-target"]

    eventually(lambda: target() == "mistral/added", "the new config")
    assert up.program.status is None


def test_a_signal_while_it_starts_ends_all(up: Up) -> None:
    eventually(up.children, "a child")
    children = up.children()
    up.program.send(signal.SIGINT)
    assert up.program.wait() == 0
    up.assert_nothing_left(children)


@pytest.mark.parametrize("name", CHILDREN)
def test_a_child_that_ends_is_an_error_that_ends_all(up: Up, name: str) -> None:
    children = up.wait_ready()
    os.kill(children[name], signal.SIGKILL)
    assert up.program.wait() == 1
    assert f"{name} ended with status -9" in up.program.output().splitlines()[-1]
    up.assert_nothing_left(children)


def test_a_parent_that_is_killed_leaves_no_orphan(up: Up) -> None:
    children = up.wait_ready()
    up.program.send(signal.SIGKILL)
    up.program.wait()
    up.assert_nothing_left(children)


@pytest.mark.parametrize("flag", FLAGS)
def test_a_port_in_use_is_one_line_that_names_the_flag(tmp_path: Path, flag: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        others = [w for name in FLAGS if name != flag for w in (f"--{name}", str(free_port()))]
        command = [sys.executable, "-m", "extproc", "up", str(SEED), *others, f"--{flag}", port]
        program = Program(command, tmp_path / "up.log", environment({}))
        assert program.wait() == 1
    (line,) = program.output().splitlines()
    assert f"{LOOPBACK}:{port}" in line
    assert "in use" in line
    assert f"--{flag}" in line
