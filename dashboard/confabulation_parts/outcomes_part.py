"""What the answers turned out to be, by whom; the hosted judge; and what tools change.

Invariant: judgements are counted, never merged; what the hosted judge costs is said before it is
asked.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.judge_panel import judge_panel
from dashboard.components.link_choice import link_choice
from dashboard.components.outcome_tables import (
    agreement_table,
    contested_words,
    outcome_table,
    tools_table,
)
from dashboard.confabulation_parts.page_data import PageData
from dashboard.confabulation_parts.set_part import follow
from dashboard.confabulation_view import CONTESTED
from dashboard.links import ViewState
from dashboard.outcome_charts import CHART_PX, tools_chart
from dashboard.outcome_words import METHOD_WORDS
from engine.api import Agreement, JudgeRequest, ToolsEffect

_PAIRED, _WHOLE = "paired", "all questions"


def show_outcomes(page: PageData) -> None:
    """Outcomes by method, conflicts, agreement, the hosted judge."""
    left, right = st.columns([6, 5], gap="medium")
    with left:
        outcome_table(page.counts, page.toy)
    with right:
        st.text(contested_words(page.counts))
        if any(item.n_contested for item in page.counts):
            st.button(
                "Look at the contested ones",
                icon=":material/balance:",
                on_click=_show_contested,
                key="show_contested",
            )
        agreement_table(list_agreements(page), page.toy)
        st.caption(
            "Made up and wrong are one kind here: both are false. People judge on the tab Answers."
        )
    if st.toggle("A hosted judge", key="hosted_judge"):
        with error_boundary():
            _show_judge(page)


def list_agreements(page: PageData) -> tuple[Agreement, ...]:
    """Agreement of every two methods that have judged, and of people with the strongest."""
    kept, _ = page.stored
    present = {method for item in page.counts for method in item.by_method}
    methods = [name for name in METHOD_WORDS if name in present]
    pairs = list(combinations(methods, 2))
    if methods and "person" not in methods:
        pairs.append((methods[0], "person"))
    lab = page.services.engine.confabulation
    return tuple(lab.agreement(left, right, kept.set_id) for left, right in pairs)


def show_tools(page: PageData) -> None:
    """The same questions with tools off and on."""
    is_paired = page.state.slice != _WHOLE
    link_choice(
        "Which questions",
        {_PAIRED: "questions asked both ways", _WHOLE: "all questions"},
        _PAIRED if is_paired else _WHOLE,
        "tools_paired",
        lambda now, value: replace(now, slice=_WHOLE if value == _WHOLE else None),
    )
    effect = read_effect(page, is_paired)
    if effect is None or not effect.cells:
        st.text("No question was asked both ways yet. Ask them with tools off and with tools on.")
        return
    st.text(effect_words(effect, page.toy))
    st.altair_chart(tools_chart(effect, page.toy), height=CHART_PX, key="tools_chart")
    tools_table(effect, page.toy)
    st.caption(
        "Intervals of 95%: the wider of Wilson's and of 2,000 draws of groups, so that questions "
        "about one person count no more than they should."
    )


def read_effect(page: PageData, is_paired: bool = True) -> ToolsEffect | None:
    """What tools change in the answers; None where nothing is stored."""
    if page.kept is None or not page.counts:
        return None
    lab = page.services.engine.confabulation
    return lab.compare_tools(page.kept.set_id, page.source.name, is_paired)


def effect_words(effect: ToolsEffect, toy: str) -> str:
    """What tools change, in one sentence."""
    base = f"{effect.n_questions:,} questions of {effect.n_groups:,} groups"
    found = effect.difference
    if found is None:
        return f"{base}, asked in one way alone: nothing tells what tools change."
    change = 100 * found.value
    word = "fewer" if change < 0 else "more"
    low, high = sorted((abs(100 * found.low), abs(100 * found.high)))
    if found.low < 0 < found.high:
        return (
            f"{base}: with tools on, {change:+.1f} points of false answers "
            f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]{toy}, which may be none at all."
        )
    return (
        f"{base}: with tools on, {abs(change):.1f} points [{low:.1f}, {high:.1f}] {word} of the "
        f"answers are false{toy}."
    )


def _show_judge(page: PageData) -> None:
    kept, _ = page.stored
    request = JudgeRequest(kept.set_id, page.source.name, asked_by=session.user_name())
    lab = page.services.engine.confabulation
    if judge_panel(lab.judge_offer(request), key="offer"):
        follow(lab.start_judging(request))


def _show_contested() -> None:
    now = session.view()
    session.show(ViewState(source=now.source, set=now.set, tab="answers", outcome=CONTESTED))
