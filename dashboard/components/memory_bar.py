"""A bar of a device's memory: named parts of it side by side, what is free, and where it ends.

Invariant: the component gets bytes and draws them; parts that need more than there is are drawn as
too long, never cut silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from dashboard.weights_view import format_bytes

Part = Literal["model", "sae", "working", "used", "other"]
_HERE = Path(__file__).parent
_HTML = """
<div class="memory"><div class="bar" role="img"><div class="end"></div></div>
<div class="legend"></div></div>
"""

_mount = st.components.v2.component(
    "featurebook_memory_bar",
    html=_HTML,
    css=(_HERE / "memory_bar.css").read_text("utf-8"),
    js=(_HERE / "memory_bar.js").read_text("utf-8"),
)


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A part of the memory.

    Attributes:
        kind: decides its colour.
        name: our own words for it.
    """

    kind: Part
    name: str
    n_bytes: int


def memory_bar(parts: Sequence[MemoryPart], limit: int | None, rest: str, key: str) -> None:
    """Draws the bar.

    Args:
        limit: bytes that the parts may fill; None where that is not known: then only the parts'
            own proportions are drawn.
        rest: what is said of the limit, such as `9.8 GB available`.
    """
    total = sum(part.n_bytes for part in parts)
    span = max(total, limit or 0, 1)
    data = {
        "parts": [
            {
                "kind": part.kind,
                "text": f"{part.name} {format_bytes(part.n_bytes)}",
                "width": 100 * part.n_bytes / span,
            }
            for part in parts
        ],
        "end": None if limit is None or limit >= span else 100 * limit / span,
        "rest": rest,
    }
    _mount(key=key, data=data)
