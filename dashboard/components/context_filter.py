"""Which contexts of a feature are shown: from the top or from all over its values, and of what.

Invariant: draws what the link says and returns what is chosen now; it never fetches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import streamlit as st

from dashboard.links import Role, ViewState
from dashboard.run_presets import RUN_PRESETS, preset_name
from store.feature_records import ContextFilter

_BANDS = "bands"
_ORDERS = {"top": "Strongest", _BANDS: "All over its values"}
_ANY = "anybody's"
_OWN = "a filter of mine"


@dataclass(frozen=True, slots=True)
class ContextChoice:
    """What of a feature's contexts is shown."""

    is_bands: bool
    where: ContextFilter

    @property
    def is_filtered(self) -> bool:
        """Whether anything is left out."""
        return self.where != ContextFilter()


def read_choice(state: ViewState) -> ContextChoice:
    """What the link chooses."""
    where = ContextFilter(
        generated_only=state.scope == "generated", role=state.role, runs=state.where or ""
    )
    return ContextChoice(state.tab == _BANDS, where)


def context_filter(state: ViewState) -> ViewState:
    """Draws the choice; returns the state that it makes of the link's."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        order = st.segmented_control(
            "Contexts",
            list(_ORDERS),
            default=_BANDS if state.tab == _BANDS else "top",
            format_func=_ORDERS.__getitem__,
            label_visibility="collapsed",
            required=True,
            key=f"context_order-{state.tab}",
        )
        choice = read_choice(state)
        name = f"Filter: {_words(choice)}" if choice.is_filtered else "Filter"
        with st.popover(name, icon=":material/filter_alt:", type="tertiary", key="context_filter"):
            changed = _form(state)
    if changed is not None:
        return changed
    return replace(state, tab=_BANDS if order == _BANDS else None)


def _form(state: ViewState) -> ViewState | None:
    where = state.where or ""
    names = [*RUN_PRESETS, _OWN]
    with st.form(f"contexts-{hash((where, state.role, state.scope))}", border=False):
        preset = st.selectbox("Of runs", names, index=names.index(preset_name(where) or _OWN))
        own = st.text_input(
            "or of a filter of mine",
            value="" if preset_name(where) else where,
            placeholder='verdict:made_up AND NOT tools:yes, set:demo, prompt:"born" …',
        )
        roles = [_ANY, *get_args(Role)]
        role = st.selectbox("On tokens of", roles, index=roles.index(state.role or _ANY))
        generated = st.toggle("Generated tokens only", value=state.scope == "generated")
        with st.container(horizontal=True, gap="small"):
            is_applied = st.form_submit_button("Apply", type="primary")
            is_cleared = st.form_submit_button("Clear")
    if is_cleared:
        return replace(state, where=None, role=None, scope=None)
    if not is_applied:
        return None
    chosen = own.strip() or RUN_PRESETS.get(preset, where)
    return replace(
        state,
        where=chosen or None,
        role=next((item for item in get_args(Role) if item == role), None),
        scope="generated" if generated else None,
    )


def _words(choice: ContextChoice) -> str:
    """The filter in our own words; what was typed is not repeated."""
    where = choice.where
    parts = ["generated"] if where.generated_only else []
    parts += [where.role] if where.role else []
    if where.runs:
        parts.append(preset_name(where.runs) or "own filter")
    return ", ".join(parts)
