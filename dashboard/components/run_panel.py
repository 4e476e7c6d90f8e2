"""The tokens of a run beside their features: choose a token, choose a feature that colours them.

Invariant: a fragment of its own, so that a click draws these widgets again and no others; what is
chosen is in the link, and every widget here mirrors the link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import session
from dashboard.charts import position_chart
from dashboard.components.boundary import error_boundary
from dashboard.components.copy_link import copy_link
from dashboard.components.feature_table import (
    NO_FEATURE,
    RUN_COLUMNS,
    TOKEN_COLUMNS,
    feature_table,
    run_rows,
    token_rows,
)
from dashboard.components.notice import notice
from dashboard.components.token_strip import NO_TOKEN, PAGE_TOKENS, token_strip
from dashboard.links import Colour, Scope, ViewState, to_params, to_path
from dashboard.run_view import RunView
from dashboard.shading import Shading, detector_shading, feature_shading, model_shading
from engine.api import LiveScore
from store.records import FeatureStats

MAX_ROWS = 1_000
"""Features listed of a whole run; SQL reaches the rest."""
StatsOf = Callable[[int], FeatureStats]
LabelsOf = Callable[[Sequence[int]], Mapping[int, str]]

_STRIP = "token_strip"
_TABLE = "feature_table"
_COLOUR = "colour_by"
_SCOPE = "feature_scope"
_COLOUR_NAMES: dict[Colour, str] = {
    "feature": "Feature",
    "surprise": "Surprise",
    "entropy": "Entropy",
    "features": "Active features",
    "detector": "Detector",
}


@dataclass(frozen=True, slots=True)
class RunPanel:
    """What the panel needs of its page.

    Attributes:
        stats_of: statistics of a feature over everything stored; raises for one that the SAE lacks.
        labels_of: current labels of those of the features that have one.
        link: the place of the copy-link button, which follows what is chosen here.
        is_toy: whether its numbers are a toy's.
        score: what the chosen detector says of the run; None where none is chosen.
    """

    view: RunView
    stats_of: StatsOf
    labels_of: LabelsOf
    link: DeltaGenerator
    is_toy: bool
    score: LiveScore | None = None


@st.fragment
def run_panel(panel: RunPanel) -> None:
    """Draws strip and table for what the link says."""
    with error_boundary():
        _draw(panel, session.view())


def _draw(panel: RunPanel, state: ViewState) -> None:
    view = panel.view
    token = state.token if state.token is not None and view.has_position(state.token) else None
    with panel.link:
        made = replace(state, run=view.run.run_key, job=None, at=datetime.now(UTC))
        copy_link(to_path("ask", made), key="copy_link")
    if state.token is not None and token is None:
        last = len(view.tokens) - 1
        notice("warning", f"This run has no token {state.token}: its positions are 0 to {last}.")
    left, right = st.columns([5, 4], gap="small")
    with left:
        colour = _choose_colour(state, panel.score is not None)
        _draw_strip(panel, state, token, colour)
    with right:
        scope = _choose_scope(state, token)
        _draw_table(panel, state, token, scope)


def _draw_strip(
    panel: RunPanel, state: ViewState, token: int | None, colour: Colour | None
) -> None:
    view = panel.view
    first = _first_of_page(len(view.tokens), token)
    shading: Shading | None = None
    if colour == "feature" and state.feature is not None:
        label = panel.stats_of(state.feature).label
        shading = feature_shading(view, state.feature, label)
    elif colour == "detector":
        shading = None if panel.score is None else detector_shading(panel.score)
    elif colour is not None and colour != "feature":
        shading = model_shading(view, colour)
    if shading is not None and panel.is_toy:
        shading = replace(shading, high=f"{shading.high} (toy)")
    token_strip(
        view.tokens[first : first + PAGE_TOKENS],
        first,
        shading,
        token,
        identity=f"{view.run.run_key}-{first}",
        key=_STRIP,
        on_pick=_on_token,
    )
    if shading is not None and st.toggle("Plot along the run", key="plot"):
        n_tokens = len(view.tokens)
        chart = position_chart(shading.values, n_tokens, view.first_generated(), shading.short)
        st.altair_chart(chart, height=150)


def _draw_table(panel: RunPanel, state: ViewState, token: int | None, scope: Scope) -> None:
    view = panel.view
    if scope == "token" and token is not None:
        features = view.token_features(token)
        n_active = view.tokens[token].n_active
        hidden = n_active - len(features)
        capped = f"; the source keeps only the {len(features):,} strongest" if hidden > 0 else ""
        st.caption(f"{n_active:,} features are active on token {token}{capped}")
        labels = panel.labels_of([item.feature for item in features])
        rows, columns = token_rows(features, labels), TOKEN_COLUMNS
    else:
        ranking = view.run_features(MAX_ROWS, generated_only=scope == "generated")
        where = "the generated tokens" if scope == "generated" else "this run"
        n_listed = len(ranking.listed)
        cut = f"; the {n_listed:,} with the largest maximum are listed"
        is_cut = n_listed < ranking.n_features
        st.caption(f"{ranking.n_features:,} features are active in {where}{cut if is_cut else ''}")
        labels = panel.labels_of([item.feature for item in ranking.listed])
        rows, columns = run_rows(ranking.listed, labels), RUN_COLUMNS
    source = panel.view.run.source_name
    feature_table(columns, rows, state.feature, key=_TABLE, on_pick=_on_feature, source=source)
    if state.feature is not None:
        _draw_feature(panel, state.feature)


def _draw_feature(panel: RunPanel, feature: int) -> None:
    """What the store knows of the chosen feature, and the way to its page."""
    stats = panel.stats_of(feature)
    toy = " (toy)" if panel.is_toy else ""
    st.text(
        f"Feature {feature} is active on {stats.n_tokens_active:,} of all stored tokens "
        f"({stats.density:.2%}), at most {stats.max_value:.3g}{toy}. "
        + (f"Label: {stats.label}" if stats.label else "It has no label yet.")
    )
    st.page_link(
        "views/feature.py",
        label=f"Where feature {feature} fires in everything stored",
        icon=":material/arrow_forward:",
        query_params=to_params(ViewState(source=panel.view.run.source_name, feature=feature)),
    )


def _choose_colour(state: ViewState, has_score: bool) -> Colour | None:
    current: Colour | None = state.colour
    if current == "detector" and not has_score:
        current = None
    if current is None and state.feature is not None:
        current = "feature"
    session.mirror(_COLOUR, current)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Colour by", width="content")
        st.segmented_control(
            "Colour by",
            [name for name in get_args(Colour) if name != "detector" or has_score],
            format_func=lambda name: _COLOUR_NAMES[name],
            key=_COLOUR,
            on_change=_on_colour,
            label_visibility="collapsed",
        )
    if current == "feature" and state.feature is None:
        st.caption("Choose a feature in the table to colour the tokens by it.")
    return current


def _choose_scope(state: ViewState, token: int | None) -> Scope:
    current: Scope = state.scope or ("token" if token is not None else "run")
    if current == "token" and token is None:
        current = "run"
    names = {"token": f"Token {token}", "run": "Whole run", "generated": "Generated"}
    options = [name for name in get_args(Scope) if name != "token" or token is not None]
    session.mirror(_SCOPE, current)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Features of", width="content")
        st.segmented_control(
            "Features of",
            options,
            format_func=lambda name: names[name],
            key=_SCOPE,
            on_change=_on_scope,
            required=True,
            label_visibility="collapsed",
        )
    return current


def _first_of_page(n_tokens: int, token: int | None) -> int:
    if n_tokens <= PAGE_TOKENS:
        return 0
    pages = range(0, n_tokens, PAGE_TOKENS)
    chosen = st.selectbox(
        "Tokens",
        pages,
        index=(token or 0) // PAGE_TOKENS,
        format_func=lambda first: f"tokens {first:,} to {min(first + PAGE_TOKENS, n_tokens) - 1:,}",
        key=f"token_page-{(token or 0) // PAGE_TOKENS}",
        label_visibility="collapsed",
    )
    return int(chosen)


def _on_token() -> None:
    position = session.picked(_STRIP, "picked")
    if position is not None:
        session.select_token(None if position == NO_TOKEN else position)


def _on_feature() -> None:
    feature = session.picked(_TABLE, "picked")
    if feature is not None:
        session.select_feature(None if feature == NO_FEATURE else feature)


def _on_colour() -> None:
    session.select_colour(session.widget_value(_COLOUR))


def _on_scope() -> None:
    session.select_scope(session.widget_value(_SCOPE))
