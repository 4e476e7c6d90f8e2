"""Sweeps in the store: cells kept once, sweeps that grow, views that show both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.connection import Store
from store.errors import SweepNotFoundError
from store.sandbox import run_query
from store.sweep_records import CellPlace, Estimate, MeasuredCell, SweepDraft
from store.sweeps import SweepRepository

DRAFT = SweepDraft("a" * 20, "glad", "concept", "demo-0123", "demo", '{"n": 1}', "me")
PLACE = CellPlace(0, "glad", "candidate", "add", None, "b" * 20, 0.5, "norm", 2, False)
CELL = MeasuredCell(
    cell_key="c" * 64,
    source_id="demo-0123",
    steering='[{"kind":"add"}]',
    prefix="",
    split="choose",
    n=12,
    success=Estimate(0.5, 0.25, 0.75),
    coherence=Estimate(-0.1, -0.2, 0.0),
    side_effect=Estimate(),
    results='{"perplexity":2.5}',
    compute_s=0.5,
)


def test_a_sweep_grows_cell_by_cell_and_is_finished(store: Store) -> None:
    sweeps = SweepRepository(store)
    made = sweeps.insert_sweep(DRAFT)
    assert (made.n_cells, made.summary, made.finished_at) == (0, None, None)
    sweeps.insert_cell(DRAFT.sweep_id, PLACE, CELL)
    other = replace(CELL, cell_key="d" * 64, split="report")
    sweeps.insert_cell(DRAFT.sweep_id, replace(PLACE, number=1), other)
    cells = sweeps.list_cells(DRAFT.sweep_id)
    assert [cell.measured for cell in cells] == [CELL, other]
    assert [cell.place for cell in cells] == [PLACE, replace(PLACE, number=1)]
    sweeps.finish_sweep(DRAFT.sweep_id, '{"best":1}')
    done = sweeps.get_sweep(DRAFT.sweep_id)
    assert (done.n_cells, done.summary) == (2, '{"best":1}')
    assert done.finished_at is not None
    # the same sweep asked again is the one that is there
    assert sweeps.insert_sweep(replace(DRAFT, created_by="you")) == done


def test_a_cell_is_kept_once_and_stands_in_many_sweeps(store: Store) -> None:
    sweeps = SweepRepository(store)
    second = replace(DRAFT, sweep_id="e" * 20, name="again")
    for draft in (DRAFT, second):
        sweeps.insert_sweep(draft)
        sweeps.insert_cell(draft.sweep_id, PLACE, CELL)
        sweeps.insert_cell(draft.sweep_id, PLACE, replace(CELL, n=99))
    assert sweeps.find_cell(CELL.cell_key) == CELL
    assert sweeps.find_cell("f" * 64) is None
    assert [len(sweeps.list_cells(d.sweep_id)) for d in (DRAFT, second)] == [1, 1]
    assert {sweep.name for sweep in sweeps.list_sweeps("demo")} == {"glad", "again"}
    assert sweeps.list_sweeps("demo-0123", limit=1)[0].source_name == "demo"
    assert sweeps.list_sweeps("another") == ()


def test_what_is_not_there_says_so(store: Store) -> None:
    sweeps = SweepRepository(store)
    with pytest.raises(SweepNotFoundError) as caught:
        sweeps.get_sweep("\ud800")
    assert caught.value.hint
    assert sweeps.list_cells("nothing") == ()


def test_the_views_show_sweeps_and_cells(store: Store) -> None:
    sweeps = SweepRepository(store)
    sweeps.insert_sweep(DRAFT)
    sweeps.insert_cell(DRAFT.sweep_id, PLACE, CELL)
    query = (
        "SELECT s.name, c.arm, c.strength, c.success, c.side_effect,"
        " c.results ->> 'perplexity' AS perplexity"
        " FROM sweeps AS s JOIN sweep_cells AS c USING (sweep_id)"
    )
    result = run_query(store, query)
    assert list(result.rows) == [("glad", "glad", 0.5, 0.5, None, "2.5")]
