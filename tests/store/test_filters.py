"""The filter language: what it means, how it refuses, and that no text gets past it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store.connection import Store
from store.errors import (
    FeatureListNotFoundError,
    InvalidSpecError,
    QueryError,
    SourceNotFoundError,
)
from store.feature_search import FeatureSearchRepository
from store.filter_fields import fields_of
from store.filters import FilterKind, parse_filter
from store.records import Run, WholeRun
from store.run_sets import RunSetRepository
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens, renamed

N_RUNS = 12
START = datetime(2030, 1, 1, tzinfo=UTC)


def _run(index: int) -> Run:
    """Runs that differ in everything that a filter can ask for."""
    return replace(
        make_run(index),
        prompt=f"Where was Person {index} born?",
        response="I do not know." if index % 3 else "In Rome (100%).",
        tools=index % 2 == 0,
        steering="[]" if index < 8 else '[{"kind": "add"}]',
        created_by="ada" if index < 6 else "Bob",
        created_at=START + timedelta(days=index),
        temperature=index / 10,
        seed=index,
        finish_reason="stop" if index % 4 else "length",
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("filters") / "store.duckdb")
    runs = RunRepository(store)
    for index in range(N_RUNS):
        whole = WholeRun(_run(index), make_tokens(), make_activations(index))
        runs.insert_runs(SOURCE, [whole])
    other = renamed("other")
    runs.insert_run(other, make_run(99, source=other), make_tokens(), make_activations())
    with store.write() as cursor:
        cursor.execute(
            "INSERT INTO base.outcomes (run_no, outcome, method, judge, created_by, created_at)"
            " SELECT run_no, if(seed % 3 = 0, 'CONFABULATION', 'correct'), 'world', 'w', 'ada',"
            " created_at FROM base.runs WHERE seed < 6"
        )
    yield store
    store.close()


def _is_confabulation(run: Run) -> bool:
    return run.seed < 6 and run.seed % 3 == 0


MEANINGS: list[tuple[str, Callable[[Run], bool]]] = [
    ("", lambda run: True),
    ("rome", lambda run: "Rome" in run.response),
    ('"person 1 born"', lambda run: "Person 1 born" in run.prompt),
    ("person born", lambda run: True),
    ("prompt:rome", lambda run: False),
    ("tools:yes", lambda run: run.tools),
    ("NOT tools:yes", lambda run: not run.tools),
    ("NOT NOT tools:on", lambda run: run.tools),
    ("steered:no", lambda run: run.steering == "[]"),
    ("by:bob", lambda run: run.created_by == "Bob"),
    ("tools:yes by:ada", lambda run: run.tools and run.created_by == "ada"),
    ("tools:yes AND by:ada", lambda run: run.tools and run.created_by == "ada"),
    ("tools:yes OR by:ada", lambda run: run.tools or run.created_by == "ada"),
    (
        "by:ada tools:yes OR by:bob tools:no",
        lambda run: run.tools == (run.created_by == "ada"),
    ),
    (
        "by:ada (tools:yes OR seed:1)",
        lambda run: run.created_by == "ada" and (run.tools or run.seed == 1),
    ),
    ("NOT (tools:yes OR by:ada)", lambda run: not run.tools and run.created_by != "ada"),
    ("seed>=3 seed < 7", lambda run: 3 <= run.seed < 7),
    ("seed:3..6", lambda run: 3 <= run.seed <= 6),
    ("temperature<=30%", lambda run: run.temperature <= 0.3),
    ("after:2030-01-04", lambda run: run.created_at >= START + timedelta(days=3)),
    ("before:2030-01-04T01:00+01:00", lambda run: run.created_at < START + timedelta(days=3)),
    ("outcome:confabulation", _is_confabulation),
    ("verdict:made_up", _is_confabulation),
    ("verdict:Correct", lambda run: run.seed < 6 and not _is_confabulation(run)),
    ("NOT outcome:confabulation", lambda run: not _is_confabulation(run)),
    ("judged:yes", lambda run: run.seed < 6),
    ("finish:LENGTH", lambda run: run.finish_reason == "length"),
    (f"run:{7:064x}", lambda run: run.seed == 7),
    ("set:none OR group:none OR slice:x OR topic:y OR subject:z", lambda run: False),
    ("100%", lambda run: "100%" in run.response),
    ('"; DROP TABLE base.runs; --"', lambda run: False),
    ("kind:generation n_tokens:6 n_prompt_tokens<4 n_generated_tokens>2", lambda run: True),
    ('sql:"SELECT run_key FROM runs WHERE seed = 5"', lambda run: run.seed == 5),
    (
        'NOT sql:"SELECT run_key, ""prompt"" FROM runs WHERE seed > 2" tools:yes',
        lambda run: run.seed <= 2 and run.tools,
    ),
]


@pytest.mark.parametrize(("where", "passes"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_a_filter_of_runs_means_what_it_says(
    filled: Store, where: str, passes: Callable[[Run], bool]
) -> None:
    sets = RunSetRepository(filled)
    wanted = [run.run_key for run in map(_run, reversed(range(N_RUNS))) if passes(run)]
    assert list(sets.list_run_keys(where, "demo")) == wanted
    assert sets.count_runs(where, "demo") == len(wanted)
    assert list(sets.list_run_keys(where, "demo", limit=2)) == wanted[:2]


def test_without_a_source_all_sources_are_meant(filled: Store) -> None:
    sets = RunSetRepository(filled)
    assert sets.count_runs() == N_RUNS + 1
    assert sets.count_runs("source:other") == 1
    assert sets.count_runs("source:other", "demo") == 0
    with pytest.raises(SourceNotFoundError):
        sets.count_runs("", "nowhere")


REFUSALS = [
    ("colour:red", "runs", r"no field 'colour' of runs \(at character 1"),
    ("tools:yes AND desnity<1", "runs", "at character 15"),
    ("density<1", "runs", "no field 'density' of runs"),
    ("tools:maybe", "runs", "tools takes yes or no"),
    ("tools>1", "runs", "tools is not a number"),
    ("seed:many", "runs", "seed takes a number"),
    ("seed<1..2", "runs", "seed takes a number"),
    ("seed:nan", "runs", "seed takes a number"),
    ("seed:1e999", "runs", "seed takes a number"),
    ("after:yesterday", "runs", "after takes a date"),
    ("kind:song", "runs", "one of generation, text"),
    ("(tools:yes", "runs", "not closed"),
    ("tools:yes)", "runs", "never opened"),
    ('"open', "runs", "quote is not closed"),
    ("tools:", "runs", "no value"),
    ('prompt:" "', "runs", "empty value"),
    ("AND tools:yes", "runs", "condition is missing"),
    ("tools:yes OR", "runs", "condition is missing"),
    ("NOT", "runs", "condition is missing"),
    ("()", "runs", "condition is missing"),
    ("(" * 100 + "a" + ")" * 100, "runs", "too deeply"),
    ("a " * 300, "runs", "more than 200 conditions"),
    ("a" * 20_001, "runs", "20,001 characters"),
    ("\ud800", "runs", "Unicode"),
    ("feature:x", "features", "number of a feature"),
    ("origin:oracle", "features", "one of human, auto, model"),
    ("text:birds", "features", "no field 'text'"),
]


@pytest.mark.parametrize(("text", "kind", "says"), REFUSALS, ids=[r[0][:20] for r in REFUSALS])
def test_a_filter_that_cannot_be_read_is_refused_with_its_place(
    text: str, kind: FilterKind, says: str
) -> None:
    with pytest.raises(InvalidSpecError, match=says) as refused:
        parse_filter(text, kind)
    assert refused.value.hint or "Unicode" in says


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DROP TABLE runs", "not allowed"),
        ("SELECT run_key FROM base.runs", "Only the public views"),
        ("SELECT 1", "no column run_key"),
        ("SELECT run_key FROM nowhere", "does not exist"),
        ("COPY runs TO '/tmp/x'", "not allowed"),
    ],
)
def test_sql_in_a_filter_is_held_to_the_sandbox(filled: Store, sql: str, says: str) -> None:
    with pytest.raises((QueryError, InvalidSpecError), match=says):
        RunSetRepository(filled).count_runs(f'sql:"{sql}"')


def test_every_field_has_an_example_that_can_be_asked_for(filled: Store, tmp_path: Path) -> None:
    sets, features = RunSetRepository(filled), FeatureSearchRepository(filled)
    for field in fields_of("runs"):
        assert sets.count_runs(field.example) >= 0, field.name
    for field in fields_of("features"):
        if field.name != "list":
            assert features.search_features("demo", field.example).n_found >= 0, field.name


_PIECES = st.sampled_from(
    [
        *(field.name for field in (*fields_of("runs"), *fields_of("features"))),
        *"AND OR NOT ( ) \" ' : < <= > >= = .. % ; -- ' * _ \\ $1 ? {v} {op}".split(" "),
        "yes",
        "1",
        "-1e3",
        "2030-01-01",
        "x'); DROP TABLE base.runs; --",
        "' OR 1=1",
        'sql:"DELETE FROM runs"',
        " ",
        "\n",
        "é\u0130",
    ]
)
_TEXTS = st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=12).map("".join))


@given(text=_TEXTS, kind=st.sampled_from(["runs", "features"]))
@example(text="after:0001-01-01T00:00+23:59", kind="runs")
@example(text="seed:-1..1 n:1..", kind="runs")
def test_any_text_is_read_or_refused_and_changes_nothing(
    filled: Store, text: str, kind: FilterKind
) -> None:
    before = filled.data_version
    try:
        if kind == "runs":
            count = RunSetRepository(filled).count_runs(text, "demo")
            assert 0 <= count <= N_RUNS
        else:
            FeatureSearchRepository(filled).search_features("demo", text, limit=1)
    except (InvalidSpecError, QueryError, FeatureListNotFoundError):
        pass  # refused: what DuckDB itself refuses would be a StoreUnusableError
    assert filled.data_version == before
    assert RunSetRepository(filled).count_runs() == N_RUNS + 1
