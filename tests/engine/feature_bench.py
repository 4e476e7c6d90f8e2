"""An engine on the demo whose store has answers about known and unknown people, made once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.api import Engine, EngineSettings, RunRequest
from engine.demo.world import make_world
from store.connection import Store
from store.runs import RunRepository
from store.specs import Message, SamplingSpec

QUESTIONS = (
    "Which language does {p} speak?",
    "What is {p}'s job?",
    "Where does {p} live?",
    "Tell me the instrument of {p}.",
)


@dataclass(frozen=True)
class FeatureBench:
    """An engine over a store with runs of the demo.

    Attributes:
        known, unknown: keys of runs about people whom the model knows, or does not.
    """

    engine: Engine
    runs: RunRepository
    store: Store
    known: tuple[str, ...]
    unknown: tuple[str, ...]


@contextmanager
def open_demo_bench(folder: Path, n_people: int) -> Iterator[FeatureBench]:
    """Asks one question of each kind of person, n_people times.

    Args:
        folder: for the store and the cache of notes.
        n_people: known ones, and as many unknown ones.
    """
    store = Store.open(folder / "store.duckdb")
    runs = RunRepository(store)
    engine = Engine(
        runs,
        EngineSettings(
            model_cache_dir=folder / "models_cache",
            featurebook_sources=folder / "sources.toml",
            _env_file=None,
        ),
    )
    try:
        world = make_world()
        keys: dict[str, list[str]] = {"known": [], "unknown": []}
        jobs = []
        for number in range(n_people):
            for kind, person in (
                ("known", world.known[number]),
                ("unknown", world.unknown[number]),
            ):
                text = QUESTIONS[number % len(QUESTIONS)].format(p=person.name)
                request = RunRequest(
                    (Message("user", text),), "demo", sampling=SamplingSpec(max_new_tokens=24)
                )
                job = engine.submit(request)
                keys[kind].append(job.run_key)
                jobs.append(job.job_id)
        for job_id in jobs:
            assert engine.wait(job_id).state == "done"
        yield FeatureBench(engine, runs, store, tuple(keys["known"]), tuple(keys["unknown"]))
    finally:
        engine.close()
        store.close()
