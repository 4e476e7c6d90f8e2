"""Notices: what happened and what helps, as plain text.

Invariant: messages may hold what users and models wrote, so they are shown by st.text only, never
as Markdown.
"""

from __future__ import annotations

from typing import Literal

import streamlit as st

Kind = Literal["error", "warning", "info"]
_LOOKS: dict[Kind, tuple[str, Literal["red", "orange", "gray"], str]] = {
    "error": ("Not done", "red", ":material/error:"),
    "warning": ("Note", "orange", ":material/warning:"),
    "info": ("Note", "gray", ":material/info:"),
}


def notice(kind: Kind, message: str, hint: str = "", title: str | None = None) -> None:
    """Draws a notice.

    Args:
        message: one sentence that says what happened.
        hint: one sentence that says what helps.
        title: one of our own words for it; never a user's text.
    """
    name, color, icon = _LOOKS[kind]
    with st.container(border=True, gap="xsmall"):
        st.badge(title or name, color=color, icon=icon)
        st.text(message)
        if hint:
            st.text(hint)
