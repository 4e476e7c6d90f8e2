"""Parts of a feature's page that fetch for themselves: evidence, directions, a text to try.

Invariant: everything but trying a text works without a model; what a large source needs long for is
a task, begun by a button.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.feature_evidence import (
    boosts_panel,
    fires_on_panel,
    near_features,
    nearest_panel,
    together_panel,
)
from dashboard.components.feature_text import feature_text, text_form
from dashboard.components.notice import notice
from dashboard.components.task_progress import task_end
from dashboard.feature_parts.under_way import find_task, follow, follow_text, go
from dashboard.links import ViewState
from dashboard.services import Services
from engine.api import FeatureDirections
from engine.errors import EngineError
from store.errors import RunNotFoundError
from store.records import FeatureStats


def show_evidence(
    services: Services, state: ViewState, stats: FeatureStats, unit: str
) -> FeatureDirections | None:
    """What it fires on, and what it boosts; returns its directions if they could be read."""
    key = f"{stats.source_id}-{stats.feature}"
    st.subheader(f"Fires on{unit}", anchor=False)
    found = services.engine.features.fires_on(stats.source_id, stats.feature)
    fires_on_panel(found, key)
    st.subheader("Boosts", anchor=False)
    directions = find_directions(services, state, stats)
    if directions is not None:
        boosts_panel(directions, unit, key)
    return directions


def show_neighbours(
    services: Services,
    directions: FeatureDirections | None,
    stats: FeatureStats,
    source: str,
    unit: str,
) -> None:
    """Features that point its way, and those that fire when it does.

    Args:
        source: name, for the links.
    """
    key = f"{stats.source_id}-{stats.feature}"
    together = services.firing.get_coactivations(stats.source_id, stats.feature)
    labels = services.get_label_texts(stats.source_id, near_features(directions, together))
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(f"Fires together with{unit}", anchor=False)
        together_panel(together, labels, source, key)
    with right:
        st.subheader("Points the same way", anchor=False)
        if directions is None:
            st.text("Its directions were not read.")
        else:
            nearest_panel(directions, labels, source, key)


def find_directions(
    services: Services, state: ViewState, stats: FeatureStats
) -> FeatureDirections | None:
    """Its directions; those of a large source are read by a task first."""
    lab = services.engine.features
    try:
        found = lab.find_directions(stats.source_id, stats.feature)
    except EngineError as error:
        st.text(error.message)
        st.caption("The rest of the page needs no files.")
        return None
    if found is not None:
        return found
    task = find_task(services, state, "directions")
    if task is not None and task.is_active:
        follow(services, task, "directions")
        return None
    is_again = task is not None and task_end(task, "directions")
    st.caption("Its decoder is large: reading it takes a while, once.")
    if is_again or st.button("Read its directions", icon=":material/explore:", key="directions"):
        begun = lab.start_directions(stats.source_id, stats.feature, session.user_name())
        go(replace(state, task=begun.task_id))
    return None


def try_text(services: Services, state: ViewState, stats: FeatureStats, unit: str) -> None:
    """A text of one's own, read through the memo and shaded by this feature."""
    st.subheader("Try a text", anchor=False)
    text = text_form(state.text or "")
    job = services.find_job(state.job)
    if text is not None:
        with error_boundary():
            asked = services.engine.features.submit_text(
                state.source or stats.source_id, text, session.user_name()
            )
            run_key = asked.run_key or None
            go(replace(state, text=text, job=asked.job_id, run=run_key, token=None))
    if job is not None and job.is_active:
        follow_text(services, job.job_id)
        return
    if job is not None and job.failure is not None:
        notice("error", job.failure.message, job.failure.hint, title="The text was not read")
        return
    run_key = state.run or (job.run_key if job is not None else None)
    if run_key is None:
        return
    try:
        view = services.get_run_view(run_key)
    except RunNotFoundError as error:
        notice("info", error.message, "Read the text again.")
        return
    feature_text(view, stats, state.token, unit)
