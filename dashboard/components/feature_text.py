"""A text of one's own beside one feature: the form, and the text's tokens shaded by the feature.

Invariant: data in, widgets out; tokens go through the token strip.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.token_strip import NO_TOKEN, PAGE_TOKENS, token_strip
from dashboard.links import ViewState, to_params
from dashboard.run_view import RunView
from dashboard.shading import feature_shading
from store.records import FeatureStats

MAX_TEXT_CHARS = 8_000
_STRIP = "feature_text_strip"


def text_form(text: str) -> str | None:
    """Draws the form; returns the text once it is sent."""
    with (
        st.form("try_text", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        typed = st.text_input(
            "A text that it may fire on",
            value=text,
            max_chars=MAX_TEXT_CHARS,
            label_visibility="collapsed",
            placeholder="a text that it may fire on",
        )
        if st.form_submit_button("Read it", icon=":material/menu_book:") and typed.strip():
            return typed
    return None


def feature_text(view: RunView, stats: FeatureStats, token: int | None, unit: str) -> None:
    """Draws the tokens of a run, shaded by a feature up to its largest stored value."""
    shading = feature_shading(view, stats.feature, None)
    largest = max(stats.max_value, shading.maximum)
    here = f"here {shading.maximum:.3g} of {largest:.3g}" if shading.values else "silent here"
    shading = replace(
        shading,
        title=f"feature {stats.feature}, {here}{unit}",
        maximum=largest,
        high=f"its largest stored value {largest:.3g}{unit}",
    )
    token_strip(
        view.tokens[:PAGE_TOKENS],
        0,
        shading,
        token,
        identity=f"{view.run.run_key}-text",
        key=_STRIP,
        on_pick=_on_token,
    )
    st.page_link(
        "views/ask.py",
        label="All features of this text",
        icon=":material/arrow_forward:",
        query_params=to_params(ViewState(run=view.run.run_key, feature=stats.feature)),
    )


def _on_token() -> None:
    position = session.picked(_STRIP, "picked")
    if position is not None:
        session.show(replace(session.view(), token=None if position == NO_TOKEN else position))
