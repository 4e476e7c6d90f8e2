"""What the memo saves: a stored run of 500 tokens read whole, against computing it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.api import Engine, EngineSettings, RunRequest
from scripts.benchmarks.figures import Comparison, seconds, to_side
from scripts.benchmarks.generation import random_gpt2
from store.activations import ActivationRepository
from store.connection import Store
from store.runs import RunRepository
from store.specs import Message, SamplingSpec

AIM_S = 0.020
N_TOKENS = 500


def measure_memo(work_dir: Path, repeats: int, device: str) -> tuple[Comparison, ...]:
    """Seconds to compute a run, and to get it again with its tokens and activations."""
    model, sae = random_gpt2(work_dir)
    with tempfile.TemporaryDirectory(dir=work_dir) as folder:
        store = Store.open(Path(folder) / "store.duckdb")
        settings = EngineSettings(
            mistral_model=str(model), sae_path=str(sae), device=device, _env_file=None
        )
        runs, activations = RunRepository(store), ActivationRepository(store)
        engine = Engine(runs, settings)
        try:
            _ask(engine, runs, activations, "warm up", 8)
            question = "Q" * 32
            n_new = N_TOKENS - len(question)
            computed_s = seconds(lambda: _ask(engine, runs, activations, question, n_new))
            hits_s = [
                seconds(lambda: _ask(engine, runs, activations, question, n_new))
                for _ in range(repeats)
            ]
        finally:
            engine.close()
            store.close()
    sides = (to_side("computed", [computed_s], "s"), to_side("from the store", hits_s, "s"))
    return (
        Comparison(
            title=f"Memo hit of a {N_TOKENS}-token run, GPT-2 small, random, {device}",
            sides=sides,
            ratio=computed_s / sides[1].median,
            ratio_of="computed / from the store",
            aim=f"a hit in at most {AIM_S * 1000:.0f} ms",
            is_reached=sides[1].median <= AIM_S,
        ),
    )


def _ask(
    engine: Engine,
    runs: RunRepository,
    activations: ActivationRepository,
    question: str,
    n_new: int,
) -> None:
    request = RunRequest((Message("user", question),), sampling=SamplingSpec(max_new_tokens=n_new))
    view = engine.wait(engine.submit(request).job_id)
    if view.state != "done":
        raise RuntimeError(f"the run failed: {view.failure}")
    runs.get_run(view.run_key)
    activations.get_run_activations(view.run_key)
