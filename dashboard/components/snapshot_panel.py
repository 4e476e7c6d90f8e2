"""A snapshot of the store: begin one, see how far it is, fetch it.

Invariant: draws one job; whoever calls it begins, cancels, and decides when to draw again.
"""

from __future__ import annotations

from typing import Literal

import streamlit as st

from dashboard.weights_view import format_bytes
from store.snapshot_jobs import SnapshotJob

Choice = Literal["duckdb", "parquet", "cancel"]


def snapshot_panel(job: SnapshotJob | None, can_fetch: bool) -> Choice | None:
    """Draws it; returns what was pressed.

    Args:
        job: the latest one, if there was any.
        can_fetch: whether this browser may use the HTTP API, which hands the file out.
    """
    st.caption("A copy of everything stored, as it is now; reading and writing go on meanwhile.")
    if job is not None and job.is_active:
        return _running(job)
    with st.container(horizontal=True, gap="small"):
        if st.button("Database", icon=":material/database:", key="snapshot_duckdb"):
            return "duckdb"
        if st.button("Parquet files", icon=":material/table_view:", key="snapshot_parquet"):
            return "parquet"
    if job is not None:
        _ended(job, can_fetch)
    st.caption("On the command line")
    st.code(".venv/bin/python scripts/export.py copy.duckdb", language="sh")
    return None


def _running(job: SnapshotJob) -> Choice | None:
    progress = job.progress
    done, total = (progress.rows_done, progress.rows_total) if progress else (0, 0)
    text = f"{done:,} of {total:,} rows" if total else "Beginning"
    st.progress(min(1.0, done / total) if total else 0.0, text=text)
    return (
        "cancel" if st.button("Cancel", icon=":material/cancel:", key="snapshot_cancel") else None
    )


def _ended(job: SnapshotJob, can_fetch: bool) -> None:
    if job.state == "cancelled":
        st.text("The last one was cancelled; nothing is left of it.")
    elif job.state == "failed":
        st.text(job.failure)
    elif job.path is not None:
        st.text(f"Written: {job.path.name}, {format_bytes(job.size_bytes)}, beside the store.")
        if can_fetch:
            address = f"/api/snapshots/{job.job_id}/content"
            st.link_button("Download", address, icon=":material/download:")
