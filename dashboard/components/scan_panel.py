"""The features that differ between made-up and right answers, beside what chance alone would show.

Invariant: a list of features is never drawn without its null; data in, widgets out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from dashboard.components.feature_table import Cell, Column, feature_table
from dashboard.confabulation_view import estimate_words
from engine.api import FeatureScan

_COLUMNS = (
    Column("feature", "feature", "Index of the feature in its SAE."),
    Column("label", "label", "What it means, as somebody or something labelled it."),
    Column(
        "AUROC train", "value", "Over groups, one value each; above .5 where it tells false ones."
    ),
    Column("AUROC held out", "text", "Of this feature alone on held-out answers, 95% interval."),
    Column("q", "text", "After the false discovery rate over all tested features."),
    Column("p of max", "value", "Shuffles whose largest difference is as large as this one."),
    Column("again", "percent", "Of the inner folds, those that choose it again."),
    Column("fires", "text", "Share of groups in which it fires: false answers, right answers."),
)
MAX_ROWS = 50


def scan_panel(
    scan: FeatureScan,
    labels: Mapping[int, str],
    source: str,
    chosen: int | None,
    toy: str,
    on_pick: Callable[[], None],
    key: str,
) -> None:
    """Draws the scan."""
    st.text(
        f"{scan.n_significant:,} of {scan.n_tested:,} features differ with q ≤ .05, read at the "
        f"{scan.site}{toy}. {scan.gate_note}"
    )
    st.text(null_words(scan, toy))
    rows: list[list[Cell]] = [
        [
            item.feature,
            labels.get(item.feature, ""),
            item.auroc_train,
            estimate_words(item.test_auroc),
            f"{item.q:.2g}",
            item.p_max,
            item.chosen_share,
            f"{item.rate_positive:.0%}, {item.rate_negative:.0%}",
        ]
        for item in scan.rows[:MAX_ROWS]
    ]
    columns: tuple[Column, ...] = _COLUMNS
    if not any(row[1] for row in rows):
        columns, rows = (_COLUMNS[0], *_COLUMNS[2:]), [[row[0], *row[2:]] for row in rows]
    feature_table(columns, rows, chosen, key=key, on_pick=on_pick, source=source)


def null_words(scan: FeatureScan, toy: str) -> str:
    """What chance alone would show, beside what was found."""
    parts = []
    if scan.largest is not None and scan.largest_by_chance is not None:
        p = "" if scan.p is None else f" (p {scan.p:.3f})"
        parts.append(
            f"The largest difference is |z| {scan.largest:.1f}; 1 in 20 shuffles of the labels "
            f"exceeds {scan.largest_by_chance:.1f}{p}{toy}."
        )
    parts.append(
        f"{scan.n_specific:,} features fire on false answers alone; shuffled labels give "
        f"{scan.n_specific_low:.0f} to {scan.n_specific_high:.0f} of those{toy}."
    )
    return " ".join(parts)
