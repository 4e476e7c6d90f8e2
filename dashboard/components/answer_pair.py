"""Two answers as aligned chips, the plain one above the steered one, coloured by what steering did.

Invariant: the component gets data and sends nothing. Model text goes to the browser as data and
into the page as text content.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dashboard.answer_pairs import PairCell, PairedToken

_HERE = Path(__file__).parent
_HTML = """
<div class="pair">
  <div class="legend"><span class="names"></span><span class="scale"></span></div>
  <div class="cells" role="list" tabindex="0" aria-label="Both answers, token by token"></div>
  <div class="detail" aria-live="polite"></div>
</div>
"""

_mount = st.components.v2.component(
    "featurebook_answer_pair",
    html=_HTML,
    css=(_HERE / "answer_pair.css").read_text("utf-8"),
    js=(_HERE / "answer_pair.js").read_text("utf-8"),
)


def answer_pair(cells: Sequence[PairCell], is_measured: bool, key: str) -> None:
    """Draws both answers.

    Args:
        cells: aligned tokens.
        is_measured: whether each token's probability under the other is known.
    """
    data = {
        "measured": is_measured,
        "cells": [[_plain(cell.plain), _plain(cell.steered), cell.differs] for cell in cells],
    }
    _mount(key=key, data=data)


def _plain(token: PairedToken | None) -> list[object] | None:
    if token is None:
        return None
    return [token.position, token.text, _rounded(token.logprob), _rounded(token.other)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
