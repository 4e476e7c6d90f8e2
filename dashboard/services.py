"""Process-wide handles: one store, its repositories and one engine, shared by pages and API.

Invariant: the only home of st.cache_resource, whose caches are the process's, not a session's: the
script threads, the API's threads and the server's lifespan all get the same handles, made once.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard.run_view import RunView
from engine.api import Engine, EngineSettings
from store.activations import ActivationRepository
from store.connection import Store
from store.features import FeatureRepository
from store.records import FeatureStats
from store.runs import RunRepository
from store.settings import StoreSettings
from store.snapshot_jobs import SnapshotJobs

_MAX_RUNS = 64
_MAX_STATS = 10_000
_STATS_AGE_S = 60


@dataclass(frozen=True, slots=True)
class Services:
    """What pages and API work with."""

    store: Store
    runs: RunRepository
    activations: ActivationRepository
    features: FeatureRepository
    engine: Engine
    snapshots: SnapshotJobs

    def get_run_view(self, run_key: str) -> RunView:
        """The stored run with its activations, kept for a while.

        Raises:
            RunNotFoundError: if it is not stored.
        """
        return _load_run_view(self, run_key, self.store.data_version)

    def get_feature_stats(self, source_id: str, feature: int) -> FeatureStats:
        """Statistics of a feature over everything stored, at most a minute old.

        Raises:
            SourceNotFoundError: if no such source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        return _load_feature_stats(self, source_id, feature)

    def close(self) -> None:
        """Ends the engine's work and a snapshot under way, then closes the store."""
        self.engine.close()
        self.snapshots.close()
        self.store.close()


def open_services() -> Services:
    """Opens the store that the settings name, and an engine in front of it.

    Raises:
        StoreError: if the store cannot be opened; the next call tries again.
    """
    store = Store.open(StoreSettings().featurebook_store)
    runs = RunRepository(store)
    return Services(
        store=store,
        runs=runs,
        activations=ActivationRepository(store),
        features=FeatureRepository(store),
        engine=Engine(runs, EngineSettings()),
        snapshots=SnapshotJobs(store),
    )


@st.cache_resource(show_spinner=False, on_release=Services.close)
def get_services() -> Services:
    """The handles of this process, opened by whoever comes first.

    Raises:
        StoreError: if the store cannot be opened.
    """
    return open_services()


def close_services() -> None:
    """Closes what was opened, if anything was."""
    get_services.clear()


@st.cache_resource(show_spinner=False, max_entries=_MAX_RUNS)
def _load_run_view(_services: Services, run_key: str, data_version: int) -> RunView:
    stored = _services.runs.get_run(run_key)
    return RunView(stored.run, stored.tokens, _services.activations.get_run_activations(run_key))


# Reading them looks at every stored token, and a click must not wait for that at each write.
@st.cache_resource(show_spinner=False, max_entries=_MAX_STATS, ttl=_STATS_AGE_S)
def _load_feature_stats(_services: Services, source_id: str, feature: int) -> FeatureStats:
    return _services.features.get_feature_stats(source_id, feature)
