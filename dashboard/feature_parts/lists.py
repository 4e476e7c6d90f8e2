"""Lists of features, as the page Features shows them: all of them, and one with what is on it.

Invariant: everybody adds and removes; only its author renames or deletes a list. Names and notes
are shown by st.text, or as options and cells, never as Markdown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from dashboard import session
from dashboard.components.feature_table import LABEL, Cell, Column, feature_table
from dashboard.components.notice import notice
from dashboard.components.run_list import ago, one_line
from dashboard.components.source_head import source_head
from dashboard.links import ViewState, to_params
from dashboard.services import Services
from store.errors import FeatureListNotFoundError, StoreError
from store.feature_lists import MAX_NAME_CHARS, MAX_NOTE_CHARS
from store.feature_records import FeatureList
from store.ready_queries import list_query

_ITEMS = (
    Column("feature", "feature", "Index of the feature in its SAE; opens its page."),
    LABEL,
    Column("note", "text", "Why it is on the list."),
    Column("by", "text", "Who put it there."),
    Column("density", "percent", "Of all stored tokens.", bar=True),
    Column("largest", "value", "Its largest stored value."),
    Column("tokens", "count", "Stored tokens on which it is active."),
)


def show_lists(services: Services, state: ViewState, source: str, is_toy: bool) -> None:
    """One list if the link names one, else all."""
    told = session.take_notice()
    if told is not None:
        notice("warning", *told)
    if state.list is None:
        _show_all(services, state)
        return
    try:
        chosen = services.lists.get_list(state.list)
    except FeatureListNotFoundError as error:
        notice("warning", error.message, error.hint)
        _show_all(services, replace(state, list=None))
        return
    _show_one(services, chosen, source, " (toy)" if is_toy else "")


def _show_all(services: Services, state: ViewState) -> None:
    lists = services.lists.list_lists()
    now = datetime.now(UTC)
    if not lists:
        st.text("There is no list yet. Make one; a feature's page puts the feature on it.")
    for item in lists:
        link, name, size, note = st.columns(
            [0.8, 3, 2.2, 4], gap="small", vertical_alignment="center"
        )
        link.page_link(
            "views/features.py",
            label="Open",
            icon=":material/list:",
            query_params=to_params(ViewState(source=state.source, tab="lists", list=item.list_id)),
        )
        name.text(item.name)
        size.text(f"{item.n_features:,} features · {item.created_by}, {ago(item.created_at, now)}")
        note.text(one_line(item.note))
    with st.form("new_list", border=True):
        name_typed = st.text_input("Name of a new list", max_chars=MAX_NAME_CHARS)
        note_typed = st.text_input("Note", max_chars=MAX_NOTE_CHARS)
        is_sent = st.form_submit_button("Make it", icon=":material/playlist_add:", type="primary")
    if is_sent:
        try:
            made = services.lists.insert_list(name_typed, session.user_name(), note_typed)
        except StoreError as error:
            notice("warning", error.message, error.hint)
        else:
            session.show(ViewState(source=state.source, tab="lists", list=made.list_id))
            st.rerun()


def _show_one(services: Services, chosen: FeatureList, source: str, unit: str) -> None:
    facts = [
        ("made by", f"{chosen.created_by}, {chosen.created_at:%Y-%m-%d %H:%M} UTC"),
        ("note", chosen.note),
        ("filter", f'list:"{chosen.name}"'),
    ]
    marks = [f"{chosen.n_features:,} features{unit}"]
    source_head(chosen.name, "", marks, facts, key="list_head")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.page_link(
            "views/features.py",
            label="All lists",
            icon=":material/arrow_back:",
            query_params=to_params(ViewState(source=source, tab="lists")),
        )
        st.page_link(
            "views/features.py",
            label="Search in it",
            icon=":material/search:",
            query_params=to_params(ViewState(source=source, where=f"list:{chosen.list_id}")),
        )
        st.page_link(
            "views/sql.py",
            label="Its SQL",
            icon=":material/database:",
            query_params=to_params(ViewState(q=list_query(chosen.list_id))),
        )
        if chosen.created_by == session.user_name():
            with st.popover("Change", icon=":material/edit:", type="tertiary", key="change_list"):
                _change(services, chosen, source)
    items = services.lists.list_items(chosen.list_id, source)
    n_elsewhere = chosen.n_features - len(items)
    features = [item.feature for item in items]
    if features:
        labels = services.get_label_texts(source, features)
        stats = services.search.get_many_stats(source, features)
        rows_of = {int(feature): index for index, feature in enumerate(stats.feature)}
        rows: list[list[Cell]] = []
        for item in items:
            index = rows_of.get(item.feature)
            figures: list[Cell] = [None, None, 0]
            if index is not None:
                figures = [
                    float(stats.density[index]),
                    float(stats.max_value[index]),
                    int(stats.n_tokens_active[index]),
                ]
            label = labels.get(item.feature)
            rows.append([item.feature, label, item.note, item.added_by, *figures])
        feature_table(_ITEMS, rows, None, "list_items", None, source)
    else:
        st.text("No feature of this source is on it. A feature's page has the button Add to list.")
    if n_elsewhere:
        st.caption(f"{n_elsewhere:,} more are of other sources: choose one above.")
    _add_and_remove(services, chosen, source, features)


def _add_and_remove(
    services: Services, chosen: FeatureList, source: str, features: list[int]
) -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.form("add_features", border=False):
        typed = st.text_input("Add features", placeholder="17, 203, 458")
        note = st.text_input("Note", max_chars=MAX_NOTE_CHARS)
        if st.form_submit_button("Add", icon=":material/playlist_add:"):
            numbers = [part for part in typed.replace(",", " ").split() if part.isdecimal()]
            wanted = [int(part[:10]) for part in numbers]
            try:
                services.lists.add_features(
                    chosen.list_id, source, wanted, session.user_name(), note
                )
            except StoreError as error:
                session.tell(error.message, error.hint)
            st.rerun()
    with right, st.form("remove_features", border=False):
        gone = st.multiselect("Take features off", features, key=f"remove-{len(features)}")
        if st.form_submit_button("Take off", icon=":material/playlist_remove:"):
            services.lists.remove_features(chosen.list_id, source, gone)
            st.rerun()


def _change(services: Services, chosen: FeatureList, source: str) -> None:
    with st.form("change_list_form", border=False):
        name = st.text_input("Name", value=chosen.name, max_chars=MAX_NAME_CHARS)
        note = st.text_input("Note", value=chosen.note, max_chars=MAX_NOTE_CHARS)
        is_saved = st.form_submit_button("Save", type="primary")
        is_deleted = st.form_submit_button("Delete the list", icon=":material/delete:")
    try:
        if is_saved:
            services.lists.update_list(chosen.list_id, name, note, session.user_name())
        elif is_deleted:
            services.lists.delete_list(chosen.list_id, session.user_name())
            session.show(ViewState(source=source, tab="lists"))
    except StoreError as error:
        session.tell(error.message, error.hint)
    if is_saved or is_deleted:
        st.rerun()
