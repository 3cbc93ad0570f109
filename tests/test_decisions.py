"""The ring of decisions behind `/decisions`: bounded, newest first, each told once."""

import json
from typing import Any

import pytest

from extproc.servers.decisions import Decisions, Wanted


def record(
    name: str, route: str = "default", app: str | None = None, chain: tuple[str, ...] = ("p/a",)
) -> bytes:
    links = [{"target": target} for target in chain]
    return json.dumps({"id": name, "route": route, "app": app, "chain": links}).encode()


def ended(name: str, served: str | None = "p/a", **more: Any) -> bytes:  # noqa: ANN401
    told = json.loads(record(name, **more)) | {"outcome": {"target": served}}
    return json.dumps(told).encode()


def pending(name: str) -> dict[str, Any]:
    """As it is shown until its outcome is known."""
    told: dict[str, Any] = json.loads(record(name))
    return told | {"outcome": None}


def shown(ring: Decisions, **wanted: Any) -> list[dict[str, Any]]:  # noqa: ANN401  fields of Wanted
    found: list[dict[str, Any]] = json.loads(ring.newest(Wanted(**wanted)))
    return found


def ids(ring: Decisions, **wanted: Any) -> list[str]:  # noqa: ANN401  fields of Wanted
    return [one["id"] for one in shown(ring, **wanted)]


@pytest.fixture
def ring() -> Decisions:
    return Decisions()


def test_with_none_yet_there_is_an_empty_array(ring: Decisions) -> None:
    assert ring.newest(Wanted()) == b"[]"


def test_a_decision_has_no_outcome_until_it_ends(ring: Decisions) -> None:
    ring.decided("1", record("1"))
    assert shown(ring) == [pending("1")]


def test_an_outcome_takes_the_place_of_its_decision(ring: Decisions) -> None:
    ring.decided("1", record("1"))
    ring.decided("2", record("2"))
    ring.finished("1", ended("1"))
    assert shown(ring) == [pending("2"), json.loads(ended("1"))]


def test_an_outcome_of_what_another_replica_decided_is_added(ring: Decisions) -> None:
    ring.decided("1", record("1"))
    ring.finished("2", ended("2"))
    assert ids(ring) == ["2", "1"]


def test_an_outcome_that_overtook_its_decision_stays(ring: Decisions) -> None:
    ring.finished("1", ended("1"))
    ring.decided("1", record("1"))
    assert shown(ring) == [json.loads(ended("1"))]


def test_an_outcome_that_comes_twice_is_there_once(ring: Decisions) -> None:
    ring.finished("1", ended("1"))
    ring.finished("1", ended("1"))
    assert ids(ring) == ["1"]


def test_the_oldest_go_when_there_are_too_many() -> None:
    ring = Decisions(entries_max=3)
    for i in range(10):
        ring.decided(f"{i}", record(f"{i}"))
    assert ids(ring) == ["9", "8", "7"]


def test_the_oldest_go_when_they_take_too_much_room() -> None:
    size = len(ended("0"))
    ring = Decisions(bytes_max=3 * size)
    for i in range(10):
        ring.decided(f"{i}", record(f"{i}"))
        ring.finished(f"{i}", ended(f"{i}"))
    assert ids(ring) == ["9", "8", "7"]


def test_one_that_takes_more_than_all_the_room_is_not_kept() -> None:
    ring = Decisions(bytes_max=200)
    ring.finished("1", ended("1", route="x" * 500))
    ring.finished("2", ended("2"))
    assert ids(ring) == ["2"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "4321"),
        ({"limit": 2}, "43"),
        ({"route": "code"}, "31"),
        ({"app": "billing"}, "21"),
        ({"route": "code", "app": "billing"}, "1"),
        ({"target": "p/b"}, "42"),
        ({"target": "p/c"}, "4"),
        ({"target": "p/x"}, ""),
        ({"app": ""}, ""),
        ({"limit": 1, "route": "code"}, "3"),
    ],
)
def test_filters_hold_all_and_a_target_is_one_of_the_chain_or_who_served(
    ring: Decisions, wanted: dict[str, Any], found: str
) -> None:
    ring.decided("1", record("1", route="code", app="billing"))
    ring.decided("2", record("2", app="billing", chain=("p/a", "p/b")))
    ring.decided("3", record("3", route="code"))
    ring.finished("4", ended("4", served="p/c", chain=("p/b",)))
    assert "".join(ids(ring, **wanted)) == found
