"""Detectors over the real demo source: trained on its answers, kept, applied to stored runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine.api import (
    WHOLE,
    DetectionSettings,
    Engine,
    EngineSettings,
    Evaluation,
    FillRequest,
    RunRequest,
)
from engine.detection.positions import find_places
from engine.errors import RequestError
from store.connection import Store
from store.errors import DetectorNotFoundError, QuestionSetNotFoundError
from store.runs import RunRepository
from store.specs import Message

N_QUESTIONS = 140
SETTINGS = DetectionSettings(with_p_true=True)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("detectors")
    store = Store.open(folder / "store.duckdb")
    made = Engine(
        RunRepository(store),
        EngineSettings(
            device="cpu",
            model_cache_dir=folder / "models_cache",
            featurebook_sources=folder / "sources.toml",
            _env_file=None,
        ),
    )
    filled = made.confabulation.start_fill(
        FillRequest("demo", "demo", (False,), N_QUESTIONS, asked_by="ada")
    )
    assert made.tasks.wait(filled.task_id, 120).state == "done"
    yield made
    made.close()
    store.close()


@pytest.fixture(scope="module")
def evaluation(engine: Engine) -> Evaluation:
    view = engine.confabulation.detectors.start_evaluation("demo", "demo", SETTINGS, "ada")
    done = engine.tasks.wait(view.task_id, 120)
    assert done.state == "done", done.failure
    found = engine.confabulation.detectors.find_evaluation(str(done.result["evaluation_id"]))
    assert found
    return found


def test_candidates_and_baselines_are_measured_on_the_same_held_out_answers(
    evaluation: Evaluation,
) -> None:
    measured = [item for item in evaluation.detectors if item.is_available]
    assert {item.kind for item in measured} == {"candidate", "baseline"}
    assert {
        "dense_logistic",
        "value_logprob",
        "value_margin",
        "single_feature",
        "sae_logistic",
        "token_probe",
    } <= {item.method for item in measured}
    sizes = {
        (part.n_positive, part.n_negative)
        for item in measured
        for part in item.slices
        if part.name == WHOLE
    }
    assert len(sizes) == 1
    [p_true] = [item for item in evaluation.detectors if item.method == "p_true"]
    assert not p_true.is_available
    assert "neither True nor False" in p_true.note
    assert evaluation.is_toy
    assert sum(item.n for item in evaluation.outcomes) == N_QUESTIONS


def test_topics_of_one_class_alone_are_left_out_and_named(
    engine: Engine, evaluation: Evaluation
) -> None:
    assert any("Left out" in sentence and "city" in sentence for sentence in evaluation.sentences)
    kept = evaluation.split.n_train + evaluation.split.n_validation + evaluation.split.n_test
    every = engine.confabulation.detectors.evaluate(
        "demo", "demo", DetectionSettings(topics="all", with_p_true=False), "ada"
    )
    assert every.split.n_test + every.split.n_train + every.split.n_validation > kept
    assert not any("Left out" in sentence for sentence in every.sentences)


def test_the_same_again_is_read_and_other_settings_are_computed(
    engine: Engine, evaluation: Evaluation
) -> None:
    lab = engine.confabulation.detectors
    notes: list[str] = []

    def tell(_done: int, _total: int, note: str) -> None:
        notes.append(note)

    assert lab.evaluate("demo", "demo", SETTINGS, "bob", tell) == evaluation
    assert notes == []
    other = DetectionSettings(with_p_true=False, with_residuals=False, shuffle_seed=1)
    shuffled = lab.evaluate("demo", "demo", other, "bob", tell)
    assert notes
    assert shuffled.evaluation_id != evaluation.evaluation_id
    [dense] = [item for item in shuffled.detectors if item.method == "dense_logistic"]
    assert not dense.is_available


def test_a_live_score_is_the_stored_one_and_its_parts_add_up(
    engine: Engine, evaluation: Evaluation
) -> None:
    lab = engine.confabulation.detectors
    for card in lab.list_detectors("demo"):
        if card.evaluation_id != evaluation.evaluation_id or card.kind != "candidate":
            continue
        for stored in lab.list_scores(card.detector_id)[:4]:
            live = lab.score_run(card.detector_id, stored.run_key)
            assert live.score == pytest.approx(stored.score, rel=1e-5, abs=1e-6)
            assert live.probability == pytest.approx(stored.probability, abs=1e-6)
            assert live.is_flagged == (live.score >= live.threshold.score)
            parts = sum(item.contribution for item in live.features)
            shown = sum(item.contribution for item in live.tokens)
            if card.method != "token_probe":
                assert parts == pytest.approx(shown)
                assert live.score - parts == pytest.approx(
                    lab.score_run(card.detector_id, stored.run_key).score - shown
                )


def test_stored_runs_are_scored_for_sql_and_keep_what_they_were_to_the_detector(
    engine: Engine, evaluation: Evaluation
) -> None:
    lab = engine.confabulation.detectors
    asked = engine.submit(RunRequest((Message("user", "Where does Mira Torres live?"),), "demo"))
    engine.wait(asked.job_id, 30)
    for method in ("sae_logistic", "dense_logistic", "value_logprob"):
        card = next(
            card
            for card in lab.list_detectors("demo")
            if card.method == method and card.evaluation_id == evaluation.evaluation_id
        )
        before = {score.run_key: score for score in lab.list_scores(card.detector_id)}
        view = engine.tasks.wait(lab.start_scoring(card.detector_id, "tools:no").task_id, 60)
        assert view.state == "done", view.failure
        after = {score.run_key: score for score in lab.list_scores(card.detector_id)}
        assert len(after) == view.result["n_scored"]
        assert len(after) > len(before)
        for key, score in before.items():
            assert after[key].part == score.part
            assert after[key].score == pytest.approx(score.score, rel=1e-5, abs=1e-6)


def test_a_threshold_comes_from_validation_answers(engine: Engine, evaluation: Evaluation) -> None:
    lab = engine.confabulation.detectors
    chosen = next(card for card in lab.list_detectors("demo") if card.is_chosen)
    strict = lab.threshold(chosen.detector_id, 0.0)
    loose = lab.threshold(chosen.detector_id, 0.5)
    assert strict.score >= loose.score
    assert strict.n_negatives > 0
    with pytest.raises(RequestError, match="rate of false alarms"):
        lab.threshold(chosen.detector_id, -1)


def test_retired_detectors_leave_the_list_and_say_so(
    engine: Engine, evaluation: Evaluation
) -> None:
    lab = engine.confabulation.detectors
    card = next(card for card in lab.list_detectors("demo") if card.method == "few_features")
    assert lab.retire(card.detector_id, "ada").retired_by == "ada"
    assert card.detector_id not in {item.detector_id for item in lab.list_detectors("demo")}
    run_key = engine.confabulation.answers("demo", "demo")[0].run_key
    assert any(
        "retired by ada" in line for line in lab.score_run(card.detector_id, run_key).caveats
    )


def test_what_cannot_be_learned_from_is_refused_with_a_reason(engine: Engine) -> None:
    lab = engine.confabulation.detectors
    with pytest.raises(QuestionSetNotFoundError):
        lab.evaluate("nothing", "demo", SETTINGS, "ada")
    rows = "question,gold\n" + "".join(f"Hello {index},Hello.\n" for index in range(3))
    engine.confabulation.import_set("greetings", rows.encode(), "greetings.csv", "ada")
    with pytest.raises(RequestError, match="has not answered"):
        lab.evaluate("greetings", "demo", SETTINGS, "ada")
    view = engine.confabulation.start_fill(FillRequest("greetings", "demo", (False,)))
    engine.tasks.wait(view.task_id, 30)
    with pytest.raises(RequestError, match="nothing to tell apart"):
        lab.evaluate("greetings", "demo", SETTINGS, "ada")
    with pytest.raises(RequestError, match="judged"):
        lab.evaluate("demo", "demo", DetectionSettings(label_method="person"), "ada")
    with pytest.raises(DetectorNotFoundError):
        lab.score_run("nothing", "0" * 64)
    with pytest.raises(RequestError, match="is not a site"):
        DetectionSettings(sites=("nowhere",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Lisbon", (6, 7)),
        ("lisbon.", (6, 8)),
        ("New York", (3, 5)),
        ("Rome", (-1, -1)),
        ("", (-1, -1)),
        (None, (-1, -1)),
    ],
)
def test_the_value_is_found_where_it_was_said_last(
    value: str | None, expected: tuple[int, int]
) -> None:
    texts = ["Lisbon", "?", " In", " New", " York", " or", " Lisbon", "."]
    place = find_places(2, texts, value)
    assert (place.value_start, place.value_end) == expected
    assert place.at("prompt_last") == 1
    assert place.at("before_value") == (expected[0] - 1 if expected[0] > 0 else -1)
    assert np.all(np.diff(place.captured()) > 0)
