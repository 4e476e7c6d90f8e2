"""The head of every page: the question that it answers, the source, the engine's state, its link.

Invariant: data in, widgets out; nothing is fetched here.
"""

from __future__ import annotations

from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.components.notice import notice
from dashboard.links import ViewState, to_params
from engine.api import EngineStatus, SourceInfo

_STATES: dict[str, tuple[Literal["green", "blue", "orange", "red"], str]] = {
    "idle": ("green", ":material/check_circle:"),
    "loading": ("orange", ":material/hourglass_top:"),
    "busy": ("blue", ":material/play_circle:"),
    "error": ("red", ":material/error:"),
}


def page_header(
    question: str,
    source: SourceInfo | None,
    engine: EngineStatus,
    problems: tuple[str, ...] = (),
) -> DeltaGenerator:
    """Draws the head; returns the place of the copy-link button.

    Args:
        question: that the page answers; our own words.
        source: that the page is about, if it is about one.
        problems: what in the address could not be used.
    """
    title, link = st.columns([5, 3], vertical_alignment="center")
    with title, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(question, anchor=False, width="content")
        if source is not None:
            toy = " · toy" if source.is_toy else ""
            if source.is_ready:
                st.badge(f"source {source.name}{toy}", color="gray", help=_describe(source))
            else:
                _unready(source)
        color, icon = _STATES[engine.state]
        st.badge(_state_text(engine), color=color, icon=icon, help=_engine_help(engine))
    place = link.container()
    for problem in problems:
        notice("warning", problem, "It was left out; the rest of the link was used.")
    return place


def _unready(source: SourceInfo) -> None:
    """A source that cannot be asked, and the way to the page that says why."""
    st.badge(f"source {source.name} · not ready", color="orange", icon=":material/warning:")
    st.page_link(
        "views/models.py",
        label=":primary[Why?]",
        query_params=to_params(ViewState(source=source.name)),
        help="Opens the page Models at this source.",
    )


def _state_text(engine: EngineStatus) -> str:
    waiting = f", {engine.n_queued} waiting" if engine.n_queued else ""
    return f"engine {engine.state}{waiting}"


def _engine_help(engine: EngineStatus) -> str:
    if engine.failure is not None:
        return "The last load failed; asking again tries again. Stored runs open without it."
    if engine.source is None:
        return "The model is loaded at the first question. Stored runs open without it."
    return f"On {engine.device or 'no device yet'}."


def _describe(source: SourceInfo) -> str:
    if source.is_toy:
        return "A small embedded model of an invented world: its numbers are a toy's."
    return "The model and the sparse autoencoder that features belong to."
