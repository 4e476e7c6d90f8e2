"""One answer to be judged: question, truth, answer, judgements, and buttons for people.

Invariant: data in, widgets out; what was pressed is returned, and whoever draws it acts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.components.outcome_list import (
    judgement_list,
    person_buttons,
    tools_badge,
    verdict_line,
)
from dashboard.components.tool_steps import tool_steps
from dashboard.links import ViewState, to_params
from store.answer_rows import AnswerRow
from store.exchange_records import ToolCall
from store.outcome_records import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class CardAction:
    """What was pressed: a judgement, with its note, or the step to another answer."""

    outcome: str | None = None
    note: str = ""
    step: int = 0


def answer_card(
    row: AnswerRow,
    verdict: Verdict | None,
    outcomes: Sequence[Outcome],
    calls: Sequence[ToolCall],
    toy: str,
) -> CardAction | None:
    """Draws the card."""
    with st.container(border=True, gap="xsmall", key="answer_card"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"Question {row.question_no}", width="content")
            tools_badge(row.tools)
            if row.slice:
                st.caption("slice", width="content")
                st.text(row.slice, width="content")
            st.page_link(
                "views/ask.py",
                label="Tokens and features",
                icon=":material/chat:",
                query_params=to_params(ViewState(run=row.run_key)),
            )
        st.text(row.question)
        st.code(row.response or " ", language=None, wrap_lines=True)
        if row.gold is not None:
            st.text(f"True is: {row.gold}")
        tool_steps(calls, row.tools)
        verdict_line(verdict, toy)
        judgement_list(outcomes)
        note = st.text_input(
            "Note",
            key=f"note-{row.run_key}",
            placeholder="Why (optional), then one of the buttons or its key",
            label_visibility="collapsed",
            max_chars=2_000,
        )
        pressed = person_buttons("card", has_keys=True, can_misreport=row.tools)
        step = _steps()
    if pressed:
        return CardAction(outcome=pressed, note=note or "")
    return CardAction(step=step) if step else None


def _steps() -> int:
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        back = st.button("Previous", icon=":material/arrow_upward:", shortcut="k", key="previous")
        on = st.button("Next", icon=":material/arrow_downward:", shortcut="j", key="next")
        st.caption("Keys: 1 to 5 judge, j and k go on and back", width="content")
    return int(on) - int(back)
