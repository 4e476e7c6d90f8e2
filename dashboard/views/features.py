"""Features: search them, see them on a map, keep lists of them, label them all."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.source_and_part import source_and_part
from dashboard.feature_parts.labelling import show_labels
from dashboard.feature_parts.landscape import show_map
from dashboard.feature_parts.lists import show_lists
from dashboard.feature_parts.search import show_firing, show_found, show_token
from dashboard.fill_offer import fill_offer
from dashboard.links import ViewState
from dashboard.services import Services, get_services
from dashboard.shared_link import share_link, tell_changes
from engine.api import SourceInfo
from store.errors import SourceNotFoundError

TABS = {
    "search": "Words and filters",
    "token": "Fires on a token",
    "text": "What fires here",
    "map": "Map",
    "lists": "Lists",
    "labels": "Labels",
}


def choose(state: ViewState, sources: tuple[SourceInfo, ...]) -> ViewState:
    """Source and part of the page; a change goes into the link."""
    names = [item.name for item in sources]
    shown = state.source or names[0]
    tab = state.tab if state.tab in TABS else "search"
    source, chosen = source_and_part(names, shown, TABS, tab)
    if source != shown:
        # what was chosen belongs to the source that it was chosen of
        state = ViewState(source=source, tab=state.tab, where=state.where, find=state.find)
        session.show(state)
        st.rerun()
    if chosen != tab:
        session.show(ViewState(source=source, tab=None if chosen == "search" else chosen))
        st.rerun()
    return replace(state, source=source)


def show(services: Services, state: ViewState, source: SourceInfo | None) -> None:
    """The chosen part of the page."""
    name = state.source or ""
    is_toy = source is not None and source.is_toy
    parts = {
        "token": show_token,
        "text": show_firing,
        "map": show_map,
        "lists": show_lists,
        "labels": show_labels,
    }
    try:
        parts.get(state.tab or "", show_found)(services, state, name, is_toy)
    except SourceNotFoundError as error:
        if source is None:
            notice("info", error.message, error.hint, title="Nothing stored")
        else:
            fill_offer(services, source, f"{source.name} has read nothing yet: no feature fired.")


services = get_services()
link = services.get_link(session.read_link())
sources = services.engine.sources()
known = next((item for item in sources if item.name == link.state.source), None)
if link.state.source is None and sources:
    known = sources[0]
place = page_header("Which feature is it?", known, services.engine.status(), link.problems)
state = choose(link.state, sources)
with place:
    share_link(services, "features", state)
tell_changes(services, state, state.source)
with error_boundary():
    if known is not None and not known.has_sae:
        notice("info", f"{known.name} is a model without an SAE: it has no features.", title="None")
    else:
        show(services, state, known)
