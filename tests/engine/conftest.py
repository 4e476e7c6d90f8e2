"""Checkpoints made once a session, and engines over a store of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.api import Engine, EngineSettings
from store.activations import ActivationRepository
from store.connection import Store
from store.runs import RunRepository
from tests.engine.checkpoints import save_gpt2, save_llama, save_sae


@dataclass(frozen=True)
class Bench:
    """An engine on a source of its own, and what it writes to."""

    engine: Engine
    runs: RunRepository
    activations: ActivationRepository
    store: Store


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders llama, gpt2, sae-standard, sae-topk, sae-jumprelu."""
    root = tmp_path_factory.mktemp("checkpoints")
    save_llama(root / "llama")
    save_gpt2(root / "gpt2")
    for architecture in ("standard", "topk", "jumprelu"):
        save_sae(root / f"sae-{architecture}", architecture)
    return root


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes engines on `model` and `sae` folders, all over one new store; closed afterwards."""
    store = Store.open(tmp_path / "store.duckdb")
    opened: list[Engine] = []

    def make(model: Path | None = None, sae: Path | None = None, device: str = "cpu") -> Bench:
        settings = EngineSettings(
            mistral_model=str(model) if model else None,
            sae_path=str(sae) if sae else None,
            device=device,
            model_cache_dir=tmp_path / "models_cache",
            featurebook_sources=tmp_path / "sources.toml",
            _env_file=None,
        )
        runs = RunRepository(store)
        engine = Engine(runs, settings)
        opened.append(engine)
        return Bench(engine, runs, ActivationRepository(store), store)

    yield make
    for engine in opened:
        engine.close()
    store.close()
