"""The first look: a toy source is asked, labelled, steered and judged by one task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.api import Engine, EngineSettings
from engine.preparation import SET_NAME
from store.connection import Store
from store.labels import LabelRepository
from store.runs import RunRepository


@pytest.mark.slow
def test_one_task_makes_something_for_every_page(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.duckdb")
    runs = RunRepository(store)
    engine = Engine(runs, EngineSettings(device="cpu"))
    try:
        begun = engine.preparation.start("demo", "ann", n_questions=40, n_swept=20)
        ended = engine.tasks.wait(begun.task_id, 300)
        assert (ended.state, ended.failure) == ("done", None)
        counts = engine.confabulation.count_outcomes(SET_NAME, "demo")
        assert sum(item.n_answers for item in counts) == 80
        assert LabelRepository(store).get_current_labels("demo")
        assert engine.features.find_map("demo") is not None
        assert engine.steering.vectors("demo")
        assert engine.confabulation.detectors.list_evaluations("demo")
        steered = runs.list_steered_runs("demo")
        [sweep] = engine.steering.sweeps("demo")
        assert sweep.summary
        arms = json.loads(sweep.summary)["arms"].values()
        assert len(steered) == 2 * len({json.dumps(arm["steering"]) for arm in arms})
        plain = {runs.find_plain_run_key(run.run_key) for run in steered}
        assert len(plain) == 2
        assert None not in plain
    finally:
        engine.close()
        store.close()
