"""A comparison of two cohorts in words and as a table; its notes about what may be said of it.

Invariant: draws what it is given; numbers of a toy say so; no effect is shown where the gate is
closed.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.components.feature_table import LABEL, Cell, Column, feature_table
from engine.api import CohortComparison, CohortEffects, CohortRow

COLUMNS = (
    Column("feature", "feature", "Index of the feature in its SAE; a click shows its contexts."),
    LABEL,
    Column("A − B", "signed", "Difference of the shares of groups in which it fires."),
    Column("95%", "text", "Interval of the difference (Newcombe)."),
    Column("AUROC", "value", "Probability that a group of A has the larger value; 0.5 is none."),
    Column("q", "text", "p corrected for the false discovery rate (Benjamini and Hochberg)."),
    Column("p max", "text", "p against the largest effect of each draw by lot: family-wise."),
    Column("fires in", "text", "Groups of A and of B in which it fires."),
)
_GATES = {
    "none": ("too little to tell", "red"),
    "exploratory": ("exploratory", "orange"),
    "moderate": ("enough to rank", "blue"),
    "full": ("full", "green"),
}


def cohort_head(found: CohortComparison) -> None:
    """What was compared, how much of it there is, and what that allows to say."""
    effects = found.effects
    words, colour = _GATES[effects.gate]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(words, color="red" if colour == "red" else "blue", icon=":material/balance:")
        if found.is_toy:
            st.badge("toy", color="gray")
        st.text(
            f"A: {found.n_runs_a:,} runs in {effects.n_units_a:,} groups · "
            f"B: {found.n_runs_b:,} runs in {effects.n_units_b:,} groups"
            + (f" · {effects.n_pairs:,} groups in both, paired" if effects.n_pairs else "")
        )
    st.text(effects.gate_note)
    for note in (found.sampling_note, found.censoring_note):
        if note is not None:
            st.text(note)


def cohort_findings(effects: CohortEffects) -> None:
    """How many features differ, beside what chance alone shows."""
    null = effects.null
    if null is not None:
        st.text(
            f"{effects.n_significant:,} of {effects.n_tested:,} features differ (q ≤ 0.05). The "
            f"largest effect is |z| = {null.observed_max:.2f}; by lot, one draw in twenty exceeds "
            f"{null.quantile_95:.2f} (p = {number(null.p)}, {null.n_permutations:,} draws)."
        )
    if effects.n_left_out:
        st.caption(
            f"{effects.n_left_out:,} features that fire in fewer than {effects.fewest_firing} "
            "groups were not tested."
        )
    found = effects.set_difference
    st.text(
        f"{found.n_specific:,} features fire in A and never in B; by chance alone "
        f"{found.null_mean:.1f} would ({found.null_low:.0f} to {found.null_high:.0f}, "
        f"p = {number(found.p)}). The other way round: {found.n_reverse:,}, by chance "
        f"{found.reverse_null_mean:.1f} (p = {number(found.reverse_p)})."
    )


def cohort_table(
    rows: tuple[CohortRow, ...],
    selected: int | None,
    source: str,
    key: str,
    on_pick: Callable[[], None],
) -> None:
    """Features, the strongest evidence first."""
    cells: list[list[Cell]] = [
        [
            row.feature,
            row.label,
            row.difference,
            f"{row.low:+.2f} to {row.high:+.2f}",
            row.auroc,
            number(row.q),
            number(row.p_max),
            f"{row.n_a:,} | {row.n_b:,}",
        ]
        for row in rows
    ]
    feature_table(COLUMNS, cells, selected, key, on_pick, source)


def number(p: float) -> str:
    """A probability as a person reads it."""
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"
