"""What a detector says of one answer: flagged or not, how likely it is false, what carries it.

Invariant: data in, widgets out; a score never stands without what its threshold and calibration
rest on. Caveats and labels go through st.text and the feature table, never Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from dashboard.components.feature_table import Cell, Column, feature_table
from engine.api import LiveScore

RATES: Mapping[str, str] = {
    "0.01": "1% false alarms",
    "0.05": "5% false alarms",
    "0.1": "10% false alarms",
    "0.2": "20% false alarms",
}
DEFAULT_RATE = 0.1
MAX_FEATURES = 12
_COLUMNS = (
    Column("feature", "feature", "Index of the feature in its SAE."),
    Column("label", "label", "What it means, as somebody or something labelled it."),
    Column("adds", "signed", "To the score: its weight times its value."),
    Column("value", "value", "Its activation there."),
    Column("weight", "value", "That the detector gives it."),
    Column("at", "count", "Position of the token."),
)


def live_score(score: LiveScore, toy: str) -> None:
    """Draws flag and probability, to stand in a row; what they rest on is told on hover."""
    words = threshold_words(score, toy)
    if score.is_flagged:
        st.badge("flagged", color="orange", icon=":material/flag:", help=words)
    else:
        st.badge("not flagged", color="gray", icon=":material/outlined_flag:", help=words)
    st.text(probability_words(score, toy), width="content")


def probability_words(score: LiveScore, toy: str) -> str:
    """How likely the answer is false, by the detector."""
    if not score.is_calibrated:
        return f"score {score.score:.2f}{toy}"
    return f"{score.probability:.0%} likely to be false{toy}"


def threshold_words(score: LiveScore, toy: str) -> str:
    """What decides whether it is flagged."""
    found = score.threshold
    return (
        f"score {score.score:+.2f}; flagged from {found.score:+.2f} on, as "
        f"{found.false_positive_rate:.0%} of {found.n_negatives:,} right answers are{toy}"
    )


def score_features(
    score: LiveScore,
    labels: Mapping[int, str],
    source: str,
    chosen: int | None,
    key: str,
    on_pick: Callable[[], None],
) -> None:
    """Draws the features that carry the score, the heaviest first."""
    rows: list[list[Cell]] = [
        [
            item.feature,
            labels.get(item.feature, ""),
            item.contribution,
            item.value,
            item.weight,
            item.position,
        ]
        for item in score.features[:MAX_FEATURES]
    ]
    columns: tuple[Column, ...] = _COLUMNS
    if not any(row[1] for row in rows):
        columns, rows = (_COLUMNS[0], *_COLUMNS[2:]), [[row[0], *row[2:]] for row in rows]
    feature_table(columns, rows, chosen, key=key, on_pick=on_pick, source=source)
