"""Compare: two runs side by side, or two cohorts of runs feature by feature."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.compare_parts.cohorts import show_cohorts
from dashboard.compare_parts.pair import show_pair
from dashboard.components.boundary import error_boundary
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.source_and_part import source_and_part
from dashboard.fill_offer import fill_offer
from dashboard.links import ViewState
from dashboard.services import Services, get_services
from dashboard.shared_link import share_link, tell_changes
from engine.api import SourceInfo
from store.errors import SourceNotFoundError

TABS = {"cohorts": "Two cohorts of runs", "runs": "Two runs"}


def choose(state: ViewState, sources: tuple[SourceInfo, ...]) -> ViewState:
    """Source and part of the page; a change goes into the link."""
    names = [item.name for item in sources]
    shown = state.source or names[0]
    tab = tab_of(state)
    source, chosen = source_and_part(names, shown, TABS, tab)
    if source != shown or chosen != tab:
        session.show(replace(ViewState(a=state.a, b=state.b), source=source, tab=chosen))
        st.rerun()
    return replace(state, source=source)


def tab_of(state: ViewState) -> str:
    """Which part the link shows: runs where it names one, else cohorts."""
    if state.tab in TABS:
        return state.tab
    return "runs" if state.run or state.other else "cohorts"


def show(services: Services, state: ViewState, source: SourceInfo | None) -> None:
    """The chosen part of the page."""
    name = state.source or ""
    is_toy = source is not None and source.is_toy
    try:
        if tab_of(state) == "runs":
            show_pair(services, state, name, is_toy)
        else:
            services.run_sets.count_runs("", name)  # says whether anything is stored at all
            show_cohorts(services, state, name, is_toy)
    except SourceNotFoundError as error:
        if source is None:
            notice("info", error.message, error.hint, title="Nothing stored")
        else:
            fill_offer(services, source, f"{source.name} has read nothing yet to compare.")


services = get_services()
link = services.get_link(session.read_link())
sources = services.engine.sources()
name = link.state.source or (sources[0].name if sources else None)
known = next((item for item in sources if item.name == name), None)
place = page_header("What differs?", known, services.engine.status(), link.problems)
state = choose(link.state, sources)
with place:
    share_link(services, "compare", state)
tell_changes(services, state, state.source)
with error_boundary():
    show(services, state, known)
