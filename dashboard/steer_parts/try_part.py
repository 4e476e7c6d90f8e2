"""Try: a question answered plainly and steered, side by side, as the link says.

Invariant: everything that decides the two answers is in the link once they are asked; their keys
are too, so that a shared link is read from the store without any model.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import session
from dashboard.components.intervention_rows import intervention_rows
from dashboard.components.notice import notice
from dashboard.components.source_problem import source_problem
from dashboard.components.steer_form import AskedSteering, steer_form
from dashboard.components.steered_list import rows_content, steered_list
from dashboard.links import ViewState
from dashboard.markdown_text import as_plain
from dashboard.shared_link import share_link
from dashboard.steer_draft import DraftRow, SteerDraft, draft_of, parse_steer, to_steer
from dashboard.steer_parts.asking import EDITOR, ask_both, content_of, find_view
from dashboard.steer_parts.page import PAGE, SteerPage, vector_name
from dashboard.steer_parts.presets import Preset, list_presets
from dashboard.steer_parts.results import show_results
from dashboard.steer_parts.targets import make_targets
from store.errors import RunNotFoundError
from store.specs import Message, SamplingSpec, parse_interventions
from store.steering_records import Vector

_MOST_VECTORS = 400
_MOST_OPEN_ROWS = 3
_N_LATELY = 12


def try_part(page: SteerPage, place: DeltaGenerator) -> None:
    """Draws the part.

    Args:
        place: of the copy-link button.
    """
    state = _completed(page)
    page = replace(page, state=state)
    draft, problem = parse_steer(state.steer)
    if problem is not None:
        notice("warning", problem, "It was left out; the rest of the link was used.")
    stored = page.services.engine.steering.vectors(page.source.name, limit=_MOST_VECTORS)
    vectors = tuple(item for item in stored if item.method != "random")
    number = session.editor_round(EDITOR, content_of(state))
    presets = list_presets(page.services, page.source.name, vectors)
    if not draft.rows:
        chosen = _begin(presets)
        if chosen is not None:
            page.go(_stated(state, chosen.draft))
    asked = steer_form(page.sources, state, draft, session.has_past(EDITOR), number)
    with _place_of_rows(len(draft.rows), state.run is not None):
        rows, is_anew = intervention_rows(draft.rows, make_targets(page, vectors), number)
    now = SteerDraft(rows, asked.sampling)
    now_state = _stated(
        replace(state, prompt=asked.prompt, source=asked.source, tools=asked.tools), now
    )
    with place:
        share_link(page.services, PAGE, now_state)
    _act(page, asked, now_state, now, presets, is_anew)
    if page.source.problem is not None and state.run is None:
        is_missing = not page.services.engine.weights(page.source.name).is_complete
        source_problem(page.source.name, page.source.problem, "", is_missing)
    else:
        show_results(page)
    if state.run is None and state.job is None:
        _show_lately(page, presets, vectors)


def _place_of_rows(n_rows: int, has_answers: bool) -> DeltaGenerator:
    """Many interventions are folded away, so that the answers are seen first."""
    if n_rows <= _MOST_OPEN_ROWS:
        return st.container()
    return st.expander(f"{n_rows} interventions", expanded=not has_answers, icon=":material/tune:")


def _show_lately(page: SteerPage, presets: tuple[Preset, ...], vectors: tuple[Vector, ...]) -> None:
    """What was steered before: something to look at, and to begin from."""
    runs = page.services.runs.list_steered_runs(page.source.name, _N_LATELY)
    if runs:
        names = {item.vector_id: vector_name(item) for item in vectors}
        titles = {rows_content(item.draft.rows): item.title for item in presets}
        steered_list(runs, titles, names, datetime.now(UTC), page.source.is_toy)


def _begin(presets: tuple[Preset, ...]) -> Preset | None:
    """Nothing is steered yet: a sentence and what can be begun with."""
    if not presets:
        st.text(
            "Nothing is steered yet. Add an intervention below, or make vectors of concepts on "
            "the part Vectors."
        )
        return None
    st.text("Nothing is steered yet. Add an intervention below, or begin with one of these:")
    with st.container(horizontal=True, gap="small"):
        for index, preset in enumerate(presets[:6]):
            if st.button(as_plain(preset.title), help=as_plain(preset.help), key=f"begin-{index}"):
                return preset
    return None


def _act(
    page: SteerPage,
    asked: AskedSteering,
    state: ViewState,
    draft: SteerDraft,
    presets: tuple[Preset, ...],
    is_anew: bool,
) -> None:
    """Does what a button of the form asks for."""
    if asked.action == "add":
        page.go(_stated(state, replace(draft, rows=(*draft.rows, DraftRow()))))
    if asked.action == "undo":
        past = session.take_past(EDITOR)
        if past is not None:
            page.go(_restored(page.state, past))
    with asked.preset_place:
        for index, preset in enumerate(presets):
            if st.button(as_plain(preset.title), help=as_plain(preset.help), key=f"preset-{index}"):
                page.go(_stated(state, replace(draft, rows=preset.draft.rows)))
        if not presets:
            st.caption("None yet: make vectors on the part Vectors, or run a sweep.")
    if asked.source != page.source.name:
        page.go(ViewState(source=asked.source, prompt=state.prompt))
    if is_anew:
        page.go(state)
    if asked.action == "run":
        ask_both(page, state, draft, _messages(page, state.prompt or ""))


def _completed(page: SteerPage) -> ViewState:
    """The link's state; a link that names a stored run alone says what that run was."""
    state = page.state
    if state.run is None or state.prompt is not None or state.steer is not None:
        return state
    view = find_view(page, state.run)
    if view is None:
        notice("warning", RunNotFoundError(state.run).message, "Ask it below.")
        return replace(state, run=None)
    run = view.run
    sampling = SamplingSpec(run.max_new_tokens, run.temperature, run.top_p, run.top_k, run.seed)
    draft = draft_of(parse_interventions(json.loads(run.steering)), sampling)
    return replace(
        state,
        other=state.other or page.services.runs.find_plain_run_key(run.run_key),
        prompt=run.messages[-1].content,
        steer=to_steer(draft),
        tools="on" if run.tools else None,
        source=run.source_name,
    )


def _messages(page: SteerPage, prompt: str) -> tuple[Message, ...]:
    """The question, after the chat of the run that the page shows, if it was one."""
    view = find_view(page, page.state.run)
    earlier = view.run.messages[:-1] if view is not None else ()
    return (*earlier, Message("user", prompt))


def _stated(state: ViewState, draft: SteerDraft) -> ViewState:
    return replace(state, steer=to_steer(draft))


def _restored(state: ViewState, content: str) -> ViewState:
    source, prompt, tools, steer = json.loads(content)
    return replace(state, source=source, prompt=prompt, tools=tools, steer=steer)
