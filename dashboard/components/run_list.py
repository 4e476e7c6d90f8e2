"""A list of runs, each with a link that opens it.

Invariant: what users wrote is shown by st.text only; link labels are our own words.
"""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from dashboard.components.run_badge import duration
from dashboard.links import ViewState, to_params
from store.records import Run

_MAX_PROMPT_CHARS = 70
_MAX_RESPONSE_CHARS = 50


def run_list(runs: tuple[Run, ...], now: datetime) -> None:
    """Draws one line a run: its link, its prompt, its answer, its figures."""
    for run in runs:
        link, prompt, response, figures = st.columns(
            [1.1, 4, 3, 2.6], gap="small", vertical_alignment="center"
        )
        link.page_link(
            "views/ask.py",
            label=ago(run.created_at, now),
            icon=":material/menu_book:" if run.kind == "text" else ":material/chat:",
            query_params=to_params(ViewState(run=run.run_key)),
        )
        prompt.text(one_line(run.prompt))
        response.text(one_line(run.response, _MAX_RESPONSE_CHARS) or "read, not answered")
        figures.text(_figures(run))


def one_line(text: str, limit: int = _MAX_PROMPT_CHARS) -> str:
    """A text without line breaks, cut at a length."""
    joined = " ".join(text.split())
    return joined if len(joined) <= limit else joined[:limit] + "…"


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in one unit."""
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0.0, (now - then).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def _figures(run: Run) -> str:
    n_tokens = run.n_prompt_tokens + run.n_generated_tokens
    parts = [run.source_name, f"{n_tokens:,} tokens", duration(run.compute_s)]
    if run.tools:
        parts.append("tools")
    if run.steering != "[]":
        parts.append("steered")
    if run.hits:
        parts.append(f"hit {run.hits:,}×")
    return " · ".join(parts)
