"""Vectors: concepts and their vectors; made, looked at, compared, combined, exchanged, deleted.

Invariant: what runs a model is a task; everything else reads and writes the store alone.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.concept_table import concept_table
from dashboard.components.notice import notice
from dashboard.components.pair_form import pair_form, runs_form
from dashboard.components.vector_exchange import export_buttons, import_form
from dashboard.components.vector_mix import choose_vectors, combine_form
from dashboard.links import ViewState
from dashboard.steer_charts import LEAST_RELIABILITY, overlap_chart
from dashboard.steer_draft import DraftRow, SteerDraft, to_steer
from dashboard.steer_parts.page import SteerPage, show_profile, vector_name
from dashboard.steer_parts.presets import best_vectors
from engine.errors import EngineError
from store.errors import StoreError
from store.steering_records import Vector

_KINDS = ("vectors", "library")


def vectors_part(page: SteerPage) -> None:
    """Draws the part."""
    told = session.take_notice()
    if told is not None:
        notice("info", *told, title="Done")
    task = page.task(_KINDS)
    if task is not None and page.follow(task):
        page.go(replace(page.state, task=None))
    steering = page.services.engine.steering
    concepts = steering.concepts(page.source.name)
    # those that sweeps made for themselves, such as random directions, are of no concept
    vectors = tuple(item for item in steering.vectors(page.source.name) if item.concept)
    chosen = next((v for v in vectors if v.vector_id == page.state.vector), None)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.markdown("**Concepts**")
        concept_table(concepts, page.source.is_toy)
        missing = sum(item.is_library and not item.n_vectors for item in concepts)
        if missing:
            st.text(f"{missing} concepts of the library have no vectors yet.")
        is_busy = task is not None and task.is_active
        if st.button(
            "Prepare the library",
            icon=":material/library_books:",
            type="primary" if missing else "secondary",
            disabled=is_busy or not missing,
            key="prepare",
            help="Makes the vectors of every concept at every layer. What is stored is skipped.",
        ):
            started = steering.prepare_library(page.source.name, session.user_name())
            page.go(replace(page.state, task=started.task_id))
    with right:
        _show_concept(page, vectors, chosen)
    _make(page)
    if vectors:
        with st.expander("Compare and combine", icon=":material/grid_on:"):
            _mix(page, vectors)
    with st.expander("Import a file", icon=":material/upload:"):
        _import(page)


def _show_concept(page: SteerPage, vectors: tuple[Vector, ...], chosen: Vector | None) -> None:
    names = list(dict.fromkeys(vector.concept for vector in vectors))
    if not names:
        st.markdown("**Layers of a concept**")
        st.text("No vector is stored yet. Prepare the library, or make one from pairs below.")
        return
    best = best_vectors(vectors)
    current = chosen.concept if chosen else next(iter(best), names[0])
    name = st.selectbox("Concept", names, index=names.index(current), key=f"concept-{current}")
    own = [vector for vector in vectors if vector.concept == name]
    if name != current:
        first = best.get(name, own[0])
        page.go(replace(page.state, vector=first.vector_id, task=None))
    rows = page.services.engine.steering.layer_profile(page.source.name, name)
    if rows:
        show_profile(rows)
        bad = [str(row.layer) for row in rows if not row.is_reliable]
        st.text(
            f"From {rows[0].n_pairs:,} pairs{page.toy}; nothing was steered for it. "
            + (
                f"Unreliable, below {LEAST_RELIABILITY:g}, after layer {', '.join(bad)}."
                if bad
                else f"All layers are reliable: halves of the pairs agree by more than "
                f"{LEAST_RELIABILITY:g}."
            )
        )
    else:
        st.text("Imported or combined: no pairs tell how reliable it is.")
    _act_on(page, own, chosen if chosen in own else best.get(name, own[0]))


def _act_on(page: SteerPage, own: list[Vector], chosen: Vector) -> None:
    """What can be done with the vectors of one concept."""
    newest = list({vector.layer: vector for vector in reversed(own)}.values())
    layers = sorted(vector.layer for vector in newest)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        layer = st.selectbox(
            "After layer", layers, index=layers.index(chosen.layer), key=f"at-{chosen.vector_id}"
        )
        vector = next(item for item in newest if item.layer == layer)
        reliability = "–" if vector.reliability is None else f"{vector.reliability:.2f}"
        st.text(
            f"{vector.vector_id}: length {vector.norm:.3g}, reliability {reliability}{page.toy}, "
            f"{vector.method.replace('_', ' ')}, by {vector.created_by}"
        )
    if vector.vector_id != page.state.vector and vector.layer != chosen.layer:
        page.go(replace(page.state, vector=vector.vector_id, task=None))
    draft = SteerDraft((DraftRow(vector_id=vector.vector_id),))
    state = ViewState(source=page.source.name, steer=to_steer(draft), vector=vector.vector_id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.page_link(
            "views/steer.py",
            label="Steer with it",
            icon=":material/play_arrow:",
            query_params=page.params(state),
        )
        steering = page.services.engine.steering
        ids = [item.vector_id for item in newest]
        export_buttons(
            lambda form: steering.export_vectors(ids, form),
            vector.concept,
            has_gguf=any(layers),
        )
        if st.button("Delete", icon=":material/delete:", key="delete_vector", type="tertiary"):
            try:
                steering.delete_vector(vector.vector_id)
            except StoreError as error:
                notice("error", error.message, error.hint)
            else:
                session.tell(f"The vector {vector.vector_id} was deleted.")
                page.go(replace(page.state, vector=None, task=None))


def _make(page: SteerPage) -> None:
    steering = page.services.engine.steering
    with st.expander("Make a vector", icon=":material/add_circle:"):
        way = st.segmented_control(
            "From",
            ("pairs of texts", "runs of the store"),
            default="pairs of texts",
            required=True,
            key="make_from",
            label_visibility="collapsed",
        )
        try:
            if way == "pairs of texts":
                asked = pair_form()
                if asked is None:
                    return
                pairs = steering.read_pairs(
                    asked.name,
                    asked.data,
                    asked.templates,
                    asked.form,
                    asked.reading,
                    asked.file_name,
                )
                task = steering.make_vectors(page.source.name, pairs, session.user_name())
            else:
                runs = runs_form()
                if runs is None:
                    return
                task = steering.make_vectors_of_runs(
                    page.source.name,
                    runs.name,
                    runs.with_runs,
                    runs.without_runs,
                    session.user_name(),
                    runs.position,
                )
        except (EngineError, StoreError) as error:
            notice("error", error.message, error.hint)
            return
        page.go(replace(page.state, task=task.task_id))


def _mix(page: SteerPage, vectors: tuple[Vector, ...]) -> None:
    steering = page.services.engine.steering
    names = {vector_name(vector): vector for vector in vectors}
    chosen = choose_vectors(list(names), _first(page, vectors))
    if len(chosen) < 2:
        st.text("Choose at least two vectors.")
        return
    ids = [names[name].vector_id for name in chosen]
    try:
        matrix = steering.overlap(ids)
    except (EngineError, StoreError) as error:
        notice("error", error.message, error.hint)
        return
    short = [name.rpartition(" · vector")[0] for name in chosen]
    shown = short if len(set(short)) == len(short) else chosen
    st.altair_chart(overlap_chart(shown, matrix), width="stretch")
    if len({names[name].layer for name in chosen}) > 1:
        st.text("These are of several layers: to combine some, choose those of one layer.")
        return
    asked = combine_form(chosen)
    if asked is None:
        return
    try:
        made = steering.combine(ids, asked.weights, asked.name, session.user_name(), asked.budget)
    except (EngineError, StoreError) as error:
        notice("error", error.message, error.hint)
        return
    session.tell(f"Stored as {made.name}, vector {made.vector_id}, length {made.norm:.3g}.")
    page.go(replace(page.state, vector=made.vector_id, task=None))


def _first(page: SteerPage, vectors: tuple[Vector, ...]) -> list[str]:
    """One vector a concept, of one layer: that of the link's vector, else the SAE's."""
    chosen = next((v for v in vectors if v.vector_id == page.state.vector), None)
    layer = chosen.layer if chosen else page.source.layer
    newest = {v.concept: v for v in reversed(vectors) if v.layer == layer}
    return [vector_name(vector) for vector in newest.values()][:8]


def _import(page: SteerPage) -> None:
    asked = import_form()
    if asked is None:
        return
    try:
        made = page.services.engine.steering.import_vectors(
            page.source.name,
            asked.data,
            asked.file_name,
            session.user_name(),
            asked.metadata,
            asked.name,
        )
    except (EngineError, StoreError) as error:
        notice("error", error.message, error.hint)
        return
    layers = ", ".join(str(vector.layer) for vector in made)
    session.tell(f"{len(made)} vectors were stored, of layer {layers}.")
    page.go(replace(page.state, vector=made[0].vector_id, task=None))
