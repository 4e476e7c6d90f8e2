"""The feature lab on the demo: every number against what is stored, or against torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.api import CohortRequest, EngineSettings, TaskView
from engine.catalog import Catalog
from engine.demo import MODEL_DIR, SAE_DIR
from engine.errors import EngineError, RequestError, UnknownSourceError, WeightsMissingError
from engine.feature_notes import FeatureNotes
from store.activations import ActivationRepository
from store.labels import LabelRepository
from store.run_columns import RunColumnRepository
from tests.engine.feature_bench import FeatureBench, open_demo_bench

N_PEOPLE = 30
QUERY = 'sql:"SELECT run_key FROM runs WHERE run_key IN ({keys})"'


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureBench]:
    with open_demo_bench(tmp_path_factory.mktemp("features"), N_PEOPLE) as made:
        yield made


def _done(bench: FeatureBench, view: TaskView) -> TaskView:
    view = bench.engine.tasks.wait(view.task_id, 120)
    assert view.state == "done", view.failure
    return view


def _busiest(bench: FeatureBench) -> int:
    """The feature that fires on most tokens but not on nearly all."""
    active = RunColumnRepository(bench.store).get_activations(bench.known + bench.unknown)
    counts = np.bincount(active.feature)
    counts[counts > counts.sum() / 12 / 10] = 0
    return int(counts.argmax())


def test_directions_are_torch_s(bench: FeatureBench) -> None:
    found = bench.engine.features.find_directions("demo", 7)
    assert found is not None
    assert found.lens is not None
    decoder = load_file(SAE_DIR / "sae_weights.safetensors")["W_dec"]
    model = load_file(MODEL_DIR / "model.safetensors")
    logits = model["model.embed_tokens.weight"] @ (model["model.norm.weight"] * decoder[7])
    logits -= logits.mean()
    top = logits.topk(20)
    assert [item.token_id for item in found.lens.top] == top.indices.tolist()
    assert [item.logit for item in found.lens.top] == pytest.approx(top.values.tolist(), abs=1e-5)
    cosines = torch.nn.functional.cosine_similarity(decoder[7][None], decoder)
    nearest = cosines.topk(13).indices.tolist()[1:]
    assert [item.feature for item in found.nearest] == nearest


def test_a_source_may_be_named_by_what_is_stored(bench: FeatureBench) -> None:
    [source_id] = bench.runs.list_source_ids()
    lab = bench.engine.features
    assert lab.find_directions(source_id, 7) == lab.find_directions("demo", 7)
    with pytest.raises(WeightsMissingError, match="not those"):
        lab.find_directions("demo-0123456789ab", 7)
    with pytest.raises(UnknownSourceError):
        lab.find_directions("nobody-0123456789ab", 7)
    with pytest.raises(RequestError, match="no feature 1024"):
        lab.find_directions("demo", 1024)


def test_directions_of_large_files_wait_for_a_task_and_are_noted(
    bench: FeatureBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = bench.engine.features
    at_once = lab.find_directions("demo", 9)
    monkeypatch.setattr("engine.feature_directions._QUICK_ELEMENTS", 0)
    monkeypatch.setattr(lab, "_directions", type(lab._directions)(lab._notes))
    assert lab.find_directions("demo", 9) is None
    _done(bench, lab.start_directions("demo", 9, "ada"))
    assert lab.find_directions("demo", 9) == at_once
    # another process finds the note
    monkeypatch.setattr(lab, "_directions", type(lab._directions)(lab._notes))
    assert lab.find_directions("demo", 9) == at_once


def test_broken_notes_are_none(tmp_path: Path) -> None:
    notes = FeatureNotes(tmp_path)
    assert notes.find("map", "demo-1", "all") is None
    notes.keep("map", "demo-1", "all", {"x": [1.5]})
    assert notes.find("map", "demo-1", "all") == {"x": [1.5]}
    [path] = tmp_path.rglob("*.json")
    path.write_text('{"version": 1', encoding="utf-8")
    assert notes.find("map", "demo-1", "all") is None


def test_the_map_is_made_once(bench: FeatureBench) -> None:
    lab = bench.engine.features
    assert lab.find_map("demo") is None
    view = _done(bench, lab.start_map("demo", "ada"))
    assert view.result == {"n_features": 1024}
    found = lab.find_map("demo")
    assert found is not None
    assert len(found.features) == len(found.x) == len(found.y) == 1024
    lab._maps._known.clear()
    assert lab.find_map("demo") == found


def test_what_it_fires_on_is_counted_from_what_is_stored(bench: FeatureBench) -> None:
    feature = _busiest(bench)
    found = bench.engine.features.fires_on("demo", feature)
    columns = RunColumnRepository(bench.store)
    keys = bench.known + bench.unknown
    shared = {key: _own_from(bench, key) for key in keys}
    tokens, active = columns.get_tokens(keys), columns.get_activations(keys)
    own = np.array(
        [shared[keys[run]] <= pos for run, pos in zip(tokens.run, tokens.position, strict=True)]
    )
    fires = {
        (int(run), int(pos))
        for run, pos, number in zip(active.run, active.position, active.feature, strict=True)
        if number == feature
    }
    at = [(int(run), int(pos)) for run, pos in zip(tokens.run, tokens.position, strict=True)]
    firing = np.array([place in fires for place in at])
    texts = np.array(tokens.text)
    assert found.n_active == (firing & own).sum()
    for item in found.tokens:
        assert item.n_active == (firing & own & (texts == item.text)).sum()
        assert item.n_active <= item.n_all
        assert item.rate_low <= item.rate <= item.rate_high
    assert found.circumstances
    assert all(item.low <= item.odds_ratio <= item.high for item in found.circumstances)
    assert found.ngrams


def _own_from(bench: FeatureBench, run_key: str) -> int:
    """First position whose activations are the run's own, by the store's own table."""
    with bench.store.read() as cursor:
        [(first,)] = cursor.execute(
            "SELECT coalesce(max(end_position), 0) FROM base.beginnings"
            " JOIN base.runs USING (run_no) WHERE run_key = ?",
            [run_key],
        ).fetchall()
    return int(first)


def test_a_text_is_read_and_a_feature_followed_over_it(bench: FeatureBench) -> None:
    lab = bench.engine.features
    view = lab.submit_text("demo", "What is the job of Mira Torres?", "ada")
    view = bench.engine.wait(view.job_id)
    assert view.state == "done"
    active = ActivationRepository(bench.store).get_run_activations(view.run_key)
    feature = int(active.feature[active.value.argmax()])
    values = lab.feature_values(view.run_key, feature)
    assert len(values) == len(bench.runs.get_run(view.run_key).tokens)
    assert max(values) == pytest.approx(float(active.value.max()))
    assert sum(value > 0 for value in values) == (active.feature == feature).sum()
    assert set(lab.feature_values(view.run_key, 1023 if feature != 1023 else 0)) >= {0.0}


def test_automatic_labels_are_scored_stored_and_resumed(bench: FeatureBench) -> None:
    lab = bench.engine.features
    [source_id] = bench.runs.list_source_ids()
    first = _done(bench, lab.start_labels("demo", "ada", features=range(200)))
    second = _done(bench, lab.start_labels("demo", "ada"))
    n_stored = sum(int(str(first.result[name])) for name in ("n_labelled", "n_below"))
    assert first.result["n_before"] == 0
    assert second.result["n_before"] == n_stored
    third = _done(bench, lab.start_labels("demo", "ada"))
    assert third.result["n_labelled"] == third.result["n_below"] == 0
    plan = lab.label_plan("demo")
    repository = LabelRepository(bench.store)
    current = repository.get_current_labels(source_id)
    assert plan.n_labelled == len(current) > 40
    assert all((label.score or 0) >= 0.7 for label in current.values())
    assert all(label.origin == "auto" for label in current.values())
    scores = repository.get_scores(source_id, "auto", "rules 1")
    below = [feature for feature, score in scores.items() if (score or 0) < 0.7]
    assert len(below) == plan.n_below
    assert not set(below) & set(current)
    some = next(iter(current.values()))
    assert json.loads(some.evidence or "")["score"]["n_positive"] >= 10
    redone = _done(bench, lab.start_labels("demo", "ada", features=[some.feature], is_redo=True))
    assert redone.result["n_labelled"] == 1
    assert len(repository.list_labels(source_id, some.feature)) == 1


def test_features_that_a_source_does_not_have_are_refused(bench: FeatureBench) -> None:
    with pytest.raises(RequestError, match="no feature 5000"):
        bench.engine.features.start_labels("demo", "ada", features=[5000])


def _request(a: tuple[str, ...], b: tuple[str, ...]) -> CohortRequest:
    where_a, where_b = (QUERY.format(keys=", ".join(f"'{key}'" for key in keys)) for keys in (a, b))
    return CohortRequest("demo", where_a, where_b, "all", "known", "unknown", n_permutations=99)


def test_known_and_unknown_people_differ_in_features_that_are_stored_so(
    bench: FeatureBench,
) -> None:
    lab = bench.engine.features
    request = _request(bench.known, bench.unknown)
    assert lab.find_comparison(request) is None
    _done(bench, lab.start_comparison(request, "ada"))
    found = lab.find_comparison(request)
    assert found is not None
    assert (found.n_runs_a, found.n_runs_b, found.is_toy) == (N_PEOPLE, N_PEOPLE, True)
    effects = found.effects
    assert (effects.gate, found.censoring_note, found.sampling_note) == ("exploratory", None, None)
    assert effects.null is not None
    assert effects.null.p == pytest.approx(0.01)
    first = effects.rows[0]
    active = RunColumnRepository(bench.store)
    for keys, n_runs, rate in (
        (bench.known, first.n_runs_a, first.rate_a),
        (bench.unknown, first.n_runs_b, first.rate_b),
    ):
        columns = active.get_activations(keys)
        n_firing = len(np.unique(columns.run[columns.feature == first.feature]))
        assert n_runs == n_firing
        assert rate == pytest.approx(n_firing / N_PEOPLE)
    # another direction, and labels that come later
    label = LabelRepository(bench.store).insert_label("demo", first.feature, "people", author="bo")
    again = lab.find_comparison(request)
    assert again is not None
    assert again.effects.rows[0].label == label.text


def test_cohorts_that_are_empty_or_overlap_are_refused(bench: FeatureBench) -> None:
    lab = bench.engine.features
    request = _request(bench.known, bench.unknown)
    with pytest.raises(RequestError, match="empty"):
        lab.start_comparison(replace(request, where_b="prompt:nothing-has-this"), "ada")
    with pytest.raises(RequestError, match=f"share {N_PEOPLE}"):
        lab.start_comparison(replace(request, where_b=request.where_a), "ada")
    with pytest.raises(RequestError, match="permutations"):
        lab.start_comparison(replace(request, n_permutations=0), "ada")


def test_two_runs_are_laid_side_by_side(bench: FeatureBench) -> None:
    a, b = bench.known[0], bench.unknown[0]
    found = bench.engine.features.compare_runs(a, b)
    assert found.parts_at is not None
    tokens = [bench.runs.get_run(key).tokens for key in (a, b)]
    ids = [[token.token_id for token in run] for run in tokens]
    assert ids[0][: found.parts_at] == ids[1][: found.parts_at]
    assert ids[0][found.parts_at] != ids[1][found.parts_at]
    active = [ActivationRepository(bench.store).get_run_activations(key) for key in (a, b)]
    for item in found.features:
        values = [run.value[run.feature == item.feature].max(initial=0) for run in active]
        assert (item.max_a, item.max_b) == pytest.approx(values)
    assert bench.engine.features.compare_runs(a, a).n_features == 0


def test_nothing_of_it_loads_torch(bench: FeatureBench) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine.api import Engine, EngineSettings, CohortRequest\n"
        "from store.connection import Store\n"
        "from store.runs import RunRepository\n"
        "store = Store.open(Path(sys.argv[1]) / 'other.duckdb')\n"
        "engine = Engine(RunRepository(store), EngineSettings(model_cache_dir=sys.argv[1]))\n"
        "assert engine.features.find_directions('demo', 3).lens is not None\n"
        "engine.features.find_map('demo')\n"
        "engine.close(); store.close()\n"
        "heavy = {'torch', 'transformers', 'sae_lens', 'sklearn', 'anthropic', 'scipy.stats'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(bench.store.path.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_a_model_without_an_sae_has_no_directions(tmp_path: Path) -> None:
    from engine.definitions import SourceDefinition
    from engine.feature_files import FeatureFilesFinder

    settings = EngineSettings(featurebook_sources=tmp_path / "sources.toml", _env_file=None)
    catalog = Catalog(settings)
    catalog.add(SourceDefinition("bare", "A model alone", str(MODEL_DIR), None))
    files = FeatureFilesFinder(catalog).find("bare")
    with pytest.raises(EngineError, match="no SAE"):
        files.decoder()
