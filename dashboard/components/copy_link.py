"""The copy-link button: the address of what the page shows, to read and to copy.

Invariant: the path is given; the browser only puts its own origin before it.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_HTML = """
<div class="link"><input readonly aria-label="Link to what is shown">
<button type="button">Copy link</button></div>
"""

_mount = st.components.v2.component(
    "featurebook_copy_link",
    html=_HTML,
    css=(_HERE / "copy_link.css").read_text("utf-8"),
    js=(_HERE / "copy_link.js").read_text("utf-8"),
)


def copy_link(path: str, key: str) -> None:
    """Draws the address and the button.

    Args:
        path: such as `/ask?run=...`, from links.to_path.
    """
    _mount(key=key, data={"path": path})
