"""Answers to a question set as rows: question, answer, what holds of it, a link to its run.

Invariant: the component gets rows and returns the picked run; it never fetches. Texts of models and
people go to the browser as data and into the page as text content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from dashboard.links import ORDER, ViewState, to_path
from dashboard.outcome_words import MEANING_COLOURS, MEANING_WORDS, TOOLS_WORDS, method_word
from store.answer_rows import AnswerRow

_MAX_CHARS = 160
_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "featurebook_answer_table",
    html=(
        '<div class="scroll" tabindex="0" aria-label="Answers">'
        "<table><thead></thead><tbody></tbody></table></div>"
    ),
    css=(_HERE / "answer_table.css").read_text("utf-8"),
    js=(_HERE / "answer_table.js").read_text("utf-8"),
)


def answer_table(
    rows: Sequence[AnswerRow], selected: str | None, key: str, on_pick: Callable[[], None]
) -> None:
    """Draws a page of answers.

    Args:
        selected: key of the run that is looked at.
        key: of the component; `session.picked_name(key, "picked")` is the run in `on_pick`.
        on_pick: called before the rerun that a click causes.
    """
    data = {"order": ORDER, "rows": [_row(item) for item in rows], "selected": selected}
    _mount(key=key, data=data, on_picked_change=on_pick)


def _row(item: AnswerRow) -> dict[str, object]:
    return {
        "key": item.run_key,
        "no": item.question_no,
        "question": _cut(item.question),
        "answer": _cut(item.response) or "nothing",
        "tools": TOOLS_WORDS[item.tools],
        "word": MEANING_WORDS[item.meaning],
        "colour": MEANING_COLOURS[item.meaning],
        "outcome": item.outcome or "nobody has judged it",
        "method": method_word(item.method),
        "isContested": item.is_contested,
        "href": to_path("ask", ViewState(run=item.run_key)),
    }


def _cut(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _MAX_CHARS else joined[:_MAX_CHARS] + "…"
