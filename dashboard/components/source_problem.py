"""A source that cannot be asked as it stands: why, and the way to the page that helps.

Invariant: what the engine says is shown by st.text only; the link's label is our own words.
"""

from __future__ import annotations

import streamlit as st

from dashboard.components.notice import notice
from dashboard.links import ViewState, to_params


def source_problem(source: str, message: str, hint: str, is_missing: bool) -> None:
    """Draws it.

    Args:
        is_missing: whether files are missing, rather than wrong.
    """
    notice("warning", message, hint, title="Not ready")
    st.page_link(
        "views/models.py",
        label=f":primary[{'Download it' if is_missing else 'See it'} on the page Models]",
        icon=":material/download:" if is_missing else ":material/memory:",
        query_params=to_params(ViewState(source=source)),
    )
