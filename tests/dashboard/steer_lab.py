"""The real engine on the demo with a few vectors and two small sweeps, for the page Steer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.services import Services, make_services
from engine.api import Engine, EngineSettings, RunRequest, TaskView
from store.connection import Store
from store.runs import RunRepository
from store.specs import Intervention, Message, SamplingSpec, SteeringSpec

QUESTION = "Which instrument does Elena Costa play?"
LAYER = 1
CONCEPTS = ("refusal", "city")
STEPS_S = 120.0


@contextmanager
def open_steer_lab(folder: Path) -> Iterator[Services]:
    """Services whose store has vectors of the demo at one layer, and a sweep over it."""
    store = Store.open(folder / "steer.duckdb")
    runs = RunRepository(store)
    settings = EngineSettings(
        device="cpu",
        model_cache_dir=folder / "models_cache",
        featurebook_sources=folder / "sources.toml",
        _env_file=None,
    )
    services = make_services(store, runs, Engine(runs, settings))
    try:
        finish(services, services.engine.steering.prepare_library("demo", "ann", CONCEPTS, [LAYER]))
        finish(services, sweep_layers(services, "refusal"))
        yield services
    finally:
        services.close()


def sweep_layers(services: Services, concept: str) -> TaskView:
    """Starts what the page's button starts, with fewer prompts and controls."""
    people = ("Elena Costa", "Ida Costa", "Bruno Rossi", "Lena Moreau")
    spec = {
        "name": f"Layers of {concept}",
        "arms": [{"concept": concept, "strengths": [0.3, 0.8], "layers": [LAYER]}],
        "prompts": [f"What is the {key} of {name}?" for key in ("job", "city") for name in people],
        "n_random": 1,
        "max_new_tokens": 12,
    }
    read = services.engine.steering.read_sweep_spec(json.dumps(spec), "demo")
    return services.engine.steering.start_sweep(read, "ann")


def finish(services: Services, task: TaskView) -> dict[str, object]:
    """What a task came to; it must not have failed."""
    ended = services.engine.tasks.wait(task.task_id, STEPS_S)
    assert ended.state == "done", ended.failure
    return dict(ended.result)


def steering(services: Services, strength: float = 1.0) -> SteeringSpec:
    """The refusal vector, added to the answer."""
    [vector] = services.engine.steering.vectors("demo", "refusal", LAYER)
    return SteeringSpec(
        (
            Intervention(
                "add",
                strength,
                vector_id=vector.vector_id,
                unit="norm",
                positions="answering",
            ),
        )
    )


def ask(services: Services, spec: SteeringSpec | None = None, n_tokens: int = 16) -> str:
    """The key of a run of the question, steered or plain."""
    request = RunRequest(
        messages=(Message("user", QUESTION),),
        source="demo",
        sampling=SamplingSpec(max_new_tokens=n_tokens),
        steering=spec or SteeringSpec(),
        created_by="ann",
    )
    job = services.engine.submit(request)
    ended = services.engine.wait(job.job_id, STEPS_S)
    assert ended.state == "done", ended.failure
    return ended.run_key
