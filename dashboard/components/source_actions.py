"""What can be done with a source: load, download, verify, remove; and where its licence is.

Invariant: reports which button was pressed and does nothing itself; what cannot be done now is
there all the same, and says why.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import streamlit as st

from engine.api import SourceInfo, SourceWeights
from engine.errors import HF_COMMAND

Pressed = Literal["load", "plan", "verify", "remove"]
_HUB_PAGE = "https://huggingface.co/"
_PATH_BEGINNINGS = (".", "/", "~")


def source_actions(
    info: SourceInfo, weights: SourceWeights | None, is_loaded: bool, is_moving: bool
) -> Pressed | None:
    """Draws the buttons, always in one order.

    Args:
        weights: None where they cannot be looked at.
        is_moving: whether a transfer of the source runs.

    Returns:
        which was pressed.
    """
    components = () if weights is None else weights.components
    is_complete = weights is not None and weights.is_complete
    has_files = any(item.folder is not None for item in components)
    can_download = any(
        item.state != "folder" and not item.location.startswith(_PATH_BEGINNINGS)
        for item in components
    )
    pressed: Pressed | None = None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            "Loaded" if is_loaded else "Load",
            type="primary" if info.is_ready and not is_loaded else "secondary",
            icon=":material/memory:",
            key="load",
            disabled=is_loaded or not info.is_ready,
            help=None if info.is_ready else "It can be loaded once nothing is missing.",
        ):
            pressed = "load"
        if st.button(
            "Download…",
            type="secondary" if is_complete else "primary",
            icon=":material/download:",
            key="plan",
            disabled=is_moving or not can_download,
            help="First shows what it would bring."
            if can_download
            else "Its files are folders of your own; there is nothing to download.",
        ):
            pressed = "plan"
        if st.button(
            "Verify",
            icon=":material/fact_check:",
            key="verify",
            disabled=is_moving or not has_files,
            help="Reads every file and compares its checksum.",
        ):
            pressed = "verify"
        if info.origin == "user":
            with st.popover("Remove…", icon=":material/delete:"):
                st.text("The source leaves the list. Its files and its stored runs stay.")
                if st.button("Remove the source", type="primary", key="remove"):
                    pressed = "remove"
    return pressed


def licence_line(info: SourceInfo) -> None:
    """A model whose owner wants a licence to be accepted first: where, and what then."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("gated", color="orange", icon=":material/lock:")
        st.text(f"Accept its licence, then set HF_TOKEN or run: {HF_COMMAND} auth login")
        if info.model_id.count("/") == 1 and not info.model_id.startswith(_PATH_BEGINNINGS):
            st.link_button(
                "Its licence",
                _HUB_PAGE + quote(info.model_id),
                icon=":material/open_in_new:",
                key="licence",
            )
