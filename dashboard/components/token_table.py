"""A table of tokens, or of sequences of them, with numbers beside each.

Invariant: the component gets texts and numbers and draws them; tokens go to the browser as data and
into the page as text content, white space made visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "featurebook_token_table",
    html="<table><thead></thead><tbody></tbody></table>",
    css=(_HERE / "token_table.css").read_text("utf-8"),
    js=(_HERE / "token_table.js").read_text("utf-8"),
)


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers beside the tokens.

    Attributes:
        kind: decides digits; `signed` has a bar to the side of its sign.
        bar: whether a bar behind the number shows its size; help: one sentence, on hover.
    """

    name: str
    kind: Literal["value", "percent", "count", "signed", "text"]
    help: str
    bar: bool = False


def token_table(
    title: str,
    columns: tuple[NumberColumn, ...],
    rows: Sequence[tuple[Sequence[str], Sequence[float | int | str]]],
    key: str,
    is_tokens: bool = True,
) -> None:
    """Draws the table.

    Args:
        title: of the first column.
        rows: the tokens of each row, and its numbers, one for each column.
        is_tokens: whether the first column is tokens of a model, rather than plain words.
    """
    data = {
        "title": title,
        "is_tokens": is_tokens,
        "columns": [
            {"name": item.name, "kind": item.kind, "help": item.help, "bar": item.bar}
            for item in columns
        ],
        "rows": [
            [list(texts), [float(f"{n:.5g}") if isinstance(n, float) else n for n in numbers]]
            for texts, numbers in rows
        ],
    }
    _mount(key=key, data=data)
