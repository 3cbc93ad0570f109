"""The decision log: every record on a line, whatever befalls the file, and never in the way."""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from extproc.servers import decision_log
from extproc.servers.decision_log import DecisionLog, DecisionLogError
from extproc.servers.rotation import RotatingFile
from extproc.snapshot import DecisionLogSettings

NO_STDOUT = -1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


def log_to(path: Path, bytes_max: int = 10**6, keep: int = 3) -> DecisionLog:
    return DecisionLog(DecisionLogSettings(str(path), bytes_max, keep), NO_STDOUT)


def records_in(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def line(record: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(record)


def until(is_true: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_each_record_is_a_line_of_json_in_the_order_written(path: Path) -> None:
    log = log_to(path)
    records = [{"id": f"{i}", "why": "żółć\n", "outcome": None} for i in range(1000)]
    for record in records:
        log.write(line(record))
    log.close()
    assert records_in(path) == records
    assert log.dropped == 0


def test_what_is_written_is_in_the_file_soon_without_closing(path: Path) -> None:
    log = log_to(path)
    log.write(line({"id": "1"}))
    until(lambda: records_in(path) == [{"id": "1"}])
    log.write(line({"id": "2"}))
    until(lambda: records_in(path) == [{"id": "1"}, {"id": "2"}])
    log.close()


def test_a_restart_appends(path: Path) -> None:
    for i in range(2):
        log = log_to(path)
        log.write(line({"id": i}))
        log.close()
    assert records_in(path) == [{"id": 0}, {"id": 1}]


def test_only_its_owner_and_group_may_read_it(path: Path) -> None:
    log_to(path).close()
    assert path.stat().st_mode & 0o007 == 0


def test_stdout_gets_the_same_lines() -> None:
    read, write = os.pipe()
    log = DecisionLog(DecisionLogSettings("stdout"), write)
    log.write(line({"id": "1"}))
    log.close()
    assert os.read(read, 1000) == b'{"id":"1"}\n'
    os.close(write)
    os.close(read)


def test_the_process_own_output_may_be_named_as_a_device(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even where it is a file, which somebody else looks after."""
    with (tmp_path / "out").open("ab") as out:
        log = DecisionLog(DecisionLogSettings("/dev/stdout", 10), out.fileno())
        assert log.last_ids() == []
        for number in range(3):
            log.write(line({"id": number}))
        log.close()
    assert len(records_in(tmp_path / "out")) == 3
    log = log_to(Path("/dev/stderr"))
    log.write(line({"id": "to stderr"}))
    log.close()
    assert '{"id":"to stderr"}' in capfd.readouterr().err


def test_a_pipe_is_written_to_without_being_read_or_rotated(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = log_to(path, bytes_max=10)
    assert log.last_ids() == []
    for number in range(3):
        log.write(line({"id": number}))
    log.close()
    assert len(os.read(reader, 1000).splitlines()) == 3
    os.close(reader)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_pipe_that_nobody_reads_is_told_at_the_start(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(DecisionLogError, match="nobody reads it"):
        log_to(path)


def test_a_device_that_refuses_drops_lines_and_is_not_read() -> None:
    log = log_to(Path("/dev/full"))
    assert log.last_ids() == []
    log.write(line({"id": "1"}))
    log.close()
    assert log.dropped == 1


def test_none_writes_nothing_and_needs_no_thread() -> None:
    before = threading.active_count()
    log = DecisionLog(DecisionLogSettings("none"), NO_STDOUT)
    log.write(line({"id": "1"}))
    assert threading.active_count() == before
    log.close()
    assert log.dropped == 0


# Rotation


def test_a_file_is_rotated_before_it_grows_beyond_its_size_and_the_oldest_go(path: Path) -> None:
    file = RotatingFile(path, bytes_max=20, keep=2)
    for i in range(10):
        file.write(b"%09d\n" % i)
    file.close()
    found = {each.name: each.read_bytes().split() for each in path.parent.iterdir()}
    assert found == {
        "decisions.jsonl": [b"%09d" % i for i in (8, 9)],
        "decisions.jsonl.1": [b"%09d" % i for i in (6, 7)],
        "decisions.jsonl.2": [b"%09d" % i for i in (4, 5)],
    }


def test_a_line_larger_than_the_size_is_written_whole(path: Path) -> None:
    file = RotatingFile(path, bytes_max=5, keep=1)
    file.write(b"longer than that\n")
    file.close()
    assert path.read_bytes() == b"longer than that\n"


def test_no_line_is_lost_or_torn_by_rotation(path: Path) -> None:
    log = log_to(path, bytes_max=4096, keep=1000)
    for i in range(5000):
        log.write(line({"id": i}))
        if not i % 500:
            time.sleep(2 * decision_log.GATHER_S)
    log.close()
    count = len(list(path.parent.iterdir()))
    rotated = [path.with_name(f"{path.name}.{i}") for i in range(count - 1, 0, -1)]
    files = [*rotated, path]
    assert len(files) > 1
    found = [record["id"] for file in files for record in records_in(file)]
    assert found == list(range(5000))


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_a_file_that_is_moved_or_removed_is_begun_anew(path: Path, how: str) -> None:
    log = log_to(path)
    log.write(line({"id": "1"}))
    until(lambda: path.read_bytes() != b"")
    if how == "moved":
        path.rename(path.with_suffix(".old"))
    else:
        path.unlink()
    log.write(line({"id": "2"}))
    log.close()
    assert records_in(path) == [{"id": "2"}]
    if how == "moved":
        assert records_in(path.with_suffix(".old")) == [{"id": "1"}]


def test_a_file_that_is_replaced_is_written_to(path: Path) -> None:
    log = log_to(path)
    other = path.with_suffix(".new")
    other.write_bytes(b'{"id":"0"}\n')
    other.replace(path)
    log.write(line({"id": "1"}))
    log.close()
    assert records_in(path) == [{"id": "0"}, {"id": "1"}]


def test_after_a_write_that_was_cut_off_the_next_line_stands_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(path, bytes_max=1000, keep=1)

    def half(fd: int, content: bytes) -> None:
        os.write(fd, content[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("extproc.servers.rotation.write_all", half)
        with pytest.raises(OSError, match="No space"):
            file.write(b'{"id":"1"}\n')
    file.write(b'{"id":"2"}\n')
    file.close()
    assert path.read_bytes().splitlines() == [b'{"id"', b'{"id":"2"}']


def test_a_burst_makes_no_file_much_larger_than_its_size(path: Path) -> None:
    log = log_to(path, bytes_max=100_000, keep=1000)
    for i in range(10_000):
        log.write(line({"id": i, "why": "x" * 80}))
    log.close()
    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    assert len(sizes) > 5
    assert max(sizes) <= 100_000 + decision_log.WRITE_BYTES


# When it can't keep up


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The end of a pipe that takes nothing more, as a terminal does that nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    yield write
    os.close(read)  # the writer's thread ends with a broken pipe
    time.sleep(0.1)
    os.close(write)


def test_a_writer_that_hangs_delays_nobody_and_its_queue_is_bounded(
    full_pipe: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decision_log, "WAITING_BYTES_MAX", 1000)
    monkeypatch.setattr(decision_log, "CLOSE_S", 0.1)
    told: list[int] = []
    log = DecisionLog(DecisionLogSettings("stdout"), full_pipe, told.append)
    began = time.monotonic()
    for _ in range(1000):
        log.write(line({"id": "01234567"}))  # 18 bytes a line: 55 of them wait
    assert time.monotonic() - began < 0.5
    assert log.dropped == sum(told) == 945
    log.close()
    assert time.monotonic() - began < 2
    messages = [one.getMessage() for one in caplog.records]
    assert messages == ["decision log: 1 lines dropped, the last because the writer can't keep up"]


def test_dropped_lines_are_said_once_a_minute_with_their_number(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("extproc.servers.decision_log.time.monotonic", lambda: clock[0])
    log = log_to(path)
    log.close()
    for now in (1000.0, 1030.0, 1059.0, 1061.0):
        clock[0] = now
        log.write(line({"id": "late"}))
    assert log.dropped == 4
    assert [one.getMessage() for one in caplog.records] == [
        "decision log: 1 lines dropped, the last because it is closed",
        "decision log: 3 lines dropped, the last because it is closed",
    ]


def test_lines_that_the_disk_refuses_are_dropped_and_the_next_are_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_fd: int, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    log = log_to(path)
    with monkeypatch.context() as disk:
        disk.setattr("extproc.servers.rotation.write_all", full)
        log.write(line({"id": "1"}))
        until(lambda: log.dropped == 1)
    log.write(line({"id": "2"}))
    log.close()
    assert path.read_bytes().splitlines()[-1] == b'{"id":"2"}'
    assert "No space left on device" in caplog.text


def test_a_folder_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = log_to(folder / "d.jsonl")
    (folder / "d.jsonl").unlink()
    folder.rmdir()
    log.write(line({"id": "1"}))
    until(lambda: log.dropped == 1)
    folder.mkdir()
    log.write(line({"id": "2"}))
    log.close()
    assert records_in(folder / "d.jsonl") == [{"id": "2"}]


@pytest.mark.parametrize("where", ["missing/d.jsonl", "", "file/d.jsonl"])
def test_a_path_that_cannot_be_written_is_told_at_the_start(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.DEBUG), pytest.raises(DecisionLogError) as caught:
        log_to(tmp_path / where)
    assert str(caught.value).startswith(f"decisionLog.path: can't write {tmp_path / where}: ")
    assert "may write to, or `stdout`" in str(caught.value)
