"""Detectors with their figures and scores; columns of many runs; captured residuals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from store.activations import ActivationRepository
from store.captures import Capture, CaptureRepository
from store.connection import Store
from store.detector_records import Detector, DetectorResult, RunScore, StoredEvaluation
from store.detectors import DetectorRepository
from store.errors import DetectorNotFoundError, RunNotFoundError, SourceNotFoundError
from store.keys import source_id
from store.records import SharedBeginning
from store.removal import delete_runs
from store.run_columns import RunColumnRepository
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

MOMENT = datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC)
DETECTOR = Detector(
    detector_id="d1",
    name="best single feature",
    source_id=source_id(SOURCE),
    kind="candidate",
    features='[{"feature":7,"weight":1}]',
    metrics="[]",
    split_hash="abc",
    evaluation_id="e1",
    method="single_feature",
    site="last token of the prompt",
    note="Feature 7.",
    is_chosen=True,
    model='{"linear":1}',
    created_by="ada",
    created_at=MOMENT,
)
EVALUATION = StoredEvaluation("e1", source_id(SOURCE), "demo", '{"a":1}', "ada", MOMENT)
RESULT = DetectorResult("all", 20, 30, "exploratory", "auroc", 0.9, 0.8, 0.95)


@pytest.fixture
def runs(store: Store) -> RunRepository:
    repository = RunRepository(store)
    for index in range(4):
        repository.insert_run(SOURCE, make_run(index), make_tokens(), make_activations(index))
    return repository


@pytest.fixture
def detectors(store: Store, runs: RunRepository) -> DetectorRepository:
    repository = DetectorRepository(store)
    scores = [RunScore(f"{index:064x}", index / 2, index / 8, "test") for index in range(3)]
    repository.insert_evaluation(EVALUATION, [DETECTOR], {"d1": [RESULT]}, {"d1": scores})
    return repository


def test_what_goes_in_comes_out(detectors: DetectorRepository, store: Store) -> None:
    assert detectors.get_detector("d1") == DETECTOR
    assert detectors.list_detectors("demo") == (DETECTOR,)
    assert detectors.find_evaluation("e1") == EVALUATION
    assert detectors.list_results(["d1"], "all", "auroc") == {"d1": RESULT}
    assert detectors.list_scores("d1")[2] == RunScore(f"{2:064x}", 1.0, 0.25, "test")
    with store.read() as cursor:
        row = cursor.execute(
            "SELECT name, kind, set_name, auroc.value, score FROM detectors"
            " JOIN detector_results AS auroc USING (detector_id)"
            " JOIN detector_scores USING (detector_id) ORDER BY score DESC LIMIT 1"
        ).fetchall()
    assert row == [("best single feature", "candidate", "demo", 0.9, 1.0)]


def test_an_equal_evaluation_replaces_the_first_and_leaves_retired_ones_retired(
    detectors: DetectorRepository,
) -> None:
    assert detectors.retire_detector("d1", "bob").retired_by == "bob"
    assert detectors.retire_detector("d1", "eve").retired_by == "bob"
    detectors.insert_evaluation(EVALUATION, [replace(DETECTOR, note="again")], {}, {})
    [kept] = detectors.list_detectors(with_retired=True)
    assert (kept.note, kept.retired_by) == ("again", "bob")
    assert detectors.list_detectors() == ()
    assert detectors.list_scores("d1") == ()
    assert len(detectors.list_evaluations()) == 1


def test_a_run_has_one_score_of_a_detector_the_newest(detectors: DetectorRepository) -> None:
    detectors.insert_scores("d1", [RunScore(f"{1:064x}", 9.0, 0.9, "new")])
    found = {score.run_key: score.score for score in detectors.list_scores("d1")}
    assert found == {f"{0:064x}": 0.0, f"{1:064x}": 9.0, f"{2:064x}": 1.0}
    assert len(detectors.list_scores("d1", [f"{1:064x}"])) == 1


def test_what_is_not_there_is_an_error_of_its_own(
    detectors: DetectorRepository, store: Store
) -> None:
    for call in (detectors.get_detector, lambda key: detectors.retire_detector(key, "ada")):
        with pytest.raises(DetectorNotFoundError):
            call("nothing")
    with pytest.raises(SourceNotFoundError):
        detectors.insert_evaluation(replace(EVALUATION, source_id="other"), [], {}, {})
    with pytest.raises(RunNotFoundError, match="ffff"):
        RunColumnRepository(store).list_facts([f"{0:064x}", "f" * 64])


def test_scores_and_captures_go_with_their_run(detectors: DetectorRepository, store: Store) -> None:
    captures = CaptureRepository(store)
    captures.insert_captures([Capture(f"{1:064x}", 2, np.ones(4, np.float32), None)])
    delete_runs(store, [f"{1:064x}"])
    assert len(detectors.list_scores("d1")) == 2
    with store.read() as cursor:
        assert cursor.execute("SELECT count(*) FROM base.captures").fetchall() == [(0,)]


def test_captures_come_back_bit_for_bit_and_the_first_one_stays(
    store: Store, runs: RunRepository
) -> None:
    captures = CaptureRepository(store)
    residual = np.random.default_rng(0).normal(size=16).astype(np.float32)
    key = f"{0:064x}"
    captures.insert_captures([Capture(key, 3, residual, 1.5), Capture("e" * 64, 3, residual, 1.0)])
    captures.insert_captures([Capture(key, 3, residual * 2, 9.0)])
    [found] = captures.list_captures([key, "e" * 64])
    assert found.residual.tobytes() == residual.tobytes()
    assert (found.position, found.margin) == (3, 1.5)


def test_columns_of_many_runs_are_those_of_each_in_the_order_asked_for(
    store: Store, runs: RunRepository
) -> None:
    keys = [f"{index:064x}" for index in (2, 0, 3)]
    columns = RunColumnRepository(store)
    assert [fact.run_key for fact in columns.list_facts(keys)] == keys
    assert [fact.prompt for fact in columns.list_facts(keys)] == [
        "question 2",
        "question 0",
        "question 3",
    ]
    tokens = columns.get_tokens(keys)
    assert tokens.run.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert tokens.position.tolist() == [*range(6)] * 3
    assert np.isnan(tokens.logprob[0])
    assert tokens.text[7] == " w1"
    _assert_same_activations(store, keys)


def test_activations_of_a_shared_beginning_are_among_them(
    store: Store, runs: RunRepository
) -> None:
    own = make_activations(9)
    inside = own.position >= 3
    activations = replace(
        own, position=own.position[inside], feature=own.feature[inside], value=own.value[inside]
    )
    shared = SharedBeginning(f"{0:064x}", 3)
    runs.insert_run(SOURCE, make_run(9), make_tokens(), activations, shared)
    _assert_same_activations(store, [f"{9:064x}", f"{1:064x}"])


def _assert_same_activations(store: Store, keys: list[str]) -> None:
    found = RunColumnRepository(store).get_activations(keys)
    for index, key in enumerate(keys):
        expected = ActivationRepository(store).get_run_activations(key)
        inside = np.flatnonzero(found.run == index)
        order = inside[np.lexsort((found.feature[inside], found.position[inside]))]
        np.testing.assert_array_equal(found.position[order], expected.position)
        np.testing.assert_array_equal(found.feature[order], expected.feature)
        np.testing.assert_array_equal(found.value[order], expected.value)
