"""Leakage audits as badges: does something that has nothing to do with truth tell the kinds apart?

Invariant: green only where an audit was measured and stayed below its limit; what was not measured
is grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.confabulation_view import estimate_words
from engine.api import Audit


def audit_list(audits: Sequence[Audit], toy: str) -> None:
    """Draws one line an audit."""
    with st.container(key="dense-audits"):
        for audit in audits:
            state, name, figure, words = st.columns(
                [1.3, 2, 2.2, 7], gap="small", vertical_alignment="center"
            )
            with state:
                _badge(audit)
            name.text(audit.name)
            if audit.auroc is not None:
                figure.text(f"AUROC {estimate_words(audit.auroc)}{toy}")
            words.text(audit.explanation)


def _badge(audit: Audit) -> None:
    if audit.auroc is None:
        st.badge("not measured", color="gray", icon=":material/remove:")
    elif audit.is_red:
        st.badge("red", color="red", icon=":material/flag:")
    else:
        st.badge("green", color="green", icon=":material/check:")
