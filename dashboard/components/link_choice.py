"""A choice that the link holds: it shows what the link says, and changes the link when picked.

Invariant: nothing is drawn twice for one pick: the link is changed before the page runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from dashboard import session
from dashboard.links import ViewState

Change = Callable[[ViewState, str | None], ViewState]


def link_choice(
    label: str,
    options: Mapping[str, str],
    current: str,
    key: str,
    change: Change,
    help: str | None = None,
    is_list: bool = False,
    width: int = 240,
) -> None:
    """Draws the choice.

    Args:
        label: what is chosen; our own words.
        options: value and its words.
        current: the value that the link has, or means.
        key: of the widget.
        change: the link's state with a value that was picked.
        help: one sentence.
        is_list: whether it is a list that opens, rather than a row of buttons.
        width: of such a list, pixels.
    """
    session.mirror(key, current)

    def on_pick() -> None:
        session.show(change(session.view(), session.widget_value(key)))

    values: Sequence[str] = list(options)
    if is_list:
        st.selectbox(
            label,
            values,
            format_func=lambda value: options[value],
            key=key,
            on_change=on_pick,
            help=help,
            label_visibility="collapsed",
            width=width,
        )
        return
    st.segmented_control(
        label,
        values,
        format_func=lambda value: options[value],
        key=key,
        on_change=on_pick,
        help=help,
        required=True,
        label_visibility="collapsed",
    )
