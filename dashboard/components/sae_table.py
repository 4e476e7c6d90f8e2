"""Published SAEs as a table: how each is written in the form that adds a source.

Invariant: gets releases and draws them; names go into table cells, which are neither Markdown nor
HTML.
"""

from __future__ import annotations

import streamlit as st

from engine.api import SaeRelease

_MAX_ROWS = 1_000


def sae_table(releases: tuple[SaeRelease, ...]) -> None:
    """Draws a row an SAE, to be copied from."""
    rows = [
        (f"sae-lens:{item.release}/{sae_id}", item.model, item.repo_id)
        for item in releases
        for sae_id in item.sae_ids
    ]
    if not rows:
        st.text("The registry has no SAE of a model of that name that can be used here.")
        return
    cut = f", the first {_MAX_ROWS:,} shown" if len(rows) > _MAX_ROWS else ""
    st.text(f"{len(rows):,} SAEs{cut}. Copy one into the field SAE; its model goes beside it.")
    shown = rows[:_MAX_ROWS]
    st.dataframe(
        {
            "SAE": [row[0] for row in shown],
            "model": [row[1] for row in shown],
            "repository": [row[2] for row in shown],
        },
        hide_index=True,
        row_height=26,
        height=240,
    )
