"""The form that puts features on a list: one that is there, or a new one, with a note.

Invariant: returns what was chosen once it is sent; writes nothing. Names of lists are options of a
select box, which are plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from store.feature_lists import MAX_NAME_CHARS, MAX_NOTE_CHARS
from store.feature_records import FeatureList


@dataclass(frozen=True, slots=True)
class AddToList:
    """What was asked: an id of a list, or None and the name of a new one."""

    list_id: str | None
    new_name: str
    note: str


def list_adder(lists: Sequence[FeatureList], key: str) -> AddToList | None:
    """Draws the form.

    Args:
        lists: that there are, the newest first.
        key: of what is added.
    """
    names = [item.name for item in lists]
    with st.form(f"list_adder-{key}", border=False):
        chosen = st.selectbox("List", names, index=0 if names else None, placeholder="none yet")
        new_name = st.text_input("or a new one named", max_chars=MAX_NAME_CHARS)
        note = st.text_input("Note", max_chars=MAX_NOTE_CHARS, placeholder="why it is there")
        is_sent = st.form_submit_button("Add", icon=":material/playlist_add:", type="primary")
    if not is_sent or not (new_name.strip() or chosen):
        return None
    if new_name.strip():
        known = {item.name.lower(): item.list_id for item in lists}
        return AddToList(known.get(new_name.strip().lower()), new_name, note)
    return AddToList(next(item.list_id for item in lists if item.name == chosen), "", note)
