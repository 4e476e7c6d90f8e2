"""What features reached in each of some runs: against reading all activations through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from store.cohorts import CohortRepository, Positions
from store.connection import Store
from store.errors import InvalidSpecError, RunNotFoundError
from store.runs import RunRepository
from tests.store.planted import (
    N_PROMPT,
    N_RUNS,
    N_TOKENS,
    PLANTED,
    Planted,
    insert_planted,
    make_planted,
)
from tests.store.samples import make_activations, make_run, make_tokens, renamed


@pytest.fixture(scope="module")
def planted() -> Planted:
    return make_planted()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("planted") / "store.duckdb")
    insert_planted(RunRepository(store), planted)
    other = renamed("other")
    RunRepository(store).insert_run(
        other, make_run(900, source=other), make_tokens(), make_activations()
    )
    yield store
    store.close()


_SPANS: dict[Positions, range] = {
    "all": range(1, N_TOKENS),
    "prompt": range(1, N_PROMPT),
    "generated": range(N_PROMPT, N_TOKENS),
    "last_prompt": range(N_PROMPT - 1, N_PROMPT),
}


@pytest.mark.parametrize("positions", _SPANS)
def test_maxima_of_runs_are_those_of_reading_through(
    filled: Store, planted: Planted, positions: Positions
) -> None:
    span = _SPANS[positions]
    # three of them begin as run 0 does: what fires there is stored with run 0 alone
    chosen = [39, 2, 0, 38, 17, 2]
    keys = [planted.run_key(index) for index in chosen]
    found = CohortRepository(filled).get_run_maxima("planted", keys, positions)
    assert found.run_keys == tuple(keys[:-1])
    assert found.n_asked == 5
    wanted: dict[tuple[int, int], float] = {}
    for number, index in enumerate(chosen[:-1]):
        for _, position, feature, value in planted.of_run(index):
            if position in span:
                place = (number, feature)
                wanted[place] = max(wanted.get(place, 0.0), value)
    places = list(zip(found.run_index.tolist(), found.feature.tolist(), strict=True))
    assert places == sorted(wanted)
    assert found.value.tolist() == pytest.approx([wanted[place] for place in places])
    assert found.n_tokens.tolist() == [len(span)] * 5
    # a token of an odd run fired one feature more than is stored
    assert found.max_active == 3
    assert found.n_capped.tolist() == [len(span) * (index % 2) for index in chosen[:-1]]
    assert found.groups == (None,) * 5


def test_a_large_cohort_is_read_in_parts_and_gives_the_same(
    filled: Store, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohorts = CohortRepository(filled)
    keys = [planted.run_key(index) for index in reversed(range(N_RUNS))]
    whole = cohorts.get_run_maxima("planted", keys, "all")
    monkeypatch.setattr("store.cohorts._BATCH", 700)
    parts = cohorts.get_run_maxima("planted", keys, "all")
    for column in ("run_index", "feature", "value", "n_tokens", "n_capped"):
        np.testing.assert_array_equal(getattr(whole, column), getattr(parts, column))
    assert whole.run_keys == parts.run_keys == tuple(keys)


def test_of_more_than_fits_a_sample_is_read_and_told(filled: Store, planted: Planted) -> None:
    cohorts = CohortRepository(filled)
    keys = [planted.run_key(index) for index in range(N_RUNS)]
    some = cohorts.get_run_maxima("planted", keys, "all", max_activations=1_500)
    assert some.n_asked == N_RUNS
    assert 5 < len(some.run_keys) < 16
    assert list(some.run_keys) == sorted(some.run_keys)
    again = cohorts.get_run_maxima("planted", keys, "all", max_activations=1_500)
    assert again.run_keys == some.run_keys
    alone = cohorts.get_run_maxima("planted", list(some.run_keys), "all")
    np.testing.assert_array_equal(alone.value, some.value)
    assert len(cohorts.get_run_maxima("planted", keys, max_activations=1).run_keys) == 1


def test_runs_that_cannot_be_compared_are_refused(filled: Store, planted: Planted) -> None:
    cohorts = CohortRepository(filled)
    with pytest.raises(RunNotFoundError):
        cohorts.get_run_maxima("planted", [planted.run_key(0), "nowhere \ud800"])
    with pytest.raises(InvalidSpecError, match="another source"):
        cohorts.get_run_maxima("planted", [f"{900:064x}"])
    with pytest.raises(InvalidSpecError, match="positions"):
        cohorts.get_run_maxima("planted", [], "first")  # type: ignore[arg-type]
    nothing = cohorts.get_run_maxima("planted", [])
    assert (nothing.run_keys, len(nothing.value), nothing.n_asked) == ((), 0, 0)


def test_a_source_without_a_cap_has_no_capped_tokens(store: Store, runs: RunRepository) -> None:
    source = replace(PLANTED, name="whole", max_active=None)
    planted = make_planted(1, source)
    insert_planted(runs, planted, source)
    with store.write() as cursor:
        cursor.execute(
            "INSERT INTO base.questions (set_no, question_no, question, aliases, group_name, tools,"
            " needs_tool) VALUES (1, 0, 'q', '[]', 'Ada', 'both', false)"
        )
        cursor.execute(
            "INSERT INTO base.answers SELECT 1, 0, tools, run_no, created_at FROM base.runs"
            " WHERE run_key < ?",
            [planted.run_key(2)],
        )
    keys = [planted.run_key(index) for index in range(3)]
    cohorts = CohortRepository(store)
    found = cohorts.get_run_maxima("whole", keys)
    assert found.max_active is None
    assert not found.n_capped.any()
    assert found.groups == ("Ada", "Ada", None)
    assert cohorts.get_groups(keys) == {keys[0]: "Ada", keys[1]: "Ada"}
