"""Filling a question set and importing one: the two small forms behind their buttons.

Invariant: what was entered is returned once it is sent; nothing is asked or kept here.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard.components.run_badge import duration
from dashboard.confabulation_view import fill_seconds

_WAYS: dict[str, tuple[bool, ...]] = {"off": (False,), "on": (True,), "both": (False, True)}
_WAY_WORDS = {"off": "tools off", "on": "tools on", "both": "both ways"}
IMPORT_TYPES = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class SetSize:
    """How much a set asks, and how much of it is answered, by whether tools are offered."""

    n_questions: int
    n_ways: dict[bool, int]
    n_answered: dict[bool, int]


@dataclass(frozen=True, slots=True)
class FillChoice:
    """What is to be asked; `limit` None asks all."""

    tools: tuple[bool, ...]
    limit: int | None


@dataclass(frozen=True, slots=True)
class ImportChoice:
    """A file with questions, and what the set is to be called."""

    name: str
    content: bytes
    file_name: str


def fill_words(n_answers: int, pace_s: float | None, is_toy: bool) -> str:
    """How much is left to ask and about how long that takes."""
    seconds = fill_seconds(n_answers, pace_s, is_toy)
    took = "how long shows with the first ones" if seconds is None else f"about {duration(seconds)}"
    return f"{n_answers:,} answers, {took}"


def fill_form(
    size: SetSize, has_tools: bool, pace_s: float | None, is_toy: bool
) -> FillChoice | None:
    """Draws what filling a set takes; returns what was sent.

    Args:
        has_tools: whether the source has any to offer.
        pace_s: seconds an answer of the source takes; None where none is stored.
    """
    ways = list(_WAYS) if has_tools else ["off"]
    way = st.segmented_control(
        "Ask with",
        ways,
        default=ways[-1],
        format_func=lambda name: _WAY_WORDS[name],
        key="fill_way",
        required=True,
        help="The same questions with tools and without show what tools change.",
    )
    tools = _WAYS[way or ways[-1]]
    limit = st.number_input(
        "Only the first questions",
        min_value=1,
        max_value=max(size.n_questions, 1),
        value=None,
        key="fill_limit",
        placeholder=f"all {size.n_questions:,}",
    )
    left = sum(max(0, size.n_ways[item] - size.n_answered.get(item, 0)) for item in tools)
    n_answers = left if limit is None else min(left, limit * len(tools))
    st.caption(
        f"At most {fill_words(n_answers, pace_s, is_toy)}. What is stored is not asked again."
    )
    if st.button("Ask them", type="primary", icon=":material/play_arrow:", key="fill_send"):
        return FillChoice(tools, None if limit is None else int(limit))
    return None


def import_form() -> ImportChoice | None:
    """Draws where a file of questions is given; returns it once it is sent."""
    st.caption(
        "CSV, JSON lines or Parquet with the column question; it may have gold, aliases, group, "
        "tools (on, off, both), needs_tool, slice, kind, topic and template."
    )
    with st.form("import_set", border=False):
        upload = st.file_uploader(
            "File", type=list(IMPORT_TYPES), key="import_file", label_visibility="collapsed"
        )
        name = st.text_input(
            "Name of the set", key="import_name", max_chars=80, placeholder="such as trivia-2"
        )
        is_sent = st.form_submit_button("Import", icon=":material/upload:", key="import_send")
    if not is_sent or upload is None:
        if is_sent:
            st.caption("Choose a file first.")
        return None
    stem = upload.name.rsplit(".", 1)[0]
    return ImportChoice((name or "").strip() or stem, upload.getvalue(), upload.name)
