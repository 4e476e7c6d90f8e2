"""The labels of one feature: edit in place, add one more, all of them, and their history.

Invariant: nothing is written here: each button calls back with the label as it was when it was
drawn, so that an edit names what its author had read. Labels are shown by st.text only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from store.feature_records import Label
from store.labels import MAX_LABEL_CHARS

_ORIGINS = {"human": "by hand", "auto": "automatic", "model": "by a model"}
_ENDED = {
    "replaced": "replaced by",
    "late": "kept beside an edit by",
    "withdrawn": "withdrawn by",
}
_MAX_HISTORY = 50


@dataclass(frozen=True, slots=True)
class LabelCalls:
    """What the buttons call.

    Attributes:
        save: with the key of the text's widget, and the id of the label that is edited, or None.
        restore, withdraw: with the id of a label.
    """

    save: Callable[[str, str | None], None]
    restore: Callable[[str], None]
    withdraw: Callable[[str], None]


def label_editor(labels: tuple[Label, ...], calls: LabelCalls, key: str) -> None:
    """Draws the editor.

    Args:
        labels: all of the feature, ended ones too, newest first.
        key: of the feature.
    """
    current = next((label for label in labels if label.is_current), None)
    active = [label for label in labels if label.status == "active"]
    ended = [label for label in labels if label.status != "active"]
    replaces = current.label_id if current else None
    text_key = f"label_text-{key}-{replaces}"
    st.text_input(
        "What does it mean?",
        value=current.text if current else "",
        max_chars=MAX_LABEL_CHARS,
        key=text_key,
        placeholder="a few words",
    )
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Save",
            type="primary",
            icon=":material/check:",
            key=f"label_save-{key}",
            on_click=calls.save,
            args=(text_key, replaces),
        )
        if current is not None:
            st.button(
                "Add beside it",
                icon=":material/add:",
                key=f"label_add-{key}",
                on_click=calls.save,
                args=(text_key, None),
                help="Keeps the present label, and adds this one.",
            )
    if not active:
        st.caption("Nobody has labelled it yet, and no rule has.")
    for label in active:
        _draw_active(label, calls)
    if ended:
        with st.expander(f"History · {len(ended)}"):
            for label in ended[:_MAX_HISTORY]:
                _draw_ended(label, calls)
            if len(ended) > _MAX_HISTORY:
                st.caption(f"The latest {_MAX_HISTORY} are listed; SQL has all, in labels.")


def label_words(label: Label) -> str:
    """Where a label comes from, its score and its author, in one line."""
    parts = [_ORIGINS.get(label.origin, label.origin), label.author]
    if label.score is not None:
        parts.append(f"score {label.score:.2f}")
    return " · ".join([*parts, f"{label.created_at:%Y-%m-%d %H:%M} UTC"])


def _draw_active(label: Label, calls: LabelCalls) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if label.is_current:
                st.badge("current", color="blue")
            st.text(label.text)
        st.text(label_words(label))
        with st.container(horizontal=True, gap="small"):
            if not label.is_current:
                _button("Make it current", "check", calls.restore, label)
            _button("Withdraw", "delete", calls.withdraw, label)


def _draw_ended(label: Label, calls: LabelCalls) -> None:
    st.text(label.text)
    ended = f"{_ENDED.get(label.status, label.status)} {label.ended_by or 'somebody'}"
    when = "" if label.ended_at is None else f", {label.ended_at:%Y-%m-%d %H:%M} UTC"
    st.text(f"{label_words(label)} · {ended}{when}")
    _button("Restore", "undo", calls.restore, label)


def _button(name: str, icon: str, call: Callable[[str], None], label: Label) -> None:
    st.button(
        name,
        icon=f":material/{icon}:",
        type="tertiary",
        key=f"label_{icon}-{label.label_id}",
        on_click=call,
        args=(label.label_id,),
    )
