"""What loading a source would take of its device's memory, and what helps if that is too much.

Invariant: draws one MemoryEstimate; advice may quote names of sources, so it goes through st.text.
"""

from __future__ import annotations

import streamlit as st

from dashboard.components.memory_bar import MemoryPart, memory_bar
from dashboard.weights_view import format_bytes
from engine.api import MemoryEstimate


def estimate_panel(estimate: MemoryEstimate, key: str) -> None:
    """Draws need against room, then the advice."""
    required = format_bytes(estimate.required_bytes)
    if estimate.available_bytes is None:
        rest = f"room on {estimate.device} is not known"
    else:
        rest = f"{format_bytes(estimate.available_bytes)} available on {estimate.device}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if estimate.fits is False:
            st.badge(f"does not fit: needs {required}", color="red", icon=":material/warning:")
        else:
            st.caption(f"Loading it in {estimate.dtype} takes about {required}")
    parts = [
        MemoryPart("model", "model", estimate.model_bytes),
        MemoryPart("sae", "SAE", estimate.sae_bytes),
        MemoryPart("working", "working memory", estimate.working_bytes),
    ]
    memory_bar([part for part in parts if part.n_bytes], estimate.available_bytes, rest, key=key)
    for sentence in estimate.advice:
        st.text(sentence)
