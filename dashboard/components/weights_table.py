"""The components of a source as rows: where each lies, its revision, its size, whether checked.

Invariant: the component gets statuses and draws them; names and paths go to the browser as data and
into the page as text content.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import streamlit as st

from dashboard.weights_view import (
    check_words,
    component_name,
    component_words,
    format_bytes,
    short_revision,
)
from engine.api import ComponentStatus

_HERE = Path(__file__).parent
_MAX_FILES = 6
_HTML = """
<div class="scroll"><table><thead><tr>
<th scope="col">component</th><th scope="col">where</th><th scope="col">checksums</th>
<th scope="col" class="number">size</th><th scope="col">revision</th>
</tr></thead><tbody></tbody></table><div class="foot"></div></div>
"""

_mount = st.components.v2.component(
    "featurebook_weights_table",
    html=_HTML,
    css=(_HERE / "weights_table.css").read_text("utf-8"),
    js=(_HERE / "weights_table.js").read_text("utf-8"),
)


def weights_table(components: tuple[ComponentStatus, ...], foot: str, key: str) -> None:
    """Draws a row a component, its place below it, and what is wrong with it below that.

    Args:
        foot: what is said of all of them.
    """
    rows = [_row(status) for status in components]
    for row, following in pairwise(rows):
        # what model and tokenizer share is said once, below the last of them
        for name in ("problem", "hint"):
            if row[name] == following[name]:
                row[name] = ""
    _mount(key=key, data={"rows": rows, "foot": foot})


def _row(status: ComponentStatus) -> dict[str, str]:
    where, check = component_words(status), check_words(status)
    return {
        "component": component_name(status.component),
        "where": where.text,
        "tone": where.tone,
        "check": check.text,
        "check_tone": check.tone,
        "size": format_bytes(status.size_bytes) if status.size_bytes else "–",
        "revision": short_revision(status.revision),
        "full_revision": status.revision or "",
        "place": _place(status),
        "problem": " ".join(part for part in (status.problem, _missing(status)) if part),
        "hint": status.hint,
    }


def _place(status: ComponentStatus) -> str:
    """As it is called, and the folder where it is, once if both are the same."""
    parts = [status.location]
    if status.folder is not None and str(status.folder) != status.location:
        parts.append(str(status.folder))
    if status.link_target is not None:
        parts.append(f"→ {status.link_target}")
    return " · ".join(parts)


def _missing(status: ComponentStatus) -> str:
    """The files that are missing, unless the problem names them already."""
    files = [path for path in status.missing if path not in status.problem]
    if not files:
        return ""
    more = len(files) - _MAX_FILES
    shown = ", ".join(files[:_MAX_FILES])
    return f"Missing: {shown}{f' and {more:,} more' if more > 0 else ''}."
