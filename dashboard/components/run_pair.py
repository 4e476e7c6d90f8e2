"""Two runs side by side: stretches that they share beside each other, and where they differ.

Invariant: the component gets data and sends nothing; a token is a link to its place in its run.
Model text goes to the browser as data and into the page as text content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from dashboard.links import ViewState, to_path
from dashboard.run_view import RunView
from engine.api import AlignedBlock

MAX_TOKENS = 2_000
"""Tokens drawn of each run; what follows is left out, and said."""
_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "featurebook_run_pair",
    html='<div class="pair"><div class="legend"></div><div class="rows"></div></div>',
    css=(_HERE / "run_pair.css").read_text("utf-8"),
    js=(_HERE / "run_pair.js").read_text("utf-8"),
)


def run_pair(
    a: RunView, b: RunView, blocks: Sequence[AlignedBlock], feature: int | None, unit: str, key: str
) -> None:
    """Draws both runs.

    Args:
        a, b: the runs, with their activations.
        blocks: as their tokens are aligned, A first.
        feature: that shades the tokens; None shades none.
        unit: said behind a value, such as ` (toy)`.
    """
    values_a = {} if feature is None else a.feature_values(feature)
    values_b = {} if feature is None else b.feature_values(feature)
    largest = max([*values_a.values(), *values_b.values()], default=0.0)
    legend = "What differs is underlined; a token opens its run."
    if feature is not None:
        legend = f"feature {feature}, at most {largest:.3g}{unit} in the two. {legend}"
    rows = [
        [
            block.kind,
            _tokens(a, block.a_start, min(block.a_stop, MAX_TOKENS), values_a, largest),
            _tokens(b, block.b_start, min(block.b_stop, MAX_TOKENS), values_b, largest),
        ]
        for block in blocks
        if block.a_start < MAX_TOKENS and block.b_start < MAX_TOKENS
    ]
    data = {
        "legend": legend,
        "links": [_link(a, feature), _link(b, feature)],
        "rows": rows,
    }
    _mount(key=key, data=data)


def _link(view: RunView, feature: int | None) -> str:
    return f"{to_path('ask', ViewState(run=view.run.run_key, feature=feature))}&token="


def _tokens(
    view: RunView, start: int, stop: int, values: Mapping[int, float], largest: float
) -> list[list[object]]:
    """Position, text, whether it is special or generated, and its shade, of each token."""
    return [
        [
            token.position,
            token.text,
            int(token.is_special),
            int(token.is_generated),
            round(values[token.position] / largest, 3) if token.position in values else 0,
        ]
        for token in view.tokens[start:stop]
    ]
