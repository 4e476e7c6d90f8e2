"""Services over a real store with the fake engine, for the API and for pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import streamlit as st

from dashboard import services as services_module
from dashboard.services import Services, make_services
from store.connection import Store
from store.runs import RunRepository
from tests.dashboard.fake_engine import FakeEngine
from tests.dashboard.trained_lab import open_trained


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
    services = make_services(store, runs, engine)
    yield Bench(services, engine)
    services.close()


@pytest.fixture
def pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Makes the pages of this process use the services of the test."""
    st.cache_resource.clear()
    monkeypatch.setattr(services_module, "open_services", lambda: bench.services)
    yield bench
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The real engine on the demo with answers, judgements and detectors; made once."""
    with open_trained(tmp_path_factory.mktemp("trained")) as services:
        yield services
