"""What changed since the link was made that opened this page.

Invariant: counts are given; a link without a time says nothing.
"""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from store.records import Changes


def since_link(at: datetime, changes: Changes) -> None:
    """Draws one line: what was stored since the moment, or that nothing was."""
    parts = [
        f"{count:,} {name}{'' if count == 1 else 's'}"
        for count, name in (
            (changes.n_runs, "run"),
            (changes.n_labels, "label"),
            (changes.n_outcomes, "outcome"),
        )
        if count
    ]
    made = f"This link was made on {at:%Y-%m-%d %H:%M:%S} UTC"
    if parts:
        st.badge(
            f"{made}; added since then: {', '.join(parts)}. What is shown is as of now.",
            color="orange",
            icon=":material/update:",
        )
    else:
        st.badge(f"{made}; nothing was added since.", color="gray", icon=":material/update:")
