"""Feature: one feature over everything stored; how often it fires, and where most."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from dashboard import session
from dashboard.components.context_list import context_list
from dashboard.components.copy_link import copy_link
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.since_link import since_link
from dashboard.links import ViewState, to_path
from dashboard.services import Services, get_services
from store.changes import count_changes
from store.errors import SourceNotFoundError

N_CONTEXTS = 30


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
            width=180,
        )
        shown = state.feature or 0
        feature = st.number_input(
            "Feature", 0, last, value=shown if last is None else min(shown, last), width=180
        )
        if st.form_submit_button("Show", icon=":material/search:"):
            chosen = ViewState(source=source, feature=feature)
            session.show(chosen)
            return chosen
    return replace(state, source=state.source or names[0])


def show(services: Services, source: str, feature: int, unit: str) -> None:
    """Statistics and contexts of one feature."""
    stats = services.features.get_feature_stats(source, feature)
    figures = (
        ("Tokens active", f"{stats.n_tokens_active:,}", "Stored tokens on which it is above zero."),
        ("Density", f"{stats.density:.3%}", "Of all stored tokens of this source."),
        ("Largest value", f"{stats.max_value:.3g}{unit}", "Over everything stored."),
        ("Mean value", f"{stats.mean_value:.3g}{unit}", "Over the tokens on which it is active."),
    )
    for column, (name, value, meaning) in zip(st.columns(4, gap="small"), figures, strict=True):
        column.metric(name, value, help=meaning)
    st.caption(f"As of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, over all that is stored.")
    st.text(f"Label: {stats.label}" if stats.label else "No label yet.")
    st.subheader("Where it fires most", anchor=False)
    contexts = services.features.list_top_contexts(source, feature, N_CONTEXTS)
    if contexts:
        st.caption("Shaded by its value; a line opens its run at that token.")
        context_list(contexts, feature, stats.max_value, key="contexts")
    else:
        st.text("It has not been active on any stored token.")


services = get_services()
link = session.read_link()
sources = services.engine.sources()
names = tuple(dict.fromkeys([item.name for item in sources] + [link.state.source or ""]))
names = tuple(name for name in names if name)
known = next((item for item in sources if item.name == link.state.source), sources[0])
place = page_header("Where does this feature fire?", known, services.engine.status(), link.problems)
last = None if known.d_sae is None else known.d_sae - 1
state = choose(link.state, names, last)
with place:
    shown = ViewState(source=state.source, feature=state.feature)
    if state.feature is not None:
        shown = replace(shown, at=datetime.now(UTC))
    copy_link(to_path("feature", shown), key="copy_link")
if state.feature is None or state.source is None:
    st.text("Choose a feature above, or click one in the table of a run.")
    st.page_link("views/ask.py", label="Ask a question", icon=":material/chat:")
elif state.source == known.name and not known.has_sae:
    notice("info", f"{state.source} is a model without an SAE: it has no features.", title="None")
elif last is not None and state.source == known.name and state.feature > last:
    notice("warning", f"{state.source} has the features 0 to {last:,}, and no {state.feature:,}.")
else:
    try:
        if state.at is not None:
            since_link(
                state.at, count_changes(services.store, state.at, state.source, state.feature)
            )
        show(services, state.source, state.feature, " (toy)" if known.is_toy else "")
    except SourceNotFoundError as error:
        notice("info", error.message, error.hint, title="Nothing stored")
