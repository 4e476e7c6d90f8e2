"""Places where a feature fired: a line of text each, the token shaded, a link to its run.

Invariant: the component gets contexts and draws them; text goes to the browser as data only.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.links import ViewState, to_path
from store.records import Context

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "featurebook_context_list",
    html="<ol></ol>",
    css=(_HERE / "context_list.css").read_text("utf-8"),
    js=(_HERE / "context_list.js").read_text("utf-8"),
)


def context_list(contexts: tuple[Context, ...], feature: int, maximum: float, key: str) -> None:
    """Draws the contexts.

    Args:
        feature: that the links choose in the run.
        maximum: value of the full accent.
    """
    rows = [
        (
            to_path("ask", ViewState(run=item.run_key, token=item.position, feature=feature)),
            f"{item.value:.3g}",
            min(1.0, item.value / maximum) if maximum > 0 else 0.0,
            item.before,
            item.text,
            item.after,
        )
        for item in contexts
    ]
    _mount(key=key, data={"rows": rows})
