"""The token strip: the tokens of a run as chips, shaded, one of them chosen.

Invariant: the component gets data and returns the chosen position; it never fetches. Model text
goes to the browser as data and into the page as text content, never as HTML or Markdown.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import streamlit as st

from dashboard.links import ORDER
from dashboard.shading import Shading
from store.records import Token

PAGE_TOKENS = 2_000
"""Tokens drawn at once; longer runs are shown in pages."""
NO_TOKEN = -1
"""What the strip sends when the chosen token is let go."""

_HERE = Path(__file__).parent
_HTML = """
<div class="box">
  <div class="legend" hidden><span class="title"></span><span class="low"></span>
    <span class="ramp"></span><span class="high"></span>
    <span class="key"><i>underlined</i> generated</span></div>
  <div class="strip" role="listbox" tabindex="0" aria-label="Tokens"></div>
  <div class="detail" aria-live="polite"></div>
</div>
"""

_mount = st.components.v2.component(
    "featurebook_token_strip",
    html=_HTML,
    css=(_HERE / "token_strip.css").read_text("utf-8"),
    js=(_HERE / "token_strip.js").read_text("utf-8"),
)


def token_strip(
    tokens: tuple[Token, ...],
    first: int,
    shading: Shading | None,
    selected: int | None,
    identity: str,
    key: str,
    on_pick: Callable[[], None],
) -> None:
    """Draws one page of a run's tokens.

    Args:
        tokens: of the page, in order.
        first: position of the first of them.
        shading: how much each position is coloured; None colours nothing.
        selected: the chosen position, or None.
        identity: changes when the tokens are others, so that the browser keeps them otherwise.
        key: of the component; `session.picked(key, "picked")` is the position in `on_pick`, or
            NO_TOKEN.
        on_pick: called before the rerun that a click causes.
    """
    data = strip_data(tokens, first, shading, selected, identity)
    _mount(key=key, data=data, on_picked_change=on_pick)


def strip_data(
    tokens: tuple[Token, ...],
    first: int,
    shading: Shading | None,
    selected: int | None,
    identity: str,
) -> dict[str, object]:
    """What the browser gets: one list a column, and only what is not the rule."""
    shaded = {}
    if shading is not None:
        for token in tokens:
            shade = shading.shade(token.position)
            value = shading.values.get(token.position)
            if value is not None:
                shaded[str(token.position - first)] = (_rounded(shade), _rounded(value))
    is_here = selected is not None and first <= selected < first + len(tokens)
    segments = groupby(tokens, key=lambda token: (token.role, token.is_generated))
    return {
        "id": identity,
        "order": ORDER,
        "first": first,
        "label": f"Tokens {first} to {first + len(tokens) - 1}",
        "texts": [token.text for token in tokens],
        "ids": [token.token_id for token in tokens],
        "segments": [[role, generated, len(list(some))] for (role, generated), some in segments],
        "special": [token.position - first for token in tokens if token.is_special],
        "logprobs": [_rounded(token.logprob) for token in tokens],
        "ranks": [token.rank for token in tokens],
        "entropies": [_rounded(token.entropy) for token in tokens],
        "active": [token.n_active for token in tokens],
        "shaded": shaded,
        "selected": selected - first if selected is not None and is_here else None,
        "legend": None
        if shading is None
        else {
            "title": shading.title,
            "short": shading.short,
            "none": shading.none,
            "low": shading.low,
            "signed": shading.is_signed,
            "high": shading.high,
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
