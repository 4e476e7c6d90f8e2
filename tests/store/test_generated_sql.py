"""Generated SQL: whatever is put together, nothing is changed and failures are QueryErrors."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.connection import Store
from store.errors import QueryError
from store.runs import RunRepository
from store.sandbox import run_query
from tests.store.hostile_statements import PRIVATE, READS_OUTSIDE, SETTINGS_AND_PATHS, WRITES
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens
from tests.store.test_hostile_sql import state_of

TIMEOUT_S = 0.2
BOUND_S = 10.0

_TABLES = st.sampled_from(
    "runs tokens activations features hits saved_queries base.runs base.query_history range(3)"
    " range(99999999) duckdb_settings() duckdb_views() read_text('/etc/passwd') '/etc/passwd'"
    " glob('/*') query('SELECT_1') unnest([1,2])".split()
)
_ATOMS = st.sampled_from(
    "1 2.5 NULL 'x' '' 1e308 run_key prompt position value range * count(*) getenv('HOME')"
    " current_setting('temp_directory') now() 9223372036854775807 -1 [1,2] {'a':1} true".split()
)
_FUNCTIONS = st.sampled_from(
    "abs repeat list sum max string_agg range list_sort json md5 length upper lpad"
    " regexp_replace nextval sleep_ms list_distinct format printf hash".split()
)
_OPERATORS = st.sampled_from(["+", "||", "*", "=", "<", "AND", "LIKE", "~", "IN", "->>", "::"])


def _grow(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}({})".format, _FUNCTIONS, part),
        st.builds("{}({}, {})".format, _FUNCTIONS, part, part),
        st.builds("({} {} {})".format, part, _OPERATORS, part),
        st.builds("CASE WHEN {} THEN {} END".format, part, part),
        st.builds("(SELECT {} FROM {})".format, part, _TABLES),
        st.builds("{} OVER (ORDER BY {})".format, part, part),
    )


EXPRESSIONS = st.recursive(_ATOMS, _grow, max_leaves=5)
SELECTS = st.builds(
    "{}SELECT {} FROM {} {}{}".format,
    st.sampled_from(["", "EXPLAIN ", "EXPLAIN ANALYZE ", "WITH RECURSIVE t AS (SELECT 1) "]),
    EXPRESSIONS,
    _TABLES,
    st.sampled_from(["", "WHERE position > 1 ", "GROUP BY ALL ", "ORDER BY 1 ", ", runs "]),
    st.sampled_from(["", "LIMIT 3", "UNION ALL SELECT 1", "; DROP TABLE base.runs"]),
)
_HOSTILE = st.sampled_from(WRITES + READS_OUTSIDE + SETTINGS_AND_PATHS + PRIVATE)
WRAPPED = st.builds(
    lambda wrapper, statement: wrapper.replace("?", statement),
    st.sampled_from(
        "SELECT * FROM (?)|WITH w AS (?) FROM w|EXPLAIN ?|?; SELECT 1|SELECT (?)|SELECT 1; ?|/**/ ?"
        "|-- \n?|(?)|SELECT 1 UNION ALL ?|? --|DESCRIBE ?".split("|")
    ),
    _HOSTILE,
)
WORDS = st.lists(
    _TABLES
    | _ATOMS
    | _FUNCTIONS
    | st.sampled_from("SELECT FROM WHERE DELETE WITH AS ( ) ; ,".split()),
    max_size=14,
).map(" ".join)


def _grow_number(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, part, st.sampled_from("+ - * /".split()), part),
        st.builds("abs({})".format, part),
        st.builds("length(repeat('x', {}))".format, st.sampled_from(["3", "900", "2000000000"])),
        st.builds("CASE WHEN {} > {} THEN {} END".format, part, part, part),
        st.builds("(SELECT max({}) FROM {})".format, part, _VIEWS),
        st.builds("len(list_transform(range(99), lambda v: v + {}))".format, part),
        st.builds("coalesce(nullif({}, 0), hash({}))".format, part, part),
    )


_VIEWS = st.sampled_from(
    ["runs", "tokens", "activations", "features", "range(3)", "range(99999999)", "runs, tokens"]
)
NUMBERS = st.recursive(st.sampled_from(["1", "2.5", "count(*)", "-7", "pi()"]), _grow_number)
SOUND = st.builds(
    "{}SELECT {} AS n FROM {}{}".format,
    st.sampled_from(["", "EXPLAIN ", "WITH w AS (SELECT 1) "]),
    NUMBERS,
    _VIEWS,
    st.sampled_from(["", " LIMIT 3", " UNION ALL SELECT 1", " HAVING true", " QUALIFY true"]),
)
"""Most of these run: what is generated must reach beyond the guard too."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One run, which must stay as it is."""
    opened = Store.open(tmp_path_factory.mktemp("generated") / "store.duckdb")
    RunRepository(opened).insert_run(SOURCE, make_run(), make_tokens(), make_activations())
    yield opened
    opened.close()


def outcome(store: Store, sql: str) -> str:
    """What a person would see of the statement: its rows, or why there are none."""
    try:
        return str(run_query(store, sql, max_rows=100, timeout_s=TIMEOUT_S).rows)
    except QueryError as error:
        return error.message + error.hint


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sql=SOUND | SELECTS | WRAPPED | WORDS | st.text(max_size=40))
def test_no_generated_statement_changes_anything_or_fails_otherwise_than_it_should(
    store: Store, sql: str
) -> None:
    before, files = state_of(store), set(store.path.parent.iterdir())
    started = time.perf_counter()
    said = outcome(store, sql)
    assert time.perf_counter() - started < BOUND_S
    assert said
    assert str(store.path.parent) not in said
    assert "root:" not in said
    assert state_of(store) == before
    # A sort that spills makes its folder beside the store, and empties it.
    extra = {file for file in store.path.parent.iterdir() if not file.name.endswith(".tmp")}
    assert extra <= files
