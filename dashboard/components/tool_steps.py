"""The tools that an answer called: each step with arguments, result and what came of it.

Invariant: calls are given; arguments and results are what models and tools wrote, so they go
through st.text and st.code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import streamlit as st

from dashboard.components.run_badge import duration
from dashboard.links import ViewState, to_params
from store.exchange_records import CallDetail, CallStatus, ToolCall

_MAX_CHARS = 4_000
_LOOKS: dict[CallStatus, tuple[str, Literal["green", "red", "orange"], str]] = {
    "ok": ("ok", "green", ":material/check:"),
    "failed": ("failed", "red", ":material/error:"),
    "not_offered": ("not offered", "orange", ":material/block:"),
}
_DETAILS: dict[CallDetail, str] = {
    "": "",
    "malformed": "the call could not be read",
    "unknown": "there is no tool of this name",
    "invalid": "its arguments do not fit",
    "raised": "the tool failed",
    "timed_out": "the tool took too long",
    "too_large": "the result was too large",
    "too_many": "too many calls in one round",
    "round_limit": "no rounds were left",
}


def tool_steps(calls: Sequence[ToolCall], is_offered: bool) -> None:
    """Draws the steps of an exchange.

    Args:
        calls: in order.
        is_offered: whether tools were offered.
    """
    if not calls:
        if is_offered:
            st.caption("Tools were offered; none was called.")
        return
    n_ok = sum(call.status == "ok" for call in calls)
    words = "1 tool call" if len(calls) == 1 else f"{len(calls)} tool calls"
    with st.expander(f"{words}, {n_ok} ok", icon=":material/build:", expanded=len(calls) <= 2):
        for call in calls:
            _step(call)


def _step(call: ToolCall) -> None:
    word, color, icon = _LOOKS[call.status]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"step {call.step + 1}", width="content")
        st.badge(word, color=color, icon=icon)
        st.text(call.tool or "no name could be read", width="content")
        took = "" if call.elapsed_s is None else duration(call.elapsed_s)
        about = ", ".join(part for part in (_DETAILS[call.detail], took) if part)
        if about:
            st.caption(about, width="content")
        if call.call_run_key:
            st.page_link(
                "views/ask.py",
                label="the round that called it",
                query_params=to_params(ViewState(run=call.call_run_key)),
            )
    left, right = st.columns(2, gap="small")
    with left:
        st.code(pretty(call.arguments), language=None, wrap_lines=True)
    with right:
        shown = "It was told nothing." if call.result is None else pretty(call.result)
        st.code(shown, language=None, wrap_lines=True)


def pretty(text: str) -> str:
    """JSON of one line, or the text as it is; cut at a length."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _MAX_CHARS else shown[:_MAX_CHARS] + "…"
