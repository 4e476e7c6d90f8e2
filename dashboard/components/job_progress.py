"""A job while it runs: where it waits, how far it is, what it has said so far.

Invariant: draws one JobView; whoever calls it decides when to draw again.
"""

from __future__ import annotations

import streamlit as st

from engine.api import JobView

_WORDS = {
    "loading": "Loading the model; the first question takes longest",
    "running": "Generating",
    "storing": "Storing the run",
}


def job_progress(job: JobView, key: str) -> bool:
    """Draws the job; True if its cancel button was pressed."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(_headline(job), color="blue", icon=":material/hourglass_top:")
        st.caption(f"{job.waited_s:.0f} s since it was asked")
        is_cancelled = st.button("Cancel", icon=":material/cancel:", key=key)
    if job.n_total > 0:
        st.progress(
            min(1.0, job.n_done / job.n_total),
            text=f"{job.n_done:,} of at most {job.n_total:,} tokens",
        )
    else:
        st.progress(0.0, text="No token yet")
    st.code("".join(token.text for token in job.tokens) or " ", language=None, wrap_lines=True)
    return is_cancelled


def _headline(job: JobView) -> str:
    if job.state == "queued":
        before = job.queue_position
        return f"Waiting: {before} before it" if before else "Waiting: next in the queue"
    shared = ", shared with an equal request" if job.shared else ""
    return _WORDS.get(job.state, job.state) + shared
