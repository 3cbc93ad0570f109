from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import dialects
import httpx
import pytest
from data_plane import DataPlane, open_planes

SEED = Path(__file__).parents[2] / "config" / "seed.yaml"
LOG_CHARS_MAX = 8_000


@pytest.fixture(scope="session")
def seed_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with DataPlane(SEED.read_text(), tmp_path_factory.mktemp("seed")) as plane:
        yield plane


@pytest.fixture(scope="session")
def native_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """A provider of each API."""
    directory = tmp_path_factory.mktemp("native")
    with DataPlane(dialects.ROUTING, directory, native=True) as plane:
        yield plane


@pytest.fixture(scope="module")
def running(seed_plane: DataPlane) -> DataPlane:
    """The data plane of a module; one that needs a config of its own overrides this."""
    return seed_plane


@pytest.fixture
def plane(running: DataPlane) -> DataPlane:
    """The module's data plane, with no fault and nothing seen."""
    running.reset()
    return running


@pytest.fixture
def client(plane: DataPlane) -> Iterator[httpx.Client]:
    with plane.client() as client:
        yield client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for plane in open_planes:
            report.sections.extend((name, log[-LOG_CHARS_MAX:]) for name, log in plane.logs())
    return report
