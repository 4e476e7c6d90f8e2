"""Process-wide handles: one store, its repositories and one engine, shared by pages and API.

Invariant: the only home of st.cache_resource, whose caches are the process's, not a session's: the
script threads, the API's threads and the server's lifespan all get the same handles, made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from dashboard.links import MAX_LINK_CHARS, ParsedLink, ViewState, parse_link, to_params, to_path
from dashboard.query_jobs import QueryJobs
from dashboard.run_view import RunView
from engine.api import Engine, EngineSettings, Evaluation, JobView, TaskView
from engine.errors import JobNotFoundError, TaskNotFoundError
from store.activations import ActivationRepository
from store.connection import Store
from store.errors import StoreError
from store.feature_contexts import ContextRepository
from store.feature_firing import FiringRepository
from store.feature_lists import FeatureListRepository
from store.feature_profiles import ProfileCache
from store.feature_search import FeatureSearchRepository
from store.features import FeatureRepository
from store.labels import LabelRepository
from store.link_states import LinkStateRepository
from store.queries import QueryRepository
from store.run_interventions import RunInterventionRepository
from store.run_sets import RunSetRepository
from store.runs import RunRepository
from store.schema import ViewInfo, list_views
from store.settings import StoreSettings
from store.snapshot_jobs import SnapshotJobs

_MAX_RUNS = 64
_MAX_EVALUATIONS = 8


@dataclass(frozen=True, slots=True)
class Services:
    """What pages and API work with."""

    store: Store
    runs: RunRepository
    activations: ActivationRepository
    features: FeatureRepository
    labels: LabelRepository
    lists: FeatureListRepository
    search: FeatureSearchRepository
    firing: FiringRepository
    contexts: ContextRepository
    run_sets: RunSetRepository
    run_interventions: RunInterventionRepository
    queries: QueryRepository
    link_states: LinkStateRepository
    query_jobs: QueryJobs
    engine: Engine
    snapshots: SnapshotJobs

    def get_run_view(self, run_key: str) -> RunView:
        """The stored run with its activations, kept for a while.

        Raises:
            RunNotFoundError: if it is not stored.
        """
        return _load_run_view(self, run_key, self.store.data_version)

    def get_label_texts(self, source: str, features: Sequence[int]) -> dict[int, str]:
        """Current labels of those of the features that have one.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
        """
        found = self.labels.get_current_labels(source, features)
        return {feature: label.text for feature, label in found.items()}

    def find_evaluation(self, evaluation_id: str) -> Evaluation | None:
        """A stored evaluation of detectors, kept for a while: it never changes."""
        return _find_evaluation(self, evaluation_id)

    def get_views(self) -> tuple[ViewInfo, ...]:
        """The public views; they stay what they are while the process runs."""
        return _load_views(self)

    def get_link(self, link: ParsedLink) -> ParsedLink:
        """A link whose short id is replaced by what it stands for.

        Raises:
            StateNotFoundError: if this store has nothing under the id.
        """
        if link.state.state is None:
            return link
        kept = parse_link(self.link_states.get_state(link.state.state))
        # what was chosen since is in the address beside the id
        chosen = to_params(replace(link.state, state=None, at=None))
        merged = parse_link(to_params(kept.state) | chosen).state
        return ParsedLink(replace(merged, at=link.state.at), link.problems + kept.problems)

    def short_state(self, page: str, state: ViewState) -> ViewState:
        """The state, or a short id of it where its link would be too long for mail and chat.

        Where the store cannot be written, the link is long.
        """
        if len(to_path(page, state)) <= MAX_LINK_CHARS:
            return state
        try:
            kept = self.link_states.insert_state(to_params(replace(state, at=None)))
        except StoreError:
            return state
        return ViewState(state=kept, at=state.at)

    def short_path(self, page: str, state: ViewState) -> str:
        """The path of a link to a state, of at most MAX_LINK_CHARS."""
        return to_path(page, self.short_state(page, state))

    def find_job(self, job_id: str | None) -> JobView | None:
        """The job of a link, if this server still has it."""
        try:
            return None if job_id is None else self.engine.job(job_id)
        except JobNotFoundError:
            return None

    def find_task(self, task_id: str | None) -> TaskView | None:
        """The long work of a link, if this server still has it."""
        try:
            return None if task_id is None else self.engine.tasks.task(task_id)
        except TaskNotFoundError:
            return None

    def find_only_source(self) -> str | None:
        """The id of the one source that has left runs here; None where there are none, or more."""
        return _find_only_source(self, self.store.data_version)

    def close(self) -> None:
        """Ends the work of engine, queries and a snapshot under way, then closes the store."""
        self.query_jobs.close()
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
    return make_services(store, runs, Engine(runs, EngineSettings()))


def make_services(store: Store, runs: RunRepository, engine: Engine) -> Services:
    """The handles around a store and an engine."""
    profiles = ProfileCache()
    return Services(
        store=store,
        runs=runs,
        activations=ActivationRepository(store),
        features=FeatureRepository(store),
        labels=LabelRepository(store),
        lists=FeatureListRepository(store),
        search=FeatureSearchRepository(store, profiles),
        firing=FiringRepository(store, profiles),
        contexts=ContextRepository(store),
        run_sets=RunSetRepository(store),
        run_interventions=RunInterventionRepository(store),
        queries=QueryRepository(store),
        link_states=LinkStateRepository(store),
        query_jobs=QueryJobs(store),
        engine=engine,
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


@st.cache_resource(show_spinner=False, max_entries=1)
def _load_views(_services: Services) -> tuple[ViewInfo, ...]:
    return list_views(_services.store)


@st.cache_data(show_spinner=False, max_entries=2)
def _find_only_source(_services: Services, data_version: int) -> str | None:
    found = _services.runs.list_source_ids()
    return found[0] if len(found) == 1 else None


@st.cache_resource(show_spinner=False, max_entries=_MAX_EVALUATIONS)
def _find_evaluation(_services: Services, evaluation_id: str) -> Evaluation | None:
    return _services.engine.confabulation.detectors.find_evaluation(evaluation_id)


@st.cache_resource(show_spinner=False, max_entries=_MAX_RUNS)
def _load_run_view(_services: Services, run_key: str, data_version: int) -> RunView:
    stored = _services.runs.get_run(run_key)
    return RunView(stored.run, stored.tokens, _services.activations.get_run_activations(run_key))
