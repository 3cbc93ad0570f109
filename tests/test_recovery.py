"""What traffic does when targets slow down, hang, recover or are new: fleets in fake time."""

import pytest
from fleet import Fleet, Speed, route_over

SLOW_AT, WELL_AT = 30.0, 70.0
FAIR = 1 / 2
"""Half of its equal share: what counts as having it back."""

LOADS = ("1 client", "8 clients", "50 a second")


def slowed(usual_ms: float, slow_ms: float) -> Speed:
    return lambda at: slow_ms if SLOW_AT <= at < WELL_AT else usual_ms


def steady(ms: float) -> Speed:
    return lambda _at: ms


def put_under(fleet: Fleet, load: str, until: float) -> Fleet:
    if load == "50 a second":
        fleet.steadily(50, until)
    else:
        fleet.clients(int(load.split(maxsplit=1)[0]))
    fleet.run(until)
    return fleet


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("usual_ms", [100.0, 400.0])
def test_a_target_ten_times_slower_loses_its_traffic_in_10_s_and_has_it_back_in_60_s(
    load: str, names: str, usual_ms: float
) -> None:
    speeds = {name: steady(usual_ms) for name in names} | {"a": slowed(usual_ms, 10 * usual_ms)}
    fleet = put_under(Fleet(route_over(names), speeds), load, WELL_AT + 80)
    assert fleet.shares(10, SLOW_AT)["a"] > FAIR / len(names)
    lost = fleet.shares(SLOW_AT + 10, WELL_AT)["a"]
    # Trials included, of which one client at 400 ms makes few but asks little itself.
    assert lost < (0.05 if load != "1 client" or usual_ms < 400 else 0.11)
    assert fleet.most_outstanding("a", SLOW_AT + 10, WELL_AT) == 1
    assert fleet.shares(WELL_AT + 60, WELL_AT + 80)["a"] > FAIR / len(names)


@pytest.mark.parametrize("load", ["8 clients", "50 a second"])
def test_a_target_that_hangs_is_left_before_any_of_its_answers_is_told_of(load: str) -> None:
    speeds = {"a": lambda at: 60_000 if at >= SLOW_AT else 100, "b": steady(150)}
    fleet = put_under(Fleet(route_over("ab"), speeds), load, SLOW_AT + 40)
    assert fleet.shares(20, SLOW_AT)["a"] > 0.9
    assert fleet.shares(SLOW_AT + 6, SLOW_AT + 40)["a"] < 0.05


@pytest.mark.parametrize("objective", ["order", "latency"])
def test_a_target_that_spikes_is_passed_over_and_taken_again_once_it_is_well(
    objective: str,
) -> None:
    speeds = {"a": slowed(100, 1000), "b": steady(200)}
    fleet = put_under(Fleet(route_over("ab", objective), speeds), "8 clients", WELL_AT + 80)
    assert fleet.shares(10, SLOW_AT)["a"] > 0.9
    assert fleet.shares(SLOW_AT + 10, WELL_AT)["a"] < 0.05
    assert fleet.most_outstanding("a", SLOW_AT + 10, WELL_AT) == 1
    assert fleet.shares(WELL_AT + 60, WELL_AT + 80)["a"] > 0.9


@pytest.mark.parametrize("cold_ms", [20.0, 100.0, 1000.0, 20_000.0])
def test_with_eight_clients_a_cold_and_a_slow_target_never_draw_a_herd(cold_ms: float) -> None:
    speeds = {"a": steady(100), "s": steady(1000), "c": steady(cold_ms)}
    fleet = Fleet(route_over("as"), speeds)
    fleet.clients(8)
    fleet.run(20)
    fleet.snapshot = route_over("asc")
    fleet.state.configure(fleet.snapshot)
    fleet.run(80)
    heard = 20 + cold_ms / 1000
    assert fleet.most_outstanding("s", 20, 80) <= 2
    assert fleet.most_outstanding("c", 20, heard) <= 2
    if cold_ms >= 1000:
        assert fleet.most_outstanding("c", 20, 80) <= 2
        assert fleet.shares(40, 80)["c"] < 0.05
    if cold_ms < 100:
        assert fleet.shares(40, 80)["c"] > 0.6
    assert fleet.shares(20, 80)["s"] < 0.05


def test_answers_that_take_long_are_not_taken_for_silence() -> None:
    """Twelve seconds each, by eight clients: most of the time nothing was told of for seconds."""
    speeds = {"a": steady(12_000), "b": steady(40_000)}
    fleet = put_under(Fleet(route_over("ab"), speeds), "8 clients", 900)
    assert fleet.shares(200, 900)["b"] < 0.12
    assert fleet.most_outstanding("b", 200, 900) <= 2
