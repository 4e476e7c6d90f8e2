"""The badge of a run: computed just now, or from the store, and what that saved.

Invariant: the same words and colours for stored and computed on every page.
"""

from __future__ import annotations

import streamlit as st

from store.records import Run

_FINISHED = {"stop": "it ended by itself", "length": "cut at the limit", "read": "text, read only"}


def run_badge(run: Run, is_fresh: bool) -> None:
    """Draws the badge and the run's key figures, in one line.

    Args:
        is_fresh: whether this session's question computed it, rather than found it.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if is_fresh:
            st.badge(f"computed in {duration(run.compute_s)}", color="blue", icon=":material/bolt:")
        else:
            st.badge("from the store", color="green", icon=":material/database:")
            st.text(_history(run))
        st.text(_figures(run))


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _history(run: Run) -> str:
    first = f"first computed by {run.created_by} on {run.created_at:%Y-%m-%d %H:%M} UTC"
    computed = f"{first} in {duration(run.compute_s)}"
    if not run.hits:
        return computed
    times = "once" if run.hits == 1 else f"{run.hits:,} times"
    return f"{computed}, hit {times}, saved {duration(run.hits * run.compute_s)}"


def _figures(run: Run) -> str:
    parts = [f"{run.n_prompt_tokens:,} prompt + {run.n_generated_tokens:,} generated tokens"]
    if run.kind == "generation":
        heat = "greedy" if run.temperature == 0 else f"temperature {run.temperature:g}"
        parts += [heat, f"seed {run.seed}"]
    if run.tools:
        parts.append("tools offered")
    parts.append(_FINISHED.get(run.finish_reason, run.finish_reason))
    return " · ".join(parts)
