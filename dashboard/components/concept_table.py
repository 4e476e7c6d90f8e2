"""The concepts of a source: where they come from, and whether their vectors are made.

Invariant: rows in, a table out; names are data of cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from engine.api import ConceptInfo

_MOST_PX = 330


def concept_table(concepts: Sequence[ConceptInfo], is_toy: bool) -> None:
    """Draws the table."""
    toy = " (toy)" if is_toy else ""
    st.dataframe(
        {
            "concept": [item.name for item in concepts],
            "from": ["library" if item.is_library else "people" for item in concepts],
            "pairs": [item.n_pairs or None for item in concepts],
            "templates": [item.n_templates or None for item in concepts],
            f"layers with a vector{toy}": [item.n_vectors for item in concepts],
        },
        hide_index=True,
        row_height=28,
        height=min(_MOST_PX, 38 + 28 * max(len(concepts), 1)),
    )
