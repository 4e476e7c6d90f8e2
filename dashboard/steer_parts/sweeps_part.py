"""Sweeps: started, followed, resumed, and what came of them; each cell opens its examples.

Invariant: a sweep is a task of the engine whose cells are stored as they are measured; this part
reads them, and computes nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.notice import notice
from dashboard.components.sweep_forms import concept_form, file_form, ranking_form, ready_form
from dashboard.links import ViewState
from dashboard.markdown_text import as_plain
from dashboard.steer_parts.page import SteerPage
from dashboard.steer_parts.sweep_detail import show_sweep
from dashboard.sweep_view import best_words
from engine.api import TaskView
from engine.errors import EngineError
from store.errors import StoreError
from store.sweep_records import Sweep

KINDS = ("sweep", "ranking")
_MOST_LISTED = 30
_TASK_WORDS = {"confabulation": "made-up answers", "concept": "concept", "ranking": "ranking"}


def sweeps_part(page: SteerPage) -> None:
    """Draws the part."""
    task = page.task(KINDS)
    if task is not None:
        _show_task(page, task)
    if page.state.sweep is not None:
        try:
            report = page.services.engine.steering.sweep(page.state.sweep)
        except StoreError as error:
            notice("warning", error.message, error.hint)
        else:
            st.page_link(
                "views/steer.py",
                label="All sweeps",
                icon=":material/arrow_back:",
                query_params=page.params(ViewState(source=page.source.name, tab="sweeps")),
            )
            if report.sweep.summary is None:
                _resume(page, report.sweep)
            show_sweep(page, report)
            return
    _start(page)
    _list(page)


def _show_task(page: SteerPage, task: TaskView) -> None:
    if task.state == "done":
        page.go(replace(page.state, sweep=str(task.result["sweep_id"]), task=None, cell=None))
    running = _running(page, task)
    if page.follow(task):
        if running is not None:
            _again(page, running)
        page.go(replace(page.state, task=None))
    if running is not None and page.state.sweep is None:
        st.page_link(
            "views/steer.py",
            label=f"See the {running.n_cells:,} cells so far",
            icon=":material/grid_on:",
            query_params=page.params(replace(page.state, sweep=running.sweep_id)),
        )


def _running(page: SteerPage, task: TaskView) -> Sweep | None:
    """The unfinished sweep that a task works on, as its title tells."""
    for sweep in page.services.engine.steering.sweeps(limit=_MOST_LISTED):
        if sweep.summary is None and task.title == f"{sweep.name} on {sweep.source_name}":
            return sweep
    return None


def _resume(page: SteerPage, sweep: Sweep) -> None:
    """An unfinished sweep: followed if it runs, else it can go on."""
    title = f"{sweep.name} on {sweep.source_name}"
    for task in page.services.engine.tasks.tasks():
        if task.is_active and task.kind in KINDS and task.title == title:
            if page.state.task != task.task_id:
                page.follow(task)
            return
    st.text(f"This sweep stopped after {sweep.n_cells:,} cells; what was measured is kept.")
    if st.button("Resume", type="primary", icon=":material/play_arrow:", key="resume"):
        _again(page, sweep)


def _again(page: SteerPage, sweep: Sweep) -> None:
    steering = page.services.engine.steering
    try:
        spec = steering.read_sweep_spec(sweep.spec)
        task = steering.start_sweep(spec, session.user_name())
    except (EngineError, StoreError) as error:
        notice("error", error.message, error.hint)
        return
    page.go(replace(page.state, task=task.task_id))


def _start(page: SteerPage) -> None:
    """The forms, one at a time."""
    steering, source, person = page.services.engine.steering, page.source, session.user_name()
    with st.container(border=True):
        ways = {
            "ready": "Ready-made: made-up answers",
            "own": "Concepts and features",
            "rank": "Rank features by their effect",
            "file": "A spec file",
        }
        way = st.segmented_control(
            "What to sweep",
            list(ways),
            format_func=lambda name: ways[name],
            default="ready" if source.is_toy else "own",
            required=True,
            key="sweep_way",
            label_visibility="collapsed",
        )
        task: TaskView | None = None
        try:
            if way == "ready":
                n_questions = ready_form(source.is_toy)
                if n_questions is not None:
                    spec = steering.demo_sweep(source.name, n_questions)
                    task = steering.start_sweep(spec, person)
            elif way == "own":
                names = [item.name for item in steering.concepts(source.name)]
                plain = concept_form(names, source.n_layers)
                if plain is not None:
                    spec = steering.read_sweep_spec(json.dumps(plain), source.name)
                    task = steering.start_sweep(spec, person)
            elif way == "rank":
                asked = ranking_form(source.is_toy)
                if asked is not None:
                    task = steering.rank_features(
                        source.name,
                        person,
                        asked.prompts,
                        asked.target,
                        asked.features,
                        asked.strength,
                    )
            else:
                data = file_form()
                if data is not None:
                    task = steering.start_sweep(steering.read_sweep_spec(data, source.name), person)
        except (EngineError, StoreError) as error:
            notice("error", error.message, error.hint)
        except ValueError:
            notice("error", "Strengths and features are numbers.", "Divide them by commas.")
        if task is not None:
            page.go(replace(page.state, task=task.task_id, sweep=None, cell=None))


def _list(page: SteerPage) -> None:
    """Sweeps that were started before, newest first."""
    sweeps = page.services.engine.steering.sweeps(page.source.name, _MOST_LISTED)
    st.markdown("**Sweeps so far**")
    if not sweeps:
        st.text("None yet. Start one above; its cells are kept as they are measured.")
        return
    for sweep in sweeps:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.page_link(
                "views/steer.py",
                label=as_plain(sweep.name[:80]),
                icon=":material/grid_on:",
                query_params=page.params(
                    ViewState(source=page.source.name, tab="sweeps", sweep=sweep.sweep_id)
                ),
            )
            state = "" if sweep.summary is not None else ", not finished"
            st.caption(
                f"{_TASK_WORDS.get(sweep.task, sweep.task)}, {sweep.n_cells:,} cells{state}, "
                f"{sweep.created_at:%Y-%m-%d %H:%M} UTC",
                width="content",
            )
            found = best_words(sweep.summary)
            if found:
                st.text(f"{found}{page.toy}", width="content")
