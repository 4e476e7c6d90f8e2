"""Detectors of one evaluation: figures with intervals, curves, and what may be said of them.

Invariant: data in, widgets out; a figure that its gate withholds is a dash, and every figure of a
toy is said to be one.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.confabulation_view import estimate_words, find_slice
from dashboard.detector_charts import (
    CURVE_PX,
    CURVE_TITLES,
    Curve,
    curve_chart,
    forest_chart,
    forest_px,
    key_chart,
    key_px,
)
from engine.api import WHOLE, DetectorReport, Evaluation, SliceResult

_ROW_PX = 28
_HEAD_CHARS = 120
_CURVES: tuple[Curve, ...] = ("roc", "pr", "reliability", "risk")


def sentence_list(sentences: Sequence[str], slice_name: str) -> None:
    """What may be said in words: of the slice, and of everything; the other slices on demand."""
    here: list[str] = []
    elsewhere: list[str] = []
    for sentence in sentences:
        head = "all held-out" if slice_name == WHOLE else f"slice {slice_name!r}"
        is_other = sentence.startswith("On ") and head not in sentence[:_HEAD_CHARS]
        (elsewhere if is_other else here).append(sentence)
    with st.container(border=True, gap="xsmall"):
        for sentence in here:
            st.text(sentence)
    if elsewhere:
        with st.expander("The same for the other slices"):
            for sentence in elsewhere:
                st.text(sentence)


def split_words(evaluation: Evaluation) -> str:
    """How answers were divided."""
    split = evaluation.split
    held_out = len(split.held_out_templates)
    templates = f", {held_out} templates held out" if held_out else ""
    return (
        f"Trained on {split.n_train:,} answers, calibrated on {split.n_validation:,}, measured "
        f"once on {split.n_test:,} held-out ones of other groups ({split.n_groups:,} groups in all"
        f"{templates}; digest of the held-out answers {split.split_hash})."
    )


def forest(evaluation: Evaluation, slice_name: str, toy: str) -> None:
    """AUROC of candidates and baselines with their intervals."""
    reports = evaluation.detectors
    height = forest_px(reports, slice_name)
    st.altair_chart(forest_chart(reports, slice_name, toy), height=height, key="forest")


def curves(chosen: Sequence[tuple[str, SliceResult]], toy: str) -> None:
    """The four curves of some detectors, two beside each other."""
    names = [name for name, _ in chosen]
    st.altair_chart(key_chart(names), height=key_px(names), key="curve-key")
    for pair in (_CURVES[:2], _CURVES[2:]):
        for column, curve in zip(st.columns(2, gap="medium"), pair, strict=True):
            with column:
                st.caption(f"{CURVE_TITLES[curve]}{toy}")
                chart = curve_chart(curve, chosen)
                st.altair_chart(chart, height=CURVE_PX, key=f"curve-{curve}")


def figure_table(reports: Sequence[DetectorReport], slice_name: str, toy: str) -> None:
    """All figures of all detectors on a slice; the best AUROC first."""
    pairs = [
        (report, found)
        for report in reports
        if (found := find_slice(report, slice_name)) is not None
    ]
    pairs.sort(key=lambda pair: -(pair[1].auroc.value if pair[1].auroc else -1.0))
    prevalence = pairs[0][1].prevalence if pairs else 0.0
    figures = {
        "AUROC": [found.auroc for _, found in pairs],
        f"AUPRC (a guess {prevalence:.2f})": [found.auprc for _, found in pairs],
        "false alarms at 95% found": [found.fpr_at_95_tpr for _, found in pairs],
        "found at 10% false alarms": [found.recall_at_10_fpr for _, found in pairs],
        "Brier": [found.brier for _, found in pairs],
        "ECE": [found.ece for _, found in pairs],
        "risk-coverage area": [found.aurc for _, found in pairs],
    }
    st.dataframe(
        {
            f"detector{toy}": [
                f"{'★ ' if report.is_chosen else ''}{report.name}" for report, _ in pairs
            ],
            **{name: [estimate_words(item) for item in column] for name, column in figures.items()},
        },
        hide_index=True,
        row_height=_ROW_PX,
        key="figure_table",
    )


def unavailable_list(reports: Sequence[DetectorReport]) -> None:
    """Baselines that could not be had, and why."""
    for report in reports:
        if not report.is_available:
            st.text(f"{report.name}: {report.note}")
