"""Rankings and shadings of a run, against a plain computation over its activations."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.links import COLOURS
from dashboard.run_view import RunView
from dashboard.shading import Shading, feature_shading, model_shading
from store.keys import run_key
from store.records import Activations
from store.specs import Message, RunSpec
from tests.dashboard.fake_engine import SOURCE, make_run

SPEC = RunSpec(source=SOURCE, messages=(Message("user", "one two three four"),))
N_TOKENS = 11
FIRST_GENERATED = 5
Cells = dict[tuple[int, int], float]
CELLS = st.dictionaries(
    st.tuples(st.integers(0, N_TOKENS - 1), st.integers(0, 30)),
    st.floats(0.125, 1024, width=32),
    max_size=60,
)


def view_of(cells: Cells) -> RunView:
    run, tokens, _ = make_run(SPEC, run_key(SPEC, "1"))
    places = sorted(cells)
    return RunView(
        run,
        tokens,
        Activations(
            np.array([p for p, _ in places], np.int32),
            np.array([f for _, f in places], np.int32),
            np.array([cells[place] for place in places], np.float32),
        ),
    )


@given(CELLS, st.integers(0, N_TOKENS - 1))
def test_a_tokens_features_are_all_of_its_activations_strongest_first(
    cells: Cells, position: int
) -> None:
    found = view_of(cells).token_features(position)
    wanted = {f: value for (p, f), value in cells.items() if p == position}
    assert {item.feature: item.value for item in found} == pytest.approx(wanted)
    assert [item.value for item in found] == sorted((i.value for i in found), reverse=True)
    for item in found:
        everywhere = [value for (_, f), value in cells.items() if f == item.feature]
        assert item.n_tokens == len(everywhere)
        assert item.of_max == pytest.approx(item.value / max(everywhere))
    assert sum(item.share for item in found) == pytest.approx(1.0 if wanted else 0.0)


@given(CELLS, st.booleans())
def test_a_runs_features_are_ranked_by_their_maximum(cells: Cells, generated_only: bool) -> None:
    ranking = view_of(cells).run_features(1000, generated_only)
    found = ranking.listed
    wanted: dict[int, list[float]] = defaultdict(list)
    for (position, feature), value in cells.items():
        if position >= FIRST_GENERATED or not generated_only:
            wanted[feature].append(value)
    assert {item.feature: item.max_value for item in found} == pytest.approx(
        {feature: max(values) for feature, values in wanted.items()}
    )
    assert {item.feature: item.n_tokens for item in found} == {
        feature: len(values) for feature, values in wanted.items()
    }
    assert {item.feature: item.sum_value for item in found} == pytest.approx(
        {feature: sum(values) for feature, values in wanted.items()}, rel=1e-4
    )
    assert all(cells[item.max_position, item.feature] == item.max_value for item in found)
    assert ranking.n_features == len(wanted)
    assert [item.max_value for item in found] == sorted((i.max_value for i in found), reverse=True)


@given(CELLS, st.integers(0, 30))
def test_a_features_shading_is_zero_exactly_where_it_is_not_active(
    cells: Cells, feature: int
) -> None:
    shading = feature_shading(view_of(cells), feature, None)
    active = {position for position, f in cells if f == feature}
    shades = {position: shading.shade(position) for position in range(N_TOKENS)}
    assert {position for position, shade in shades.items() if shade is not None} == active
    assert all(0 < shade <= 1 for shade in shades.values() if shade is not None)
    if active:
        assert max(shade for shade in shades.values() if shade is not None) == 1


def test_a_feature_that_is_not_active_says_so_in_the_legend() -> None:
    assert "not active" in feature_shading(view_of({}), 7, None).title


@pytest.mark.parametrize("colour", [name for name in COLOURS if name != "feature"])
def test_numbers_of_the_model_shade_tokens_between_nothing_and_all(colour: str) -> None:
    shading: Shading = model_shading(view_of({}), colour)  # type: ignore[arg-type]
    shades = [shading.shade(position) for position in range(N_TOKENS)]
    assert all(shade is None or 0 < shade <= 1 for shade in shades)
    assert any(shade is not None for shade in shades)


def test_a_ranking_that_is_cut_says_how_many_features_there_are() -> None:
    ranking = view_of({(0, feature): 1.0 + feature for feature in range(9)}).run_features(3)
    assert (ranking.n_features, [item.feature for item in ranking.listed]) == (9, [8, 7, 6])
