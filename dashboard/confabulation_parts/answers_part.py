"""The answers of a set, in pages, and one of them to be judged by a person.

Invariant: filter, order, page and the picked answer are in the link; a judgement is kept at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import streamlit as st

from dashboard import session
from dashboard.components.answer_card import CardAction, answer_card
from dashboard.components.answer_table import answer_table
from dashboard.components.boundary import error_boundary
from dashboard.components.link_choice import link_choice
from dashboard.confabulation_parts.page_data import PageData
from dashboard.confabulation_view import CONTESTED, PAGE_ROWS, UNJUDGED, answer_filter
from dashboard.links import TOOLS, Tools, ViewState
from dashboard.outcome_words import MEANING_WORDS, TOOLS_WORDS
from store.answer_rows import AnswerOrder, AnswerRow

_TABLE = "answer_table"
_FIND = "find_answer"
_ALL = "all"
_OUTCOMES: dict[str, str] = {
    _ALL: "all outcomes",
    **{str(name): word for name, word in MEANING_WORDS.items()},
    CONTESTED: "contested",
    UNJUDGED: "not judged",
}
_ORDERS: dict[AnswerOrder, str] = {
    "question": "by question",
    "newest": "newest first",
    "outcome": "by outcome",
}


def show_answers(page: PageData) -> None:
    """Filter, table, pages; the picked answer beside it."""
    kept, source_id = page.stored
    rows = page.services.engine.confabulation.answer_rows
    chosen, order = answer_filter(page.state), _order(page.state)
    _choose(page.state)
    n_rows = rows.count_rows(kept.set_id, source_id, chosen)
    last = max(0, (n_rows - 1) // PAGE_ROWS)
    number = min(page.state.page or 0, last)
    found = rows.list_rows(
        kept.set_id, source_id, chosen, order, PAGE_ROWS, offset=number * PAGE_ROWS
    )
    picked = rows.find_row(kept.set_id, page.state.run) if page.state.run else None
    left, right = st.columns([7, 5], gap="small") if picked else (st.container(), None)
    with left:
        if not found:
            st.text("No answer is like that. Change the filter above.")
        else:
            answer_table(found, page.state.run, key=_TABLE, on_pick=_on_pick)
            _pages(number, last, n_rows)
            if picked is None:
                st.caption("Click a row to see what it rests on, and to judge it yourself.")
    if picked is not None and right is not None:
        with right, error_boundary():
            _show_card(page, picked, found, number, last)


def _show_card(
    page: PageData, picked: AnswerRow, found: Sequence[AnswerRow], number: int, last: int
) -> None:
    lab = page.services.engine.confabulation
    action = answer_card(
        picked,
        lab.outcomes.get_verdicts([picked.run_key]).get(picked.run_key),
        lab.outcomes.list_outcomes(picked.run_key),
        lab.tool_calls.list_calls(picked.run_key),
        page.toy,
    )
    if action is None:
        return
    if action.outcome is not None:
        lab.judge_by_person(picked.run_key, action.outcome, session.user_name(), action.note)
        action = CardAction(step=1)
    _step(page, picked, found, action.step, number, last)
    st.rerun()


def _step(
    page: PageData,
    picked: AnswerRow,
    found: Sequence[AnswerRow],
    step: int,
    number: int,
    last: int,
) -> None:
    """Picks the next answer, on the next page if need be; at either end it stays."""
    keys = [item.run_key for item in found]
    if picked.run_key not in keys:
        if keys:
            session.show(replace(session.view(), run=keys[0]))
        return
    place = keys.index(picked.run_key) + step
    if 0 <= place < len(keys):
        session.show(replace(session.view(), run=keys[place]))
    elif 0 <= number + step <= last:
        kept, source_id = page.stored
        others = page.services.engine.confabulation.answer_rows.list_rows(
            kept.set_id,
            source_id,
            answer_filter(page.state),
            _order(page.state),
            PAGE_ROWS,
            offset=(number + step) * PAGE_ROWS,
        )
        if others:
            run = others[0 if step > 0 else -1].run_key
            session.show(replace(session.view(), run=run, page=number + step))


def _choose(state: ViewState) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        link_choice(
            "Tools",
            {_ALL: "both ways", **dict(zip(TOOLS, TOOLS_WORDS.values(), strict=True))},
            state.tools or _ALL,
            "answers_tools",
            lambda now, value: replace(now, tools=_tools(value), page=None, run=None),
        )
        link_choice(
            "Outcome",
            dict(_OUTCOMES),
            _outcome(state),
            "answers_outcome",
            lambda now, value: replace(
                now, outcome=None if value == _ALL else value, page=None, run=None
            ),
            is_list=True,
        )
        link_choice(
            "Order",
            {str(name): words for name, words in _ORDERS.items()},
            _order(state),
            "answers_order",
            lambda now, value: replace(now, sort=value, page=None),
            is_list=True,
        )
        session.mirror(_FIND, state.find or "")
        st.text_input(
            "Find",
            key=_FIND,
            on_change=_on_find,
            placeholder="words of question or answer",
            label_visibility="collapsed",
            width=220,
        )


def _pages(number: int, last: int, n_rows: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        first, end = number * PAGE_ROWS + 1, min(n_rows, (number + 1) * PAGE_ROWS)
        st.caption(f"{first:,} to {end:,} of {n_rows:,} answers", width="content")
        if last:
            for word, to, icon in (
                ("Earlier", number - 1, ":material/chevron_left:"),
                ("Later", number + 1, ":material/chevron_right:"),
            ):
                st.button(
                    word,
                    key=f"page-{word}",
                    icon=icon,
                    disabled=not 0 <= to <= last,
                    on_click=_to_page,
                    args=(to,),
                )


def _outcome(state: ViewState) -> str:
    return state.outcome if state.outcome and state.outcome in _OUTCOMES else _ALL


def _order(state: ViewState) -> AnswerOrder:
    return next((item for item in get_args(AnswerOrder) if item == state.sort), "question")


def _tools(value: str | None) -> Tools | None:
    return next((item for item in get_args(Tools) if item == value), None)


def _to_page(number: int) -> None:
    session.show(replace(session.view(), page=number or None, run=None))


def _on_find() -> None:
    session.show(replace(session.view(), find=session.widget_value(_FIND) or None, page=None))


def _on_pick() -> None:
    picked = session.picked_name(_TABLE, "picked")
    if picked is not None:
        session.show(replace(session.view(), run=picked))
