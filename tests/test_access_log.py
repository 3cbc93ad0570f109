"""Entries of Envoy's access logs: what each field means, and what becomes of odd ones."""

import json
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from log_batches import ATTEMPT, REQUEST, attempts, batch, requests

from extproc.outcome import Attempt, Ended, Ending, Failure, Usage
from extproc.wire.access_log import UnreadableEntryError, entries_of, read


def only(message: bytes) -> Attempt | Ended | None:
    ((log, fields),) = entries_of(message)
    return read(log, fields)


def attempt(**changed: str) -> Attempt:
    found = only(attempts(changed))
    assert isinstance(found, Attempt)
    return found


def ended(**changed: str) -> Ended:
    found = only(requests(changed))
    assert isinstance(found, Ended)
    return found


def test_an_attempt_says_who_answered_what_and_when() -> None:
    found = attempt()
    assert (found.request_id, found.number, found.target) == ("7d72-1", 1, "openai/gpt-4o")
    assert (found.began, found.status, found.failure) == (1767225600.25, 200, None)
    assert (found.ttfb_ms, found.duration_ms) == (310.25, 1840.0)


@pytest.mark.parametrize(
    ("status", "flags", "failure"),
    [
        ("200", "-", None),
        ("429", "-", None),
        ("404", "-", None),
        ("500", "-", Failure.STATUS),
        ("529", "-", Failure.STATUS),
        ("424", "-", Failure.STATUS),  # Bedrock's for a model that failed
        ("0", "UF", Failure.CONNECT),
        ("0", "UT", Failure.TIMEOUT),
        ("0", "UC", Failure.RESET),
        ("0", "UR", Failure.RESET),
        ("200", "UPE", Failure.RESET),
        ("0", "UF,URX", Failure.CONNECT),
        ("0", "-", None),  # the client left before anything came
        ("0", "DC", None),
    ],
)
def test_what_counts_against_a_target(status: str, flags: str, failure: Failure | None) -> None:
    assert attempt(status=status, flags=flags).failure is failure


def test_an_attempt_without_an_answer_has_no_status_and_no_first_byte() -> None:
    found = attempt(status="0", first_byte_us="-", last_byte_us="-", duration_ms="499")
    assert (found.status, found.ttfb_ms, found.duration_ms) == (None, None, 499.0)


def test_only_headers_about_limits_are_taken_over_and_only_those_that_came() -> None:
    found = attempt(**{"retry-after": "7", "x-ratelimit-remaining-requests": "3", "x-secret": "s"})
    assert found.headers == {"retry-after": "7", "x-ratelimit-remaining-requests": "3"}


@pytest.mark.parametrize(
    ("content_type", "streamed"),
    [("text/event-stream; charset=utf-8", True), ("application/json", False), ("-", False)],
)
def test_a_stream_is_known_by_its_content_type(content_type: str, *, streamed: bool) -> None:
    assert attempt(content_type=content_type).streamed is streamed


def test_an_attempt_that_reached_no_target_tells_nothing() -> None:
    assert only(attempts({"target": "-"})) is None


def test_a_request_says_how_it_ended() -> None:
    found = ended()
    assert (found.target, found.attempts, found.status) == ("openai/gpt-4o", 1, 200)
    assert (found.ttfb_ms, found.duration_ms, found.ending) == (320.0, 1850.0, Ending.COMPLETE)
    assert found.usage == Usage(800, 200, cache_read_tokens=500, reasoning_tokens=50)
    assert found.reported_model == "gpt-4o-2024-08-06"
    assert found.traceparent is None


@pytest.mark.parametrize(
    ("flags", "upstream_us", "ending"),
    [
        ("-", "315000", Ending.COMPLETE),
        ("UPE", "315000", Ending.TRUNCATED),
        ("UR", "315000", Ending.TRUNCATED),
        ("SI", "315000", Ending.TRUNCATED),
        ("DC", "315000", Ending.ABORTED),
        ("DC", "-", Ending.ABORTED),
        ("UF,URX", "-", Ending.COMPLETE),  # nobody could be reached: there is nothing to cut off
    ],
)
def test_how_an_answer_ended(flags: str, upstream_us: str, ending: Ending) -> None:
    assert ended(flags=flags, upstream_us=upstream_us).ending is ending


def test_a_target_that_did_not_answer_is_not_who_served() -> None:
    assert ended(upstream_us="-", status="503").target is None
    assert ended(target="-", upstream_us="-").target is None


def test_an_answer_whose_last_byte_never_went_out_is_truncated() -> None:
    """Envoy has no flag for a stream that the router took apart and did not put together again."""
    cut: dict[str, str] = {"last_byte_us": "-", "flags": "-"}
    assert ended(**cut).ending is Ending.TRUNCATED
    assert ended(**cut, told=told()).ending is Ending.TRUNCATED
    assert ended(**cut | {"flags": "DC"}).ending is Ending.ABORTED
    assert ended(**cut, upstream_us="-").ending is Ending.COMPLETE  # there was nothing to cut off


@pytest.mark.parametrize("missing", ["input_tokens", "output_tokens"])
def test_half_a_usage_is_none(missing: str) -> None:
    assert ended(**{missing: "-"}).usage is None


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": "0", "output_tokens": "0"},  # what Envoy says if it could not read them
        {"input_tokens": "0"},
        {"input_tokens": "-5"},
        {"output_tokens": "-5"},
        {"input_tokens": "1000000000000000000"},
        {"output_tokens": "1000000000000000000"},
    ],
)
def test_counts_that_can_be_none_are_no_usage(counts: dict[str, str]) -> None:
    assert ended(**counts).usage is None
    assert ended(told=told(**{name: int(count) for name, count in counts.items()})).usage is None


def test_an_answer_of_no_tokens_has_a_usage() -> None:
    assert ended(output_tokens="0", reasoning_tokens="-").usage == Usage(800, 0, 500)


@pytest.mark.parametrize(
    ("parts", "usage"),
    [
        ({"cache_read_tokens": 900}, Usage(9, 5, 9)),
        ({"cache_read_tokens": 8, "cache_write_tokens": 8}, Usage(9, 5, 8, 1)),
        ({"reasoning_tokens": 6}, Usage(9, 5, 0, 0, 5)),
        ({"cache_read_tokens": -1, "cache_write_tokens": -1, "reasoning_tokens": -1}, Usage(9, 5)),
    ],
)
def test_no_part_is_larger_than_its_whole(parts: dict[str, int], usage: Usage) -> None:
    """More would make a cost that is negative."""
    assert ended(told=told(**parts)).usage == usage
    whole = {"input_tokens": "9", "output_tokens": "5"}
    unsaid = {"cache_read_tokens": "-", "cache_write_tokens": "-", "reasoning_tokens": "-"}
    said = {name: str(tokens) for name, tokens in parts.items()}
    assert ended(**whole | unsaid | said).usage == usage


def told(**fields: object) -> str:
    return json.dumps({"model": "claude-x", "input_tokens": 9, "output_tokens": 5} | fields)


def test_what_a_translated_answer_told_outranks_what_envoy_read_of_its_translation() -> None:
    usage = {"cache_read_tokens": 4, "cache_write_tokens": 3, "reasoning_tokens": 2}
    found = ended(told=told(**usage))
    assert found.usage == Usage(9, 5, 4, 3, 2)
    assert found.reported_model == "claude-x"
    assert found.ending is Ending.COMPLETE
    assert ended(told=told()).usage == Usage(9, 5)


@pytest.mark.parametrize("missing", ["input_tokens", "output_tokens"])
def test_half_a_usage_that_was_told_is_none_whatever_envoy_read(missing: str) -> None:
    found = ended(told=told(**{missing: None}))
    assert (found.usage, found.reported_model) == (None, "claude-x")


def test_a_translated_answer_that_named_no_model_has_none() -> None:
    assert ended(told="{}").reported_model is None


@pytest.mark.parametrize(
    ("whole", "flags", "upstream_us", "ending"),
    [
        (True, "-", "315000", Ending.COMPLETE),
        (False, "-", "315000", Ending.TRUNCATED),
        (False, "UPE", "315000", Ending.TRUNCATED),
        (True, "UPE", "315000", Ending.TRUNCATED),
        (False, "DC", "315000", Ending.ABORTED),
        (False, "-", "-", Ending.COMPLETE),  # nobody answered
    ],
)
def test_a_translated_answer_that_was_not_whole_is_truncated(
    flags: str, upstream_us: str, ending: Ending, *, whole: bool
) -> None:
    found = ended(told=told(whole=whole), flags=flags, upstream_us=upstream_us)
    assert found.ending is ending


@pytest.mark.parametrize(
    "message",
    [
        attempts({"request_id": "-"}),
        attempts({"attempt": "-"}),
        attempts({"attempt": "first"}),
        attempts({"began": "today"}),
        attempts({"first_byte_us": "1.5"}),
        attempts({"limits": "7\n-"}),
        attempts({"duration_ms": "-", "last_byte_us": "-"}),
        requests({"record": "-"}),
        requests({"status": "ok"}),
        requests({"input_tokens": "many"}),
        requests({"told": "canary"}),
        requests({"told": '{"input_tokens":"many"}'}),
    ],
)
def test_an_entry_that_envoy_would_not_write_is_unreadable(message: bytes) -> None:
    with pytest.raises(UnreadableEntryError) as raised:
        only(message)
    assert not {*ATTEMPT.values(), *REQUEST.values()} & {str(raised.value)}


def test_a_batch_holds_many_entries_in_order() -> None:
    message = attempts({"attempt": "1"}, {"attempt": "2"})
    assert [fields["attempt"] for _, fields in entries_of(message)] == ["1", "2"]


@pytest.mark.parametrize("log", ["", "someone-elses"])
def test_another_log_is_passed_over(log: str) -> None:
    assert only(batch(log, ATTEMPT)) is None


def test_what_is_no_batch_is_a_decode_error() -> None:
    with pytest.raises(DecodeError):
        list(entries_of(b"\xff\xff\xff"))


def test_fields_of_a_later_envoy_configuration_are_ignored() -> None:
    later: dict[str, Any] = {"brand_new": "1"}
    assert attempt(**later) == attempt()
