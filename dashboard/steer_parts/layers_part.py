"""Layers: what a concept's vector does after each layer, as measured.

Invariant: beside what the pairs say of a layer stands what steering there did; neither is guessed.
"""

from __future__ import annotations

import re
from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.notice import notice
from dashboard.links import ViewState
from dashboard.steer_charts import layer_chart
from dashboard.steer_parts.page import SteerPage, show_profile
from dashboard.steer_parts.sweep_detail import show_sweep
from dashboard.sweep_view import measures_of
from engine.api import SweepReport
from engine.errors import EngineError
from store.errors import StoreError

_STRENGTHS = "0.25, 0.5, 1"
_KEYS = {"success": "success", "coherence": "coherence", "side_effect": "side_effects"}


def layers_part(page: SteerPage) -> None:
    """Draws the part."""
    steering = page.services.engine.steering
    task = page.task(("sweep",))
    if task is not None:
        if task.state == "done":
            page.go(replace(page.state, sweep=str(task.result["sweep_id"]), task=None))
        if page.follow(task):
            page.go(replace(page.state, task=None))
    names = [item.name for item in steering.concepts(page.source.name)]
    if not names:
        st.text("This source has no concepts yet. Make vectors on the part Vectors.")
        return
    report = _find_report(page)
    current = _concept_of(page, report, names)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.selectbox(
            "Concept", names, index=names.index(current), key=f"layers-{current}", width=220
        )
        typed = st.text_input(
            "Strengths, in mean residual norms", value=_STRENGTHS, key="layer_strengths", width=260
        )
        is_asked = st.button(
            "Measure at every layer",
            type="primary" if report is None else "secondary",
            icon=":material/science:",
            disabled=task is not None and task.is_active,
            key="measure_layers",
            help="Steers open questions at each layer and strength; one half of them chooses the "
            "strength of a layer, the other half is reported.",
        )
    if name != current:
        newest = _newest(page, name)
        vector = next(iter(steering.vectors(page.source.name, name)), None)
        page.go(
            ViewState(
                source=page.source.name,
                tab="layers",
                sweep=newest,
                vector=vector.vector_id if vector else None,
                find=name,
            )
        )
    if is_asked:
        _measure(page, name, typed or "")
    profile = steering.layer_profile(page.source.name, name)
    if profile:
        st.caption(f"What the pairs say; nothing was steered{page.toy}.")
        show_profile(profile)
    if report is None:
        st.text("What it does when it steers was not measured yet.")
        return
    _show_layers(page, report)
    with st.expander("All cells", icon=":material/grid_on:"):
        show_sweep(page, report)


def _show_layers(page: SteerPage, report: SweepReport) -> None:
    rows = report.summary.get("layers", [])
    if not rows:
        st.text("It is not finished: open the part Sweeps to resume it.")
        return
    st.caption(
        "What steering did after each layer, at the strength that the other half chose there"
        f"{page.toy}; lines are 95% intervals, crosses mark text that is no longer coherent."
    )
    measures = measures_of("concept")
    for cell, measure in zip(st.columns(len(measures)), measures, strict=True):
        values = [
            {
                "arm": row["arm"],
                "layer": row["layer"],
                "strength": row["strength"],
                "coherent": "coherent" if row["is_coherent"] else "incoherent",
                **row[_KEYS[measure.quantity]],
            }
            for row in rows
        ]
        with cell:
            st.altair_chart(layer_chart(values, measure), width="stretch")
    best = report.best
    if best is not None:
        st.text(
            f"It does most after layer {best['layer']}, at {best['strength']:g} mean residual norms"
            f"{page.toy}."
        )


def _measure(page: SteerPage, concept: str, typed: str) -> None:
    try:
        strengths = [float(item) for item in re.split(r"[,;\s]+", typed) if item]
        task = page.services.engine.steering.explore_layers(
            page.source.name, concept, session.user_name(), strengths or (0.5,)
        )
    except ValueError:
        notice("error", "Strengths are numbers.", "Divide them by commas.")
        return
    except (EngineError, StoreError) as error:
        notice("error", error.message, error.hint)
        return
    page.go(replace(page.state, task=task.task_id, find=concept))


def _find_report(page: SteerPage) -> SweepReport | None:
    """The sweep of the link, else the newest one of the link's concept."""
    steering = page.services.engine.steering
    sweep_id = page.state.sweep
    if sweep_id is None:
        concept = page.state.find or _vector_concept(page)
        sweep_id = _newest(page, concept) if concept else None
    if sweep_id is None:
        return None
    try:
        report = steering.sweep(sweep_id)
    except StoreError as error:
        notice("warning", error.message, error.hint)
        return None
    return report if report.sweep.task == "concept" else None


def _concept_of(page: SteerPage, report: SweepReport | None, names: list[str]) -> str:
    if report is not None and report.arms:
        arm = next(iter(report.arms))
        if arm in names:
            return arm
    wanted = page.state.find or _vector_concept(page)
    return wanted if wanted in names else names[0]


def _vector_concept(page: SteerPage) -> str | None:
    if page.state.vector is None:
        return None
    try:
        return page.services.engine.steering.vector(page.state.vector).concept
    except StoreError:
        return None


def _newest(page: SteerPage, concept: str) -> str | None:
    """Id of the newest sweep over the layers of a concept."""
    wanted = f"Layers of {concept}"
    for sweep in page.services.engine.steering.sweeps(page.source.name, 200):
        if sweep.name == wanted:
            return sweep.sweep_id
    return None
