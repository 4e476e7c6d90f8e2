"""Services over a store in which the demo answered some questions and detectors were trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.services import Services, make_services
from engine.api import DetectionSettings, Engine, EngineSettings, FillRequest
from store.connection import Store
from store.runs import RunRepository

N_QUESTIONS = 96
SETTINGS = DetectionSettings(
    topics="all", sites=("prompt_last",), with_residuals=False, with_p_true=False
)


@contextmanager
def open_trained(folder: Path) -> Iterator[Services]:
    """The real engine on the demo, a filled set, and one evaluation of detectors."""
    store = Store.open(folder / "store.duckdb")
    runs = RunRepository(store)
    settings = EngineSettings(
        device="cpu",
        model_cache_dir=folder / "models_cache",
        featurebook_sources=folder / "sources.toml",
        _env_file=None,
    )
    services = make_services(store, runs, Engine(runs, settings))
    lab = services.engine.confabulation
    try:
        for tools, limit in ((False, N_QUESTIONS), (True, N_QUESTIONS // 4)):
            filled = lab.start_fill(FillRequest("demo", "demo", (tools,), limit, asked_by="ada"))
            assert services.engine.tasks.wait(filled.task_id, 120).state == "done"
        trained = lab.detectors.start_evaluation("demo", "demo", SETTINGS, "ada")
        done = services.engine.tasks.wait(trained.task_id, 120)
        assert done.state == "done", done.failure
        yield services
    finally:
        services.close()
