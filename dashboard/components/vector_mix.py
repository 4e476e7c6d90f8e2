"""Choosing vectors, and combining them by weights within a budget.

Invariant: names in, what was entered out; names are options, never Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

_MOST = 20


@dataclass(frozen=True, slots=True)
class AskedMix:
    """A combination; `budget` is its length, None for the weights' own."""

    name: str
    weights: tuple[float, ...]
    budget: float | None


def choose_vectors(names: Sequence[str], first: Sequence[str]) -> list[str]:
    """Draws the choice of vectors to be compared."""
    return list(
        st.multiselect(
            "Vectors", names, default=list(first), max_selections=_MOST, key="mix_vectors"
        )
    )


def combine_form(names: Sequence[str]) -> AskedMix | None:
    """Draws the form that combines them; None until it is sent."""
    with st.form("mix", border=False):
        st.markdown("**Combine**")
        st.caption(
            "Each one's direction by its weight, brought to the length of the budget: two that "
            "point the same way do not add up twice."
        )
        weights = []
        for name, cell in zip(names, _cells(len(names)), strict=True):
            with cell:
                st.text(name)
                weights.append(
                    st.number_input(
                        "Weight",
                        value=1.0,
                        step=0.25,
                        key=f"weight-{name}",
                        label_visibility="collapsed",
                    )
                )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            title = st.text_input("Name", max_chars=80, key="mix_name", placeholder="mixture")
            budget = st.number_input(
                "Budget",
                min_value=0.0,
                value=None,
                key="mix_budget",
                placeholder="as the weights say",
                help="Length of the result, in the units of the residual stream.",
            )
            is_sent = st.form_submit_button("Combine and store", type="primary", key="mix_send")
    if not is_sent:
        return None
    return AskedMix((title or "").strip() or "mixture", tuple(weights), budget or None)


def _cells(n: int) -> list[st.delta_generator.DeltaGenerator]:
    cells: list[st.delta_generator.DeltaGenerator] = []
    while len(cells) < n:
        cells += st.columns(3, gap="small")
    return cells[:n]
