"""The map of a source's features, as the page Features shows it.

Invariant: making it is a task of the engine; the page draws what is there, and offers what is not.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.context_list import context_list
from dashboard.components.source_head import source_head
from dashboard.components.task_progress import task_end
from dashboard.feature_charts import MapColour, MapPoint, map_chart
from dashboard.feature_parts.under_way import find_task, follow, go
from dashboard.links import ViewState, to_params
from dashboard.services import Services
from engine.api import CohortRequest, FeatureMap
from engine.errors import EngineError
from store.errors import StoreError

N_CONTEXTS = 6
_COLOURS: dict[MapColour, str] = {
    "density": "Density",
    "label": "Labels",
    "difference": "Difference of two cohorts",
}
_ORIGINS = {"human": "by hand", "auto": "automatic", "model": "by a model"}


def show_map(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """The map if it is made, else the way to it."""
    services.search.get_all_stats(source)  # nothing stored is said before a map is offered
    with error_boundary():
        found = services.engine.features.find_map(source)
        if found is not None:
            _draw_map(services, state, source, found, is_toy)
            return
        st.text("The map lays features out by the directions that they write: like ones together.")
        task = find_task(services, state, "map")
        if task is not None and task.is_active:
            follow(services, task, "map")
        elif (task is not None and task_end(task, "map")) or st.button(
            "Make the map", type="primary", icon=":material/scatter_plot:", key="make_map"
        ):
            begun = services.engine.features.start_map(source, session.user_name())
            go(replace(state, task=begun.task_id))


def _draw_map(
    services: Services, state: ViewState, source: str, found: FeatureMap, is_toy: bool
) -> None:
    differences = _differences(services, state, source)
    colours = [item for item in _COLOURS if item != "difference" or differences]
    colour: MapColour = next((item for item in colours if item == state.by), "density")
    left, right = st.columns([5, 3], gap="medium")
    with left:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption("Colour by", width="content")
            wanted = st.segmented_control(
                "Colour by",
                colours,
                default=colour,
                format_func=_COLOURS.__getitem__,
                required=True,
                label_visibility="collapsed",
                key=f"map_colour-{colour}",
            )
        if wanted != colour:
            go(replace(state, by=wanted))
        points = _points(services, source, found, differences)
        event = st.altair_chart(
            map_chart(points, colour, state.feature),
            key=f"map-{colour}-{state.feature}",
            on_select="rerun",
        )
        left_over = (
            f" {found.n_left_out:,} that fire least are left out." if found.n_left_out else ""
        )
        st.caption(f"{found.method}. Distance means likeness, the axes nothing.{left_over}")
    picked = [row.get("feature") for row in event.get("selection", {}).get("chosen", [])]
    if picked and isinstance(picked[0], int) and picked[0] != state.feature:
        go(replace(state, feature=picked[0]))
    with right:
        if state.feature is None:
            st.text("Click a point to see its feature.")
            if not differences:
                st.caption("A comparison of two cohorts colours the map by what differs.")
        else:
            _show_point(services, source, state.feature, " (toy)" if is_toy else "")


def _show_point(services: Services, source: str, feature: int, unit: str) -> None:
    stats = services.features.get_feature_stats(source, feature)
    facts = [
        ("density", f"{stats.density:.3%}"),
        ("tokens active", f"{stats.n_tokens_active:,}"),
        ("largest value", f"{stats.max_value:.3g}{unit}"),
    ]
    source_head(f"Feature {feature}", stats.label or "no label yet", [], facts, key="map_head")
    st.page_link(
        "views/feature.py",
        label=f":primary[Open feature {feature}]",
        icon=":material/arrow_forward:",
        query_params=to_params(ViewState(source=source, feature=feature)),
    )
    contexts = services.features.list_top_contexts(stats.source_id, feature, N_CONTEXTS)
    context_list(contexts, feature, stats.max_value, key="map_contexts")


def _points(
    services: Services, source: str, found: FeatureMap, differences: dict[int, float]
) -> list[MapPoint]:
    stats = services.search.get_all_stats(source)
    density = dict(zip(stats.feature.tolist(), stats.density.tolist(), strict=True))
    labels = services.labels.get_current_labels(source)
    return [
        MapPoint(
            feature,
            x,
            y,
            density.get(feature, 0.0),
            labels[feature].text if feature in labels else "",
            _ORIGINS.get(labels[feature].origin, "") if feature in labels else "no label",
            differences.get(feature),
        )
        for feature, x, y in zip(found.features, found.x, found.y, strict=True)
    ]


def _differences(services: Services, state: ViewState, source: str) -> dict[int, float]:
    """Difference of each feature in the link's comparison, if that was computed."""
    if state.a is None or state.b is None:
        return {}
    request = CohortRequest(
        source,
        state.a,
        state.b,
        positions=state.positions or "generated",
        groups=state.groups or "question",
    )
    try:
        known = services.engine.features.find_comparison(request)
    except (EngineError, StoreError):
        return {}
    return {} if known is None else {row.feature: row.difference for row in known.effects.rows}
