"""Features that a search found, as rows of the feature table; how many were left out of them.

Invariant: rows in, a table out; every row opens its feature. Nothing is fetched here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.components.feature_table import LABEL, Cell, Column, feature_table
from store.feature_records import FeatureRow, FiringFeature, TokenFiring

_FEATURE = Column("feature", "feature", "Index of the feature in its SAE; opens its page.")
_VALUES = Column("values", "histogram", "How often it fires how strongly, over everything stored.")
_DENSITY = Column("density", "percent", "Of all stored tokens.", bar=True)
_FROM = Column("from", "text", "Where the label comes from, and its score.")
_ORIGINS = {"human": "by hand", "auto": "automatic", "model": "by a model"}
FOUND = (
    _FEATURE,
    LABEL,
    _FROM,
    _VALUES,
    _DENSITY,
    Column("largest", "value", "Its largest stored value."),
    Column("mean", "value", "Over the tokens on which it is active."),
    Column("tokens", "count", "Stored tokens on which it is active."),
)
FIRES_ON = (
    _FEATURE,
    LABEL,
    _VALUES,
    Column("fires there", "percent", "Of the text's occurrences, on how many it fires."),
    Column("of its tokens", "percent", "Of the tokens on which it fires, how many are the text."),
    Column("z", "value", "Log-odds of the text among its tokens, over their error.", bar=True),
    Column("mean there", "value", "Mean of its values on the text."),
    _DENSITY,
)
FIRING = (
    _FEATURE,
    LABEL,
    _VALUES,
    Column("token", "text", "The token, of those chosen, on which it is strongest."),
    Column("value", "value", "Its value there.", bar=True),
    Column("of largest", "percent", "Of its largest stored value."),
    Column("rarity", "value", "Value times the surprise of it firing at all."),
    _DENSITY,
)


def found_table(rows: Sequence[FeatureRow], source: str, key: str) -> None:
    """Features with their statistics."""
    cells: list[list[Cell]] = [
        [
            row.feature,
            row.label,
            _origin(row),
            _heights(row),
            row.density,
            row.max_value,
            row.mean_value,
            row.n_tokens_active,
        ]
        for row in rows
    ]
    feature_table(FOUND, cells, None, key, None, source, is_tall=True)


def fires_on_table(rows: Sequence[TokenFiring], source: str, key: str) -> None:
    """Features that are specific to a text."""
    cells: list[list[Cell]] = [
        [
            item.row.feature,
            item.row.label,
            _heights(item.row),
            item.share_of_text,
            item.share_of_feature,
            item.z,
            item.mean_value,
            item.row.density,
        ]
        for item in rows
    ]
    feature_table(FIRES_ON, cells, None, key, None, source, is_tall=True)


def firing_table(
    rows: Sequence[FiringFeature], texts: Mapping[int, str], source: str, key: str
) -> None:
    """Features that fire on tokens of a run.

    Args:
        texts: of the run's tokens, by position.
    """
    cells: list[list[Cell]] = [
        [
            item.row.feature,
            item.row.label,
            _heights(item.row),
            f"{item.position} {texts.get(item.position, '')!r}",
            item.value,
            item.relative,
            item.rarity,
            item.row.density,
        ]
        for item in rows
    ]
    feature_table(FIRING, cells, None, key, None, source, is_tall=True)


def left_out(n_dense: int, n_first: int, is_shown: bool) -> bool | None:
    """Says which features are out of the way; returns what was wanted instead, or None.

    Args:
        n_dense: that fire on more than a tenth of all tokens; n_first: on first tokens alone.
        is_shown: whether they are shown all the same.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if is_shown:
            st.caption(
                "Very dense features and those of first tokens are shown too.", width="content"
            )
        else:
            st.caption(
                f"Out of the way: {n_dense:,} that fire on more than a tenth of all tokens, "
                f"{n_first:,} that fire on first tokens alone.",
                width="content",
            )
        wanted = st.toggle("Show them", value=is_shown, key=f"dense-{is_shown}")
    return wanted if wanted != is_shown else None


def _origin(row: FeatureRow) -> str | None:
    if row.label_origin is None:
        return None
    name = _ORIGINS.get(row.label_origin, row.label_origin)
    return name if row.label_score is None else f"{name} {row.label_score:.2f}"


def _heights(row: FeatureRow) -> list[float]:
    counts = [item.n_tokens_active for item in row.histogram]
    largest = max(counts, default=0)
    return [round(count / largest, 3) for count in counts] if largest else []
