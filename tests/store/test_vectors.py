"""Vectors, residual norms, and what interventions achieved: kept, found, described, removed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from store.connection import Store
from store.errors import InvalidSpecError, VectorNotFoundError
from store.feature_maxima import find_unsteered_max
from store.keys import source_id
from store.records import WholeRun
from store.removal import delete_runs
from store.residual_norms import ResidualNormRepository
from store.run_interventions import RunInterventionRepository
from store.runs import RunRepository
from store.sandbox import run_query
from store.specs import Intervention, SteeringSpec
from store.steering_records import ResidualNorm, RunIntervention, VectorDraft
from store.vectors import VectorRepository, read_vectors
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

DRAFT = VectorDraft(
    "happy",
    "org/model",
    "a" * 40,
    3,
    "difference_of_means",
    "ada",
    concept="happy",
    n_pairs=20,
    reliability=0.9,
    residual_norm=12.5,
    content='{"pairs": [["glad", "sad"]]}',
)
VALUES = np.array([0.5, -2.0, 0.0, 1e-30], np.float32)


@pytest.fixture
def vectors(store: Store) -> VectorRepository:
    return VectorRepository(store)


def test_a_vector_is_kept_with_its_values(vectors: VectorRepository) -> None:
    kept = vectors.insert_vector(DRAFT, VALUES)
    assert len(kept.vector_id) == 20
    assert (kept.name, kept.d_model, kept.site) == ("happy", 4, "resid_post")
    assert kept.norm == pytest.approx(np.linalg.norm(VALUES))
    assert kept.content == DRAFT.content
    assert vectors.get_values(kept.vector_id).tobytes() == VALUES.tobytes()
    assert vectors.get_vector(kept.vector_id) == kept


def test_the_same_numbers_in_the_same_place_are_one_vector(vectors: VectorRepository) -> None:
    first = vectors.insert_vector(DRAFT, VALUES)
    assert vectors.insert_vector(replace(DRAFT, name="other"), VALUES) == first
    changes: tuple[dict[str, Any], ...] = (
        {"layer": 4},
        {"site": "resid_pre"},
        {"model_id": "org/other"},
        {"model_revision": "b" * 40},
    )
    others = {vectors.insert_vector(replace(DRAFT, **change), VALUES) for change in changes}
    assert len({item.vector_id for item in others} | {first.vector_id}) == 5
    assert vectors.insert_vector(DRAFT, -VALUES).vector_id != first.vector_id


def test_vectors_are_listed_by_model_concept_and_layer(vectors: VectorRepository) -> None:
    made = [
        vectors.insert_vector(replace(DRAFT, layer=layer, concept=concept), VALUES * (layer + 1))
        for layer in (0, 1)
        for concept in ("happy", "sad")
        if (layer, concept) != (1, "sad")
    ]
    assert {item.vector_id for item in vectors.list_vectors()} == {v.vector_id for v in made[:]}
    assert [item.layer for item in vectors.list_vectors(layer=1)] == [1]
    assert len(vectors.list_vectors("org/model", limit=1)) == 1
    assert vectors.list_vectors("org/other") == ()
    assert {item.concept for item in vectors.list_vectors(concept="happy")} == {"happy"}


@pytest.mark.parametrize(
    "values",
    [
        [np.nan, 1.0],
        [np.inf, 1.0],
        [1e300, 1.0],
        [0.0, 0.0],
        [-0.0, 0.0],
        [],
        [[1.0, 2.0]],
        np.ones(1_000_001),
    ],
)
def test_values_that_point_nowhere_are_refused(vectors: VectorRepository, values: Any) -> None:
    with pytest.raises(InvalidSpecError):
        vectors.insert_vector(DRAFT, np.array(values))
    assert vectors.list_vectors() == ()


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"name": "x" * 201},
        {"name": "\ud800"},
        {"site": "mlp"},
        {"layer": -1},
        {"content": "{"},
        {"reliability": float("nan")},
    ],
)
def test_what_is_said_of_a_vector_must_make_sense(
    vectors: VectorRepository, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidSpecError):
        vectors.insert_vector(replace(DRAFT, **change), VALUES)


def test_a_vector_that_is_not_there_is_said_so(store: Store, vectors: VectorRepository) -> None:
    for vector_id in ("0" * 20, "\ud800"):
        assert vectors.find_vector(vector_id) is None
        assert vectors.delete_vector(vector_id) is False
        with pytest.raises(VectorNotFoundError):
            vectors.get_vector(vector_id)
        with pytest.raises(VectorNotFoundError):
            vectors.get_values(vector_id)
    spec = SteeringSpec((Intervention("add", 1.0, vector_id="0" * 20),))
    with pytest.raises(VectorNotFoundError):
        read_vectors(store, spec)


def test_a_vector_that_a_run_was_steered_with_stays(
    vectors: VectorRepository, runs: RunRepository
) -> None:
    used, unused = vectors.insert_vector(DRAFT, VALUES), vectors.insert_vector(DRAFT, 2 * VALUES)
    run = replace(make_run(1), steering=f'[{{"vector_id":"{used.vector_id}"}}]')
    runs.insert_run(SOURCE, run, make_tokens(), make_activations())
    with pytest.raises(InvalidSpecError, match="1 stored runs"):
        vectors.delete_vector(used.vector_id)
    assert vectors.delete_vector(unused.vector_id) is True
    assert vectors.list_vectors() == (used,)
    delete_runs(runs.store, [run.run_key])
    assert vectors.delete_vector(used.vector_id) is True


def test_norms_are_measured_once(store: Store) -> None:
    norms = ResidualNormRepository(store)
    assert norms.find_norms("demo-1") is None
    first = [ResidualNorm(-1, 1.0, 0.1, 50), ResidualNorm(0, 2.0, 0.2, 50)]
    norms.insert_norms("demo-1", first, "texts 1")
    norms.insert_norms("demo-1", [ResidualNorm(-1, 9.0, 0.9, 9)], "texts 2")
    assert norms.find_norms("demo-1") == {item.layer: item for item in first}
    rows = run_query(
        store, "SELECT layer, mean_norm, texts FROM residual_norms ORDER BY layer"
    ).rows
    assert [tuple(row) for row in rows] == [(-1, 1.0, "texts 1"), (0, 2.0, "texts 1")]


RESULT = RunIntervention(
    0, "add", 7, None, 1, "answering", "norm", 0.5, 3.25, "activation", 4.0, 0.75, 3.5, 6
)
NEVER = replace(
    RESULT, number=1, requested=None, achieved_before=None, achieved_after=None, n_positions=0
)


def test_what_interventions_achieved_comes_and_goes_with_their_run(
    store: Store, runs: RunRepository
) -> None:
    run = replace(make_run(1), steering='[{"kind":"add"}]')
    whole = WholeRun(run, make_tokens(), make_activations(), None, (RESULT, NEVER))
    runs.insert_runs(SOURCE, [whole, WholeRun(make_run(2), make_tokens(), make_activations())])
    results = RunInterventionRepository(store)
    assert results.list_interventions(run.run_key) == (RESULT, NEVER)
    assert results.list_interventions(make_run(2).run_key) == ()
    assert results.list_interventions("\ud800") == ()
    rows = run_query(
        store, "SELECT run_key, raw_strength, achieved_after FROM run_interventions ORDER BY number"
    ).rows
    assert [tuple(row) for row in rows] == [(run.run_key, 3.25, 3.5), (run.run_key, 3.25, None)]
    delete_runs(store, [run.run_key])
    assert results.list_interventions(run.run_key) == ()


def test_the_maximum_of_a_feature_is_that_of_unsteered_runs(
    store: Store, runs: RunRepository
) -> None:
    source = source_id(SOURCE)
    assert find_unsteered_max(store, source, 7) is None
    plain = make_activations(seed=1)
    runs.insert_run(SOURCE, make_run(1), make_tokens(), plain)
    most = float(plain.value[plain.feature == 7].max())
    assert find_unsteered_max(store, source, 7) == most
    driven = replace(make_run(2), steering='[{"kind":"add"}]')
    runs.insert_run(SOURCE, driven, make_tokens(), make_activations(seed=50))
    assert find_unsteered_max(store, source, 7) == most
    assert find_unsteered_max(store, source, 3) is None
    with pytest.raises(InvalidSpecError):
        find_unsteered_max(store, source, 10**6)
