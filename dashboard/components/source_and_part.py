"""Which source a page is about, and which of its parts is shown.

Invariant: the widgets show what the link says; what is chosen is returned, not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st


def source_and_part(
    sources: Sequence[str], source: str, parts: Mapping[str, str], part: str
) -> tuple[str, str]:
    """Draws both choices in a row; returns the source and the part that are chosen.

    Args:
        sources: names; a source of the link that is not among them is offered too.
        parts: what each part of the page is called.
    """
    names = [*sources] if source in sources else [*sources, source]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        chosen_source = st.selectbox(
            "Source",
            names,
            index=names.index(source),
            width=170,
            label_visibility="collapsed",
            key=f"source-{source}",
        )
        chosen_part = st.segmented_control(
            "Part",
            list(parts),
            default=part,
            format_func=parts.__getitem__,
            required=True,
            label_visibility="collapsed",
            key=f"tab-{part}",
        )
    return chosen_source, chosen_part
