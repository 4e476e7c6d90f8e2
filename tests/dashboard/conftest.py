"""Services over a real store with the fake engine, for the API and for pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import streamlit as st

from dashboard import services as services_module
from dashboard.query_jobs import QueryJobs
from dashboard.services import Services
from store.activations import ActivationRepository
from store.connection import Store
from store.features import FeatureRepository
from store.link_states import LinkStateRepository
from store.queries import QueryRepository
from store.runs import RunRepository
from store.snapshot_jobs import SnapshotJobs
from tests.dashboard.fake_engine import FakeEngine


@dataclass(frozen=True, slots=True)
class Bench:
    """The services of a test, and its engine by its own type."""

    services: Services
    engine: FakeEngine


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store in a folder of its own."""
    store = Store.open(tmp_path / "test.duckdb")
    runs = RunRepository(store)
    engine = FakeEngine(runs)
    services = Services(
        store=store,
        runs=runs,
        activations=ActivationRepository(store),
        features=FeatureRepository(store),
        queries=QueryRepository(store),
        link_states=LinkStateRepository(store),
        query_jobs=QueryJobs(store),
        engine=engine,
        snapshots=SnapshotJobs(store),
    )
    yield Bench(services, engine)
    services.close()


@pytest.fixture
def pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Makes the pages of this process use the services of the test."""
    st.cache_resource.clear()
    monkeypatch.setattr(services_module, "open_services", lambda: bench.services)
    yield bench
    st.cache_resource.clear()
