"""What an answer turned out to be: what holds, every judgement with its evidence, people's buttons.

Invariant: data in, widgets out; nothing is fetched or judged here. Evidence and notes hold what
people and models wrote: they are st.text or st.code, never Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from dashboard.outcome_words import (
    MEANING_COLOURS,
    MEANING_WORDS,
    PERSON_BUTTONS,
    TOOLS_WORDS,
    method_word,
)
from store.outcome_records import Outcome, Verdict

_SHOWN = ("value", "expected", "state", "claimed", "result", "absent", "quotes", "note", "fault")
_MAX_CHARS = 300


def verdict_line(verdict: Verdict | None, toy: str = "") -> None:
    """What holds of an answer, in one line."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if verdict is None:
            st.badge("not judged", color="gray", icon=":material/help:")
            return
        outcome_dot(MEANING_WORDS[verdict.meaning], MEANING_COLOURS[verdict.meaning])
        by = method_word(verdict.method)
        st.caption(f"{verdict.outcome}, by {by}{toy}", width="content")
        if verdict.is_contested:
            st.badge("contested", color="orange", icon=":material/balance:")


def outcome_dot(word: str, colour: str) -> None:
    """One of our own words for an outcome, beside a dot of its colour."""
    st.html(
        f'<span style="display:inline-block;width:.7rem;height:.7rem;border-radius:50%;'
        f'background:{colour};margin-right:.35rem"></span><b>{word}</b>',
        width="content",
    )


def judgement_list(outcomes: Sequence[Outcome]) -> None:
    """All judgements, the newest first, with what each rests on."""
    for item in reversed(outcomes):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text(item.outcome, width="content")
            sure = "" if item.confidence is None else f", {item.confidence:.0%} sure"
            st.caption(
                f"{method_word(item.method)}{sure}, {item.created_at:%Y-%m-%d %H:%M} UTC",
                width="content",
            )
            st.text(item.judge, width="content")
        words = evidence_words(item.evidence)
        if words:
            st.text(words)


def evidence_words(evidence: str) -> str:
    """What a judgement rests on, in one line; empty if it says nothing of that."""
    try:
        found = json.loads(evidence)
    except ValueError:
        return evidence[:_MAX_CHARS]
    if not isinstance(found, dict):
        return str(found)[:_MAX_CHARS]
    parts = [
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name in _SHOWN
        if (value := found.get(name)) not in (None, "", [])
    ]
    return " · ".join(parts)[:_MAX_CHARS]


def person_buttons(key: str, has_keys: bool = False, can_misreport: bool = True) -> str | None:
    """Buttons by which a person judges.

    Args:
        key: of the buttons.
        has_keys: whether the keys 1 to 5 press them.
        can_misreport: whether a tool was asked, so that it can be misreported.

    Returns:
        the outcome of the button that was pressed.
    """
    pressed = None
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("Your judgement", width="content")
        for item in PERSON_BUTTONS:
            if item.outcome == "TOOL_MISREPORT" and not can_misreport:
                continue
            if st.button(
                item.word,
                key=f"judge-{item.outcome}-{key}",
                help=item.help,
                shortcut=item.key if has_keys else None,
            ):
                pressed = item.outcome
    return pressed


def tools_badge(tools: bool) -> None:
    """Whether tools were offered."""
    st.badge(TOOLS_WORDS[tools], color="gray", icon=":material/build:")
