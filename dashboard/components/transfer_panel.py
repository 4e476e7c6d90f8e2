"""A transfer: what a download would bring, how far one is, and how it ended.

Invariant: draws one TransferView and reports which button was pressed; whoever calls it decides
when to draw again. Names of files and people are shown by st.text only.
"""

from __future__ import annotations

from typing import Literal

import streamlit as st

from dashboard.components.notice import notice
from dashboard.components.run_badge import duration
from dashboard.weights_view import (
    component_name,
    format_bytes,
    fraction_done,
    progress_words,
    transfer_words,
)
from engine.api import DownloadPlan, TransferView, VerifyReport

Action = Literal["plan", "download", "verify", "cancel"]
_MAX_FAULTS = 20
_NOUNS = {"plan": "plan", "download": "download", "verify": "verification"}


def transfer_progress(transfer: TransferView, key: str) -> Action | None:
    """Draws a transfer that runs.

    Returns:
        `cancel` if that was pressed.
    """
    progress = transfer.progress
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(transfer_words(transfer), color="blue", icon=":material/hourglass_top:")
        st.text(f"asked by {transfer.asked_by}, {duration(transfer.elapsed_s)} ago")
        is_cancelled = st.button("Cancel", icon=":material/cancel:", key=f"cancel-{key}")
    if transfer.kind == "plan":
        st.text("Asking the hub which files there are, and how large.")
    elif progress is None:
        st.progress(0.0, text="Nothing has arrived yet")
        st.text(" ")
    else:
        st.progress(fraction_done(progress), text=progress_words(progress))
        st.text(progress.current or " ")
    return "cancel" if is_cancelled else None


def transfer_line(transfer: TransferView, key: str) -> Action | None:
    """Draws a transfer that runs for a source other than the one that is shown, in one line.

    Returns:
        `cancel` if that was pressed.
    """
    progress = transfer.progress
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(transfer_words(transfer), color="blue", icon=":material/hourglass_top:")
        st.text(f"{transfer.source}, asked by {transfer.asked_by}")
        is_cancelled = st.button("Cancel", icon=":material/cancel:", key=f"cancel-{key}")
    if progress is not None:
        st.progress(fraction_done(progress), text=progress_words(progress))
    return "cancel" if is_cancelled else None


def transfer_end(transfer: TransferView, key: str) -> Action | None:
    """Draws a transfer that has ended, and what can be done next.

    Returns:
        what was pressed.
    """
    if transfer.state == "cancelled":
        notice("info", _cancelled(transfer), title="Cancelled")
        return None
    if transfer.state == "failed":
        failure = transfer.failure
        name = _NOUNS[transfer.kind]
        notice(
            "error",
            failure.message if failure else f"The {name} failed.",
            failure.hint if failure else "Try again.",
            title=f"The {name} failed",
        )
        is_again = st.button("Try again", icon=":material/replay:", key=f"again-{key}")
        return transfer.kind if is_again else None
    if transfer.kind == "plan":
        return _plan(transfer, key)
    _done(transfer)
    return None


def _plan(transfer: TransferView, key: str) -> Action | None:
    plans = transfer.plans
    missing = sum(plan.missing_bytes for plan in plans)
    with st.container(border=True, gap="xsmall"):
        st.badge("What the download would do", color="blue", icon=":material/checklist:")
        for plan in plans:
            st.text(_plan_line(plan))
        if not missing:
            st.text("Everything is here already; starting it compares the checksums.")
        lacking = _lacking(plans)
        if lacking:
            st.text(lacking)
        with st.expander("The files"):
            st.dataframe(_files(plans), hide_index=True, row_height=26)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            is_started = st.button(
                f"Start: {format_bytes(missing)}" if missing else "Start",
                type="primary",
                icon=":material/download:",
                key=f"start-{key}",
                disabled=bool(lacking),
            )
            is_replanned = st.button("Plan again", icon=":material/replay:", key=f"replan-{key}")
            st.text(f"as of {transfer.started_at:%H:%M} UTC, asked by {transfer.asked_by}")
    if is_started:
        return "download"
    return "plan" if is_replanned else None


def _plan_line(plan: DownloadPlan) -> str:
    n_missing = sum(not file.is_present for file in plan.files)
    here = plan.total_bytes - plan.missing_bytes
    parts = [
        f"{plan.repo_id} at {plan.commit[:8]}",
        f"{n_missing:,} of {len(plan.files):,} files to fetch, {format_bytes(plan.missing_bytes)}",
    ]
    if here:
        parts.append(f"{format_bytes(here)} here already")
    if plan.orphan_bytes:
        parts.append(f"{format_bytes(plan.orphan_bytes)} of broken-off downloads to clear")
    parts.append(f"{format_bytes(plan.free_bytes)} free in {plan.cache_dir}")
    return " · ".join(parts)


def _lacking(plans: tuple[DownloadPlan, ...]) -> str:
    """What is said if the disk has no room for all of it; all plans go to one disk."""
    if not plans:
        return ""
    missing = sum(plan.missing_bytes for plan in plans)
    room = plans[0].free_bytes + sum(plan.orphan_bytes for plan in plans)
    if missing <= room:
        return ""
    return (
        f"There is no room: {format_bytes(missing - room)} more are needed. "
        "Free that much, or set MODEL_CACHE_DIR to a folder on a larger disk."
    )


def _files(plans: tuple[DownloadPlan, ...]) -> dict[str, list[str]]:
    files = [(plan.repo_id, file) for plan in plans for file in plan.files]
    return {
        "repository": [repo_id for repo_id, _ in files],
        "file": [file.path for _, file in files],
        "size": [format_bytes(file.size_bytes) for _, file in files],
        "here": ["yes" if file.is_present else "no" for _, file in files],
    }


def _cancelled(transfer: TransferView) -> str:
    if transfer.kind == "download":
        return (
            "The download was cancelled. Files that had arrived whole are kept: "
            "the next one fetches only the rest."
        )
    return f"The {_NOUNS[transfer.kind]} was cancelled."


def _done(transfer: TransferView) -> None:
    faults = sum(len(report.faults) for report in transfer.reports)
    took = f"in {duration(transfer.elapsed_s)}, asked by {transfer.asked_by}"
    if faults:
        files = "1 file is not as it" if faults == 1 else f"{faults:,} files are not as they"
        with st.container(border=True, gap="xsmall"):
            st.badge("Damaged", color="red", icon=":material/error:")
            st.text(f"{files} should be. Download fetches again what is damaged.")
            for report in transfer.reports:
                for fault in report.faults[:_MAX_FAULTS]:
                    st.text(f"{fault.path}: {fault.reason}")
        return
    with st.container(border=True, gap="xsmall"):
        name = "Downloaded" if transfer.kind == "download" else "Verified"
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(name, color="green", icon=":material/check_circle:")
            st.text(took)
        for report in transfer.reports:
            st.text(_report_line(report))
        for plan in transfer.plans:
            st.text(
                f"{plan.repo_id} at {plan.commit[:8]}: {len(plan.files):,} files, "
                f"{format_bytes(plan.total_bytes)}, equal to the hub's checksums"
            )


def _report_line(report: VerifyReport) -> str:
    what = {
        "hub": "equal to the hub's checksums",
        "record": "equal to the checksums recorded here",
        "nothing": "read and recorded; there was nothing to compare with",
    }[report.against]
    name = component_name(report.component)
    return f"{name}: {report.n_files:,} files, {format_bytes(report.n_bytes)}, {what}"
