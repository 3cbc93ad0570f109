"""Times and durations as providers write them."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.state.instants import duration_s, http_date, number, rfc_3339

NOW = 1_767_225_600.0
http_date_now = partial(http_date, now=NOW)
GARBAGE = [
    *("", " ", "x", "-1", "+1", "1e3", "nan", "inf", "0x1", "1,5", "1.", ".5"),
    *("9" * 999, "\u0661"),
]


@pytest.mark.parametrize(
    ("text", "found"), [("0", 0), ("12", 12), ("0.5", 0.5), (" 7 ", 7), ("0\x1f", 0)]
)
def test_numbers_are_plain(text: str, found: float) -> None:
    assert number(text) == duration_s(text) == found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("1d", 86_400),
        ("500us", 0.0005),
        ("7µs", 7e-6),
        ("20ns", 2e-8),
    ],
)
def test_durations_are_as_go_writes_them(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600),
        ("2026-01-01t00:00:00.25z", 1_767_225_600.25),
        ("2026-01-01T01:30:00+01:30", 1_767_225_600),
        ("2025-12-31T19:00:00-05:00", 1_767_225_600),
        ("2026-13-01T00:00:00Z", None),
        ("2026-01-01T25:00:00Z", None),
        ("2026-01-01", None),
        ("0000-01-01T00:00:00Z", None),
    ],
)
def test_rfc_3339(text: str, unix: float | None) -> None:
    assert rfc_3339(text) == unix


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", 1_767_225_600),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 1_767_225_690),
        ("Thursday, 01-Jan-26 00:01:30 GMT", 1_767_225_690),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Wednesday, 01-Jan-76 00:00:00 GMT", 3_345_062_400),
        ("Saturday, 01-Jan-77 00:00:00 GMT", 220_924_800),
        ("Thu Jan  1 00:01:30 2026", 1_767_225_690),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Thu Foo  1 00:01:30 2026", None),
        ("Thu Jan    00:01:30 2026", None),
        ("Thu, 01 Foo 2026 00:00:00 GMT", None),
        ("Thu, 99 Jan 2026 00:00:00 GMT", None),
        ("01 Jan 2026", None),
    ],
)
def test_http_dates(text: str, unix: float | None) -> None:
    assert http_date(text, NOW) == unix


@pytest.mark.parametrize("read", [number, duration_s, rfc_3339, http_date_now])
@pytest.mark.parametrize("text", [None, *GARBAGE])
def test_garbage_is_nothing(read: object, text: str | None) -> None:
    assert callable(read)
    assert read(text) is None


@settings(deadline=None)
@given(st.text(max_size=80))
def test_nothing_raises(text: str) -> None:
    for read in (number, duration_s, rfc_3339, http_date_now):
        found = read(text)
        assert found is None or isinstance(found, float | int)
