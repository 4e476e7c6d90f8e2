"""Links: every state survives its address, and no address can break a page."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.links import (
    COLOURS,
    GROUPS,
    MARKS,
    MAX_COLUMN_CHARS,
    MAX_SQL_CHARS,
    ORDER,
    POSITIONS,
    ROLES,
    SCOPES,
    SHOWS,
    TOOLS,
    ViewState,
    parse_link,
    to_params,
    to_path,
)

_INDEX = st.integers(0, 2**31 - 1)
_NAME = st.text("abcXYZ019._-", min_size=1, max_size=80)
_ID = st.text("0123456789abcdef", min_size=8, max_size=64)
_COLUMN = st.text(min_size=1, max_size=MAX_COLUMN_CHARS)
_MOMENT = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
STATES = st.builds(
    ViewState,
    source=st.none() | _NAME,
    example=st.none() | _INDEX,
    run=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    job=st.none() | st.text("abcXYZ019_-", min_size=1, max_size=64),
    token=st.none() | _INDEX,
    feature=st.none() | _INDEX,
    colour=st.none() | st.sampled_from(COLOURS),
    scope=st.none() | st.sampled_from(SCOPES),
    q=st.none() | st.text(min_size=1, max_size=300),
    query=st.none() | _ID,
    show=st.none() | st.sampled_from(SHOWS),
    mark=st.none() | st.sampled_from(MARKS),
    x=st.none() | _COLUMN,
    y=st.none() | _COLUMN,
    by=st.none() | _COLUMN,
    find=st.none() | _COLUMN,
    where=st.none() | _COLUMN,
    tab=st.none() | st.text("abcXYZ019_-", min_size=1, max_size=64),
    other=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    list=st.none() | _ID,
    page=st.none() | _INDEX,
    dense=st.none() | st.just("shown"),
    role=st.none() | st.sampled_from(ROLES),
    positions=st.none() | st.sampled_from(POSITIONS),
    groups=st.none() | st.sampled_from(GROUPS),
    tools=st.none() | st.sampled_from(TOOLS),
    outcome=st.none() | st.text("abcXYZ019_-", min_size=1, max_size=64),
    rate=st.none() | st.integers(0, 999).map(lambda part: part / 1000),
    slice=st.none() | _COLUMN,
    curves=st.none() | _COLUMN,
    state=st.none() | _ID,
    at=st.none() | _MOMENT,
)
NAMES = st.sampled_from([*ORDER, "other"])


def is_printable(state: ViewState) -> bool:
    """Whether an address can hold it; control characters and surrogates it cannot."""
    return all(text.isprintable() for text in to_params(state).values())


@given(STATES)
def test_a_state_survives_its_parameters(state: ViewState) -> None:
    parsed = parse_link(to_params(state))
    assert parsed.state == state
    assert parsed.problems == ()


@given(STATES.filter(is_printable))
def test_a_state_survives_the_address_of_its_page(state: ViewState) -> None:
    parts = urlsplit(to_path("ask", state))
    assert parts.path == "/ask"
    assert parse_link(dict(parse_qsl(parts.query, keep_blank_values=True))).state == state


@given(st.dictionaries(NAMES | st.text(max_size=10), st.text(max_size=100), max_size=12))
def test_any_parameters_are_parsed_without_an_error(params: dict[str, str]) -> None:
    parsed = parse_link(params)
    assert parse_link(to_params(parsed.state)).state == parsed.state


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "-1"),
        ("token", "1.5"),
        ("token", "\u0661\u0667"),
        ("token", ""),
        ("token", "99999999999"),
        ("feature", "seven"),
        ("feature", "4294967296"),
        ("run", "abc"),
        ("run", "G" * 64),
        ("run", "a" * 64 + "\n"),
        ("source", "../etc"),
        ("job", "<script>"),
        ("colour", "red"),
        ("scope", "everything"),
        ("q", "x" * (MAX_SQL_CHARS + 1)),
        ("query", "../x"),
        ("query", "short"),
        ("state", "Z" * 20),
        ("show", "everything"),
        ("mark", "pie"),
        ("x", "x" * (MAX_COLUMN_CHARS + 1)),
        ("at", "yesterday"),
        ("at", "20261399T250000.000Z"),
    ],
)
def test_a_malformed_value_is_left_out_and_reported(name: str, value: str) -> None:
    parsed = parse_link({name: value, "source" if name != "source" else "token": "1"})
    assert getattr(parsed.state, name) is None
    assert len(parsed.problems) == 1
    assert name in parsed.problems[0] or "query" in parsed.problems[0]
    assert len(parsed.problems[0]) < 200


def test_parameters_of_others_are_ignored() -> None:
    parsed = parse_link({"embed": "true", "token": "3"})
    assert parsed.state == ViewState(token=3)
    assert parsed.problems == ()
