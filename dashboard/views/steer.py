"""Steer: what changes when a feature or a vector is pushed, measured."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.page_header import page_header
from dashboard.links import ParsedLink, ViewState
from dashboard.services import Services, get_services
from dashboard.shared_link import share_link, tell_changes
from dashboard.steer_parts.layers_part import layers_part
from dashboard.steer_parts.page import PAGE, SteerPage
from dashboard.steer_parts.sweeps_part import sweeps_part
from dashboard.steer_parts.try_part import try_part
from dashboard.steer_parts.vectors_part import vectors_part
from store.errors import StateNotFoundError

PARTS = {"try": "Try", "vectors": "Vectors", "sweeps": "Sweeps", "layers": "Layers"}
TABS = "steer_tab"


def read_link(services: Services) -> ParsedLink:
    """The link as understood, with what its short id stands for."""
    link = session.read_link()
    try:
        return services.get_link(link)
    except StateNotFoundError as error:
        return ParsedLink(ViewState(), (*link.problems, error.message))


def choose_part(page: SteerPage) -> str:
    """Draws the tabs; the one that the link names is shown."""
    current = page.state.tab if page.state.tab in PARTS else "try"
    session.mirror(TABS, current)

    def on_choice() -> None:
        page.show(replace(page.state, tab=session.widget_value(TABS) or current, task=None))

    st.segmented_control(
        "Part of the page",
        list(PARTS),
        format_func=lambda name: PARTS[name],
        key=TABS,
        on_change=on_choice,
        required=True,
        label_visibility="collapsed",
    )
    return current


services = get_services()
link = read_link(services)
state = link.state
sources = services.engine.sources()
name = state.source
if name is None and state.run is not None:
    stored = services.runs.find_run(state.run)
    name = stored.run.source_name if stored else None
source = next((item for item in sources if item.name == name), sources[0])
place = page_header(
    "What changes when a feature is pushed?", source, services.engine.status(), link.problems
)
state = replace(state, source=source.name)
page = SteerPage(services, state, source, sources)
tell_changes(services, state, source.name)
part = choose_part(page)
if part == "try":
    try_part(page, place)
else:
    kept = replace(
        state, prompt=None, steer=None, run=None, other=None, job=None, task=None, tools=None
    )
    with place:
        share_link(services, PAGE, replace(kept, tab=part))
    {"vectors": vectors_part, "sweeps": sweeps_part, "layers": layers_part}[part](page)
