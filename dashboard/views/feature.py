"""Feature: one feature over everything stored: what it means, where it fires, what it boosts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.context_filter import context_filter, read_choice
from dashboard.components.context_list import context_list
from dashboard.components.feature_results import found_table
from dashboard.components.label_editor import LabelCalls, label_editor, label_words
from dashboard.components.list_adder import list_adder
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.source_head import source_head
from dashboard.feature_charts import value_chart
from dashboard.feature_export import to_csv, to_json
from dashboard.feature_parts.evidence import show_evidence, show_neighbours, try_text
from dashboard.links import ViewState, to_params
from dashboard.services import Services, get_services
from dashboard.shared_link import share_link, tell_changes
from store.errors import SourceNotFoundError, StoreError
from store.feature_records import Label
from store.ready_queries import contexts_query
from store.records import Context, FeatureStats, HistogramBin

N_CONTEXTS = 14
N_BANDS, PER_BAND = 5, 4
N_BEGUN_WITH = 14


def choose(state: ViewState, names: tuple[str, ...], last: int | None) -> ViewState:
    """The source and feature that are shown; a new choice goes into the link.

    Args:
        last: index of the source's last feature, where it is known.
    """
    with (
        st.form("choose", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        source = st.selectbox(
            "Source",
            names,
            index=names.index(state.source) if state.source in names else 0,
            width=140,
        )
        shown = state.feature or 0
        feature = st.number_input(
            "Feature", 0, last, value=shown if last is None else min(shown, last), width=140
        )
        if st.form_submit_button("Show", icon=":material/search:"):
            chosen = ViewState(source=source, feature=feature)
            session.show(chosen)
            return chosen
    return replace(state, source=state.source or names[0])


def save_label(
    services: Services, source: str, feature: int, text_key: str, replaces: str | None
) -> None:
    """Writes what was typed; a conflict or a refusal is told at the next drawing."""
    text = session.widget_value(text_key) or ""
    try:
        services.labels.insert_label(
            source, feature, text, "human", session.user_name(), replaces=replaces
        )
    except StoreError as error:
        session.tell(error.message, error.hint)


def change_label(services: Services, action: str, label_id: str) -> None:
    """Restores or withdraws a label."""
    try:
        if action == "restore":
            services.labels.restore_label(label_id, session.user_name())
        else:
            services.labels.withdraw_label(label_id, session.user_name())
    except StoreError as error:
        session.tell(error.message, error.hint)


def show_head(
    services: Services, state: ViewState, stats: FeatureStats, labels: tuple[Label, ...], toy: bool
) -> None:
    """Its name: number, current label, and from where that is; with what can be done."""
    current = next((label for label in labels if label.is_current), None)
    n_more = sum(label.status == "active" for label in labels) - (current is not None)
    marks = ["toy"] if toy else []
    facts = [("label", label_words(current))] if current else []
    if n_more > 0:
        facts.append(("other labels", str(n_more)))
    title = current.text if current else "no label yet"
    source_head(f"Feature {stats.feature}", title, marks, facts, key="feature_head")
    calls = LabelCalls(
        save=partial(save_label, services, stats.source_id, stats.feature),
        restore=partial(change_label, services, "restore"),
        withdraw=partial(change_label, services, "withdraw"),
    )
    told = session.take_notice()
    if told is not None:
        notice("warning", *told, title="Label")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.popover("Label", icon=":material/edit:", key="edit_label"):
            label_editor(labels, calls, key=f"{stats.source_id}-{stats.feature}")
        with st.popover("Add to list", icon=":material/playlist_add:", key="add_to_list"):
            add_to_list(services, stats)
        steering = [{"kind": "add", "feature": stats.feature, "unit": "max", "strength": 1}]
        steer = json.dumps(steering, separators=(",", ":"))
        st.page_link(
            "views/steer.py",
            label="Steer with it",
            icon=":material/tune:",
            query_params=to_params(ViewState(source=state.source, steer=steer)),
        )
        st.page_link(
            "views/sql.py",
            label="Its SQL",
            icon=":material/database:",
            query_params=to_params(ViewState(q=contexts_query(stats.source_id, stats.feature))),
        )


def add_to_list(services: Services, stats: FeatureStats) -> None:
    """Puts the feature on a list, or on a new one."""
    asked = list_adder(services.lists.list_lists(), key=str(stats.feature))
    if asked is None:
        return
    with error_boundary():
        person = session.user_name()
        list_id = asked.list_id
        if list_id is None:
            list_id = services.lists.insert_list(asked.new_name, person).list_id
        n_new = services.lists.add_features(
            list_id, stats.source_id, [stats.feature], person, asked.note
        )
        st.text("It is on the list now." if n_new else "It was on the list; the note is kept.")


def show_statistics(stats: FeatureStats, histogram: tuple[HistogramBin, ...], unit: str) -> None:
    """Figures over everything stored, and how strong it is how often."""
    figures = (
        ("Tokens active", f"{stats.n_tokens_active:,}", "Stored tokens on which it is above zero."),
        ("Density", f"{stats.density:.3%}", "Of all stored tokens of this source."),
        ("Largest value", f"{stats.max_value:.3g}{unit}", "Over everything stored."),
        ("Mean value", f"{stats.mean_value:.3g}{unit}", "Over the tokens on which it is active."),
    )
    *columns, plot = st.columns([1, 1, 1, 1, 2.4], gap="small")
    for column, (name, value, meaning) in zip(columns, figures, strict=True):
        column.metric(name, value, help=meaning)
    if histogram:
        plot.altair_chart(value_chart(histogram), key="values")


def show_contexts(services: Services, state: ViewState, stats: FeatureStats) -> tuple[Context, ...]:
    """Where it fires, as the link chooses; returns what was shown."""
    chosen = context_filter(state)
    if chosen != state:
        session.show(replace(chosen, at=None))
        st.rerun()
    choice = read_choice(state)
    source, feature = stats.source_id, stats.feature
    shown: tuple[Context, ...] = ()
    try:
        if choice.is_filtered and choice.is_bands:
            found = services.contexts.list_filtered_bands(
                source, feature, choice.where, N_BANDS, PER_BAND
            )
            bands = found.bands
        elif choice.is_filtered:
            found = services.contexts.list_filtered_contexts(
                source, feature, choice.where, N_CONTEXTS
            )
            shown, bands = found.contexts, ()
        elif choice.is_bands:
            bands = services.features.list_contexts_by_quantile(source, feature, N_BANDS, PER_BAND)
        else:
            shown, bands = services.features.list_top_contexts(source, feature, N_CONTEXTS), ()
    except StoreError as error:
        notice("warning", error.message, error.hint, title="Filter")
        return ()
    if choice.is_filtered:
        whole = "" if found.is_complete else ", not all of them"
        st.caption(f"{found.n_passed:,} of {found.n_examined:,} places that were looked at{whole}.")
    for number, band in enumerate(bands):
        st.caption(f"{band.low:.3g} to {band.high:.3g} · {band.n_tokens_active:,} tokens")
        context_list(band.contexts, feature, stats.max_value, key=f"band-{number}")
        shown += band.contexts
    if shown and not bands:
        context_list(shown, feature, stats.max_value, key="contexts")
    elif not shown:
        st.text(
            "No place passes this filter."
            if choice.is_filtered
            else "It has not been active on any stored token."
        )
    return shown


def show_export(
    source: str,
    stats: FeatureStats,
    histogram: tuple[HistogramBin, ...],
    labels: tuple[Label, ...],
    contexts: tuple[Context, ...],
) -> None:
    """What the page shows, as files."""
    name = f"{source}-{stats.feature}"
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("Statistics and contexts:", width="content")
        st.download_button(
            "JSON",
            to_json(source, stats, histogram, labels, contexts),
            f"{name}.json",
            "application/json",
            type="tertiary",
            on_click="ignore",
            key="export_json",
        )
        st.download_button(
            "CSV",
            to_csv(stats.feature, contexts),
            f"{name}.csv",
            "text/csv",
            type="tertiary",
            on_click="ignore",
            key="export_csv",
        )


def show(
    services: Services, state: ViewState, feature: int, toy: bool, head: DeltaGenerator
) -> None:
    """The whole page of one feature, its name in the place that is kept for it."""
    source = state.source or ""
    unit = " (toy)" if toy else ""
    stats = services.features.get_feature_stats(source, feature)
    histogram = services.features.get_feature_histogram(stats.source_id, feature)
    labels = services.labels.list_history(stats.source_id, feature)
    with head:
        show_head(services, state, stats, labels, toy)
    show_statistics(stats, histogram, unit)
    left, right = st.columns([5, 4], gap="medium")
    with left:
        st.subheader(f"Where it fires{unit}", anchor=False)
        contexts = show_contexts(services, state, stats)
        if contexts:
            show_export(source, stats, histogram, labels, contexts)
        try_text(services, state, stats, unit)
    with right:
        directions = show_evidence(services, state, stats, unit)
    show_neighbours(services, directions, stats, source, unit)
    st.caption(f"As of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, over all that is stored.")


def show_some(services: Services, source: str, is_toy: bool) -> None:
    """Features to begin with: those whose labels foretell best where they fire."""
    try:
        found = services.search.search_features(source, "", sort="score", limit=N_BEGUN_WITH)
    except StoreError:
        return  # nothing of the source is stored, or it cannot be searched: the page says enough
    if found.rows:
        st.subheader(
            f"Some of its {found.n_found:,} features{' (toy)' if is_toy else ''}", anchor=False
        )
        found_table(found.rows, source, key="some")


services = get_services()
link = services.get_link(session.read_link())
sources = services.engine.sources()
names = tuple(dict.fromkeys([item.name for item in sources] + [link.state.source or ""]))
names = tuple(name for name in names if name)
known = next((item for item in sources if item.name == link.state.source), sources[0])
place = page_header("What does this feature mean?", known, services.engine.status(), link.problems)
last = None if known.d_sae is None else known.d_sae - 1
head, chooser = st.columns([5, 3], gap="medium")
with chooser:
    state = choose(link.state, names, last)
with place:
    share_link(services, "feature", state)
if state.feature is None or state.source is None:
    st.text("Choose a feature above, search for one, or click one in the table of a run.")
    st.page_link("views/features.py", label="Search features", icon=":material/search:")
    show_some(services, state.source or known.name, known.is_toy)
elif state.source == known.name and not known.has_sae:
    notice("info", f"{state.source} is a model without an SAE: it has no features.", title="None")
elif last is not None and state.source == known.name and state.feature > last:
    notice("warning", f"{state.source} has the features 0 to {last:,}, and no {state.feature:,}.")
else:
    tell_changes(services, state, state.source, state.feature)
    try:
        show(services, state, state.feature, known.is_toy, head)
    except SourceNotFoundError as error:
        notice("info", error.message, error.hint, title="Nothing stored")
        st.page_link("views/ask.py", label="Ask a question", icon=":material/chat:")
