"""The feature table: features as rows with their values and labels, one of them chosen.

Invariant: the component gets rows and returns the chosen feature; it never fetches. Labels go to
the browser as data and into the page as text content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from dashboard.links import ORDER, ViewState, to_path
from dashboard.run_view import RunFeature, TokenFeature

NO_FEATURE = -1
"""What the table sends when the chosen feature is let go."""
Cell = int | float | str | list[float] | None

_HERE = Path(__file__).parent
_HTML = """
<div class="frame">
<div class="scroll"><table role="grid"><thead></thead><tbody></tbody></table></div>
<button type="button" class="more" hidden></button></div>
"""

_mount = st.components.v2.component(
    "featurebook_feature_table",
    html=_HTML,
    css=(_HERE / "feature_table.css").read_text("utf-8"),
    js=(_HERE / "feature_table.js").read_text("utf-8"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column; the first one of a table is the feature's index.

    Attributes:
        kind: decides digits and alignment; `signed` has a bar to either side of zero, `histogram`
            is a list of heights from 0 to 1.
        bar: whether a bar behind the number shows its size.
        help: one sentence, shown on hover.
    """

    name: str
    kind: Literal["feature", "value", "percent", "count", "label", "text", "signed", "histogram"]
    help: str
    bar: bool = False


LABEL = Column("label", "label", "What it means, as somebody or something labelled it.")
TOKEN_COLUMNS = (
    Column("feature", "feature", "Index of the feature in its SAE."),
    LABEL,
    Column("value", "value", "Its activation on this token.", bar=True),
    Column("share", "percent", "Of the sum of all activations on this token."),
    Column("of max", "percent", "Of its largest activation in this run."),
    Column("tokens", "count", "Tokens of this run on which it is active."),
)
RUN_COLUMNS = (
    Column("feature", "feature", "Index of the feature in its SAE."),
    LABEL,
    Column("max", "value", "Its largest activation in this run.", bar=True),
    Column("at", "count", "Position of its largest activation."),
    Column("tokens", "count", "Tokens of this run on which it is active."),
    Column("sum", "value", "Sum of its activations in this run."),
)


def feature_table(
    columns: tuple[Column, ...],
    rows: Sequence[Sequence[Cell]],
    selected: int | None,
    key: str,
    on_pick: Callable[[], None] | None,
    source: str | None = None,
    is_tall: bool = False,
) -> None:
    """Draws the table; a column of labels without a single one says nothing, and is left out.

    Args:
        rows: one cell for each column, the feature's index first.
        selected: the chosen feature, or None.
        key: of the component; `session.picked(key, "picked")` is the feature in `on_pick`, or
            NO_FEATURE.
        on_pick: called before the rerun that a click causes; None lets a row open its feature.
        source: whose features they are, where each has a link to its page.
        is_tall: whether it grows with its rows, rather than scroll.
    """
    kept = [
        index
        for index, column in enumerate(columns)
        if column is not LABEL or any(row[index] for row in rows)
    ]
    page = None if source is None else to_path("feature", ViewState(source=source))
    data = {
        "link": page and f"{page}&feature=",
        "is_picked": on_pick is not None,
        "is_tall": is_tall,
        "order": ORDER,
        "columns": [
            {"name": item.name, "kind": item.kind, "help": item.help, "bar": item.bar}
            for item in (columns[index] for index in kept)
        ],
        "rows": [[_rounded(row[index]) for index in kept] for row in rows],
        "selected": selected,
    }
    _mount(key=key, data=data, on_picked_change=on_pick or (lambda: None))


def token_rows(features: Sequence[TokenFeature], labels: Mapping[int, str]) -> list[list[Cell]]:
    """Rows for TOKEN_COLUMNS."""
    return [
        [f.feature, labels.get(f.feature), f.value, f.share, f.of_max, f.n_tokens] for f in features
    ]


def run_rows(features: Sequence[RunFeature], labels: Mapping[int, str]) -> list[list[Cell]]:
    """Rows for RUN_COLUMNS."""
    return [
        [f.feature, labels.get(f.feature), f.max_value, f.max_position, f.n_tokens, f.sum_value]
        for f in features
    ]


def _rounded(cell: Cell) -> Cell:
    return float(f"{cell:.5g}") if isinstance(cell, float) else cell
