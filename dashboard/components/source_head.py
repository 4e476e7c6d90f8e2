"""The head of a source: its name and title, and what is known of it, as names and values.

Invariant: the component gets texts and draws them; they go to the browser as data and into the page
as text content.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "featurebook_source_head",
    html='<div class="source"><h2></h2><dl></dl></div>',
    css=(_HERE / "source_head.css").read_text("utf-8"),
    js=(_HERE / "source_head.js").read_text("utf-8"),
)


def source_head(
    name: str, title: str, marks: Sequence[str], facts: Sequence[tuple[str, str]], key: str
) -> None:
    """Draws it.

    Args:
        marks: short words beside the name, such as `toy`.
        facts: names and values; a value that is empty is left out.
    """
    data = {
        "name": name,
        "title": title,
        "marks": list(marks),
        "facts": [list(fact) for fact in facts if fact[1]],
    }
    _mount(key=key, data=data)
