"""A JSON object's top level as spans of bytes: read in one way only, and cut without a scratch."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from extproc.dialects.members import MEMBERS_MAX, MalformedError, Member, members, without
from extproc.dialects.payload import model_prefix
from extproc.vocabulary import UpstreamModel

CANARY = "canary-8d2f"
SAMPLE = (
    rb' { "model" : "gpt-4o" ,"n":-1.5e+3, "stop":["a\"b",null,true ], "mod\u0065":{"a":{"b":[]}},'
    + '"user":"żółw 🐢"\t,\r\n"x":"\\ud83d\\udc22 \\/"}\n'.encode()
)

quickly = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow], database=None
)


def rule_reads(body: bytes) -> dict[str, Any]:
    """What RFC 8259 makes of `body`; numbers as they are written, so that none is too large."""
    objects: list[list[tuple[str, Any]]] = []

    def collected(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        objects.append(pairs)
        return dict(pairs)

    read = json.loads(body.decode(), parse_int=str, parse_float=str, object_pairs_hook=collected)
    assert isinstance(read, dict)
    assert len(read) == len(objects[-1]), "a name stands twice at the top level"
    return read


def replaced(body: bytes, upstream_model: str) -> bytes:
    prefix = model_prefix(UpstreamModel(upstream_model)).encode()
    return prefix + without(body, members(body).get("model"))


# Objects as anybody may write them: any order, any whitespace, any escape where JSON allows one.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.one_of(texts, st.sampled_from(["messages", "modelx", "Model", "", "a,b", '","model":"']))
numbers = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.just(10**40)
)
scalars = st.one_of(st.none(), st.booleans(), numbers, names)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
whitespace = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n", "  \n"])


@st.composite
def written_string(draw: st.DrawFn, text: str) -> str:
    return '"' + "".join(draw(written_character(character)) for character in text) + '"'


def written_character(character: str) -> st.SearchStrategy[str]:
    units = character.encode("utf-16-be")
    ways = ["".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))]
    ways.append(ways[0].replace("\\u", "\\U").upper().replace("\\U", "\\u"))
    ways.append(json.dumps(character)[1:-1])
    if character not in '"\\' and ord(character) >= 0x20:
        ways.append(character)
    if character == "/":
        ways.append("\\/")
    return st.sampled_from(ways)


@st.composite
def written_value(draw: st.DrawFn, value: object) -> str:
    match value:
        case str():
            return draw(written_string(value))
        case list():
            items = [draw(spaced(draw(written_value(item)))) for item in value]
            return "[" + ",".join(items) + "]"
        case dict():
            return draw(written_object(value))
        case _:
            return json.dumps(value)


@st.composite
def spaced(draw: st.DrawFn, text: str) -> str:
    return draw(whitespace) + text + draw(whitespace)


@st.composite
def written_member(draw: st.DrawFn, name: str, value: object) -> str:
    written_name = draw(spaced(draw(written_string(name))))
    return written_name + ":" + draw(spaced(draw(written_value(value))))


@st.composite
def written_object(draw: st.DrawFn, fields: Mapping[str, object]) -> str:
    inside = ",".join(draw(written_member(name, value)) for name, value in fields.items())
    return "{" + (inside or draw(whitespace)) + "}"


@st.composite
def objects(draw: st.DrawFn) -> tuple[dict[str, object], bytes]:
    """Some fields, `model` among them as often as not, and one way to write them."""
    fields = list(draw(st.dictionaries(names, values, max_size=5)).items())
    if draw(st.booleans()):
        fields.insert(draw(st.integers(0, len(fields))), ("model", draw(names)))
    content: dict[str, object] = dict(fields)
    return content, draw(spaced(draw(written_object(content)))).encode()


@given(objects())
@quickly
def test_members_are_what_json_says_they_are(case: tuple[dict[str, object], bytes]) -> None:
    content, body = case
    found = members(body)
    assert list(found) == list(content)
    assert {name: json.loads(member.raw) for name, member in found.items()} == content


@given(objects())
@quickly
def test_a_span_runs_from_the_names_quote_to_the_values_end(
    case: tuple[dict[str, object], bytes],
) -> None:
    _, body = case
    for name, member in members(body).items():
        span = body[member.start : member.end]
        assert span.startswith(b'"')
        assert span.endswith(member.raw)
        assert json.loads(b"{" + span + b"}") == {name: json.loads(member.raw)}


@given(objects(), texts)
@quickly
def test_another_model_in_front_changes_the_model_and_nothing_else(
    case: tuple[dict[str, object], bytes], upstream_model: str
) -> None:
    content, body = case
    assume(content.keys() - {"model"})  # a payload always has messages
    changed = replaced(body, upstream_model)
    assert json.loads(changed) == content | {"model": upstream_model}
    before, after = members(body), members(changed)
    for name in content.keys() - {"model"}:
        assert spelled(changed, after[name]) == spelled(body, before[name])


def spelled(body: bytes, member: Member) -> bytes:
    return body[member.start : member.end]


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (b'{"model":"m","a":1}', b'"a":1}'),
        (b'{"a":1,"model":"m","b":2}', b'"a":1,"b":2}'),
        (b'{"a":1,"model":"m"}', b'"a":1}'),
        (b'{"model":"m"}', b"}"),
        (b'{"a":1}', b'"a":1}'),
        (b"{}", b"}"),
        (b'\r\n{ "model" : "m" , "a" : 1 }\n', b'  "a" : 1 }\n'),
        (b'{ "a" : 1\t,\t"model"\n:\r"m" , "b" : 2 }', b' "a" : 1\t,\t "b" : 2 }'),
        (b'{ "a" : 1 , "model" : "m" } ', b' "a" : 1 } '),
        (b'{ "model" : "m" }', b"}"),
        (rb'{"mod\u0065l":"m","a":1}', b'"a":1}'),
        (b'{"model":{"a":[1,{"model":2}]},"a":1}', b'"a":1}'),
    ],
)
def test_the_rest_is_all_that_follows_the_brace_but_the_model(body: bytes, rest: bytes) -> None:
    assert without(body, members(body).get("model")) == rest


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"model":1},"model":2}',
        b'{"a":[{"b":1},{"b":1}],"b":1}',
        rb'{"a":"\",\"model\":\"x","model":"y"}',
        b'{"model ":1,"model":1}',
        b'{"Model":1,"model":1}',
        b'{"":1,"model":1}',
        rb'{"a":"\\","model":"\\"}',
        rb'{"a":"\\\"","model":",\"model\":1}"}',
        b'{"a":1,"model":1}',
    ],
)
def test_what_only_looks_like_a_second_name_is_none(body: bytes) -> None:
    found = members(body)
    assert {name: json.loads(member.raw) for name, member in found.items()} == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","x":1,"model":"a"}',
        b'{"x":1,"model":"a","y":2,"model":"b","z":3}',
        rb'{"mod\u0065l":"a","model":"a"}',
        rb'{"model":"a","mod\u0065l":"b"}',
        rb'{"\u006dodel":"a","mod\u0065l":"a"}',
        b'{"n":1,"n":12}',
        b'{"n":12,"n":1}',
        b'{"n":1,"n":1.0}',
        b'{"n":1.0,"n":1}',
        b'{"n":-1,"n":-1e5}',
        b'{"n":1e5,"n":1}',
        b'{"n":[],"n":[]}',
        b'{"n":{"n":1},"n":{"n":1}}',
        b'{"n":null , "n" : null}',
        b'{"n":"","n":""}',
        b'{"":1,"":1}',
        rb'{"model":"\",\"model\":\"b","model":"b"}',
        rb'{"model":"b","model":"\",\"model\":\"b"}',
        rb'{"model":"a\"","model":"a"}',
        b'{"a":1,"a":1,"a":1}',
        b'{"a":1,"b":1,"b":1,"a":1}',
        b'{"\xc4\x85":1,"\\u0105":1}',
        rb'{"\ud83d\udc22":1,"\uD83D\uDC22":1}',
    ],
)
def test_a_name_that_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError, match="stands twice"):
        members(body)


@given(st.data(), objects())
@quickly
def test_a_second_member_of_any_name_anywhere_in_any_spelling_is_refused(
    data: st.DataObject, case: tuple[dict[str, object], bytes]
) -> None:
    content, _ = case
    assume(content)
    name = data.draw(st.sampled_from(list(content)))
    value = data.draw(st.one_of(st.just(content[name]), values))
    written = [data.draw(written_member(key, held)) for key, held in content.items()]
    again = data.draw(written_member(name, value))
    written.insert(data.draw(st.integers(0, len(written))), again)
    with pytest.raises(MalformedError, match="stands twice"):
        members(("{" + ",".join(written) + "}").encode())


def test_a_body_cut_short_anywhere_is_malformed() -> None:
    assert members(SAMPLE)
    complete = SAMPLE.rindex(b"}") + 1
    for length in range(complete):
        with pytest.raises(MalformedError):
            members(SAMPLE[:length])


def test_a_byte_that_is_not_utf8_is_malformed_wherever_it_stands() -> None:
    for position in range(len(SAMPLE) + 1):
        for byte in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"):
            with pytest.raises(MalformedError):
                members(SAMPLE[:position] + byte + SAMPLE[position:])


def test_a_nul_is_malformed_wherever_it_stands() -> None:
    for position in range(len(SAMPLE) + 1):
        with pytest.raises(MalformedError):
            members(SAMPLE[:position] + b"\0" + SAMPLE[position:])


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32"),
        b"",
        b" ",
        b"[]",
        b"null",
        b'"text"',
        b"5",
        b"{}{}",
        b'{"a":1}]',
        b'{"a":1,}',
        b'{,"a":1}',
        b'{"a" 1}',
        b"{a:1}",
        b"{'a':1}",
        b"{1:1}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":0x1}',
        b'{"a":1e}',
        b'{"a":tru}',
        b'{"a":"\n"}',
        b'{"a\t":1}',
        b'{"a":{"b":"\x1f"}}',
        rb'{"a":"\q"}',
        rb'{"a":"\u12G4"}',
        b'{"a":1} // comment',
        b'/**/{"a":1}',
        b'{"a":1}\x0b',
    ],
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        members(body)


@pytest.mark.parametrize("depth", [10_000, 100_000])
@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ("[", ""), ('{"a":', "")]
)
def test_absurd_nesting_is_malformed_and_no_crash(opening: str, closing: str, depth: int) -> None:
    deep = opening * depth + "1" + closing * depth
    with pytest.raises(MalformedError, match="nested too deeply"):
        members(f'{{"a":{deep}}}'.encode())


def test_a_body_of_nothing_but_brackets_is_malformed() -> None:
    for opening in (b"[", b"{", b'{"":'):
        with pytest.raises(MalformedError):
            members(opening * 100_000)


@pytest.mark.parametrize(
    "number", ["9" * 10_000, "-" + "9" * 10_000, "1e999999", "-1E-999999", "0." + "1" * 10_000]
)
def test_a_huge_number_stays_the_bytes_it_is(number: str) -> None:
    assert members(f'{{"n":{number},"m":1}}'.encode())["n"].raw == number.encode()


@pytest.mark.parametrize(
    "text", [r"\ud800", r"\udc00", r"\udc00\ud800", r"\ud800\ud800\udc00", r"a\ud83d\"", r"\ud83dA"]
)
@pytest.mark.parametrize("body", ['{"a":"%s","b":1}', '{"%s":1,"b":1}', '{"a":{"%s":["%s"]}}'])
def test_half_a_surrogate_pair_is_malformed_or_what_json_says(text: str, body: str) -> None:
    agrees_or_refuses(body.replace("%s", text).encode())


def test_more_members_than_any_api_has_are_refused() -> None:
    def body(count: int) -> bytes:
        return json.dumps({str(i): i for i in range(count)}).encode()

    assert len(members(body(MEMBERS_MAX))) == MEMBERS_MAX
    with pytest.raises(MalformedError, match=f"more than {MEMBERS_MAX} fields"):
        members(body(MEMBERS_MAX + 1))


def test_what_is_wrong_is_said_without_the_content() -> None:
    whole = json.dumps({"a": CANARY, "b": [CANARY, {"c": CANARY}]}).encode()
    broken = [whole[:length] for length in range(len(whole))]
    broken += [whole.replace(b"canary", b) for b in (b"\xff", b"\0", b"\\q", b'"', b"\\ud800")]
    broken += [f'["{CANARY}"]'.encode(), f'{{"a":"{CANARY}","a":"{CANARY}"}}'.encode()]
    for body in broken:
        with pytest.raises(MalformedError) as caught:
            members(body)
        assert CANARY[-4:] not in str(caught.value)


def agrees_or_refuses(body: bytes) -> None:
    """`MalformedError`, or what JSON's own rules say; never another exception."""
    try:
        found = members(body)
    except MalformedError:
        return
    content = rule_reads(body)
    assert list(found) == list(content)
    for name, member in found.items():
        raw = member.raw.decode()
        assert json.loads(raw, parse_int=str, parse_float=str) == content[name]
    if content.keys() - {"model"}:
        assert rule_reads(replaced(body, "other")) == content | {"model": "other"}


@given(st.binary(max_size=64))
@example(b"{}")
@quickly
def test_bytes_of_any_kind_are_read_rightly_or_refused(body: bytes) -> None:
    agrees_or_refuses(body)


TOKENS = (
    *("{", "}", "[", "]", ",", ":", " ", "\n", '"', "\\", '"a"', '"model"', r'"mod\u0065l"'),
    *('"', "1", "12", "-", "0", ".5", "e9", "null", "true", r'"\""', r'"\\"', "é", "\0", "\ufeff"),
    *('"a":1', '"model":"m",', r"\ud83d", r"\udc22", '","model":"', '"b":{"model":[]}'),
)


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
@quickly
def test_pieces_of_json_in_any_order_are_read_rightly_or_refused(inside: str) -> None:
    agrees_or_refuses(("{" + inside + "}").encode())
    agrees_or_refuses(inside.encode())


def changes() -> Iterator[bytes]:
    """`SAMPLE` with one byte dropped, doubled or replaced, at every place."""
    for position in range(len(SAMPLE)):
        before, byte, after = (
            SAMPLE[:position],
            SAMPLE[position : position + 1],
            SAMPLE[position + 1 :],
        )
        yield before + after
        yield before + byte + byte + after
        for other in b'"\\{}[]:,1 e\n\xc5':
            yield before + bytes([other]) + after


def test_a_sample_with_any_one_byte_changed_is_read_rightly_or_refused() -> None:
    for body in changes():
        agrees_or_refuses(body)
