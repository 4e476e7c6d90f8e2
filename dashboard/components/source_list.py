"""The list of sources: a line each, one of them chosen.

Invariant: the component gets lines and returns the chosen name; it never fetches. Titles and
repositories' names go to the browser as data and into the page as text content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from dashboard.links import ORDER
from dashboard.weights_view import Tone

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "featurebook_source_list",
    html='<div class="list" role="listbox" tabindex="0" aria-label="Sources"></div>',
    css=(_HERE / "source_list.css").read_text("utf-8"),
    js=(_HERE / "source_list.js").read_text("utf-8"),
)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the list.

    Attributes:
        sae: features and layer, or that there is none.
        state, tone: what is here, in words, and how they are coloured.
        marks: short words beside the name, such as `toy` or `loaded`.
    """

    name: str
    title: str
    model: str
    sae: str
    size: str
    state: str
    tone: Tone
    marks: tuple[str, ...]


def source_list(
    lines: Sequence[SourceLine], selected: str | None, key: str, on_pick: Callable[[], None]
) -> None:
    """Draws the list.

    Args:
        selected: name of the chosen source.
        key: of the component; `session.picked_name(key, "picked")` is the name in `on_pick`.
        on_pick: called before the rerun that a click causes.
    """
    data = {"order": ORDER, "lines": [asdict(line) for line in lines], "selected": selected}
    _mount(key=key, data=data, on_picked_change=on_pick)
