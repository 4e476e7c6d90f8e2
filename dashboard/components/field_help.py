"""What filters understand: their fields with an example each.

Invariant: text only, ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from store.filter_fields import FilterField


def field_help(fields: Sequence[FilterField]) -> None:
    """Draws the fields as a table."""
    st.caption("Joined by AND, OR, NOT and parentheses; quotes around words with spaces.")
    rows = {
        "write": [field.example for field in fields],
        "means": [field.meaning for field in fields],
    }
    st.dataframe(rows, hide_index=True, row_height=26, height=340, key=f"fields-{len(fields)}")
