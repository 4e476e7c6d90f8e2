"""Outcomes as tables: by method, agreement of methods, and tools on against off.

Invariant: data in, tables out; every count of a toy is said to be one, and a kappa that its gate
withholds is a dash.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.outcome_words import (
    MEANING_WORDS,
    METHOD_WORDS,
    TOOLS_WORDS,
    method_word,
    share_words,
)
from engine.api import MIN_ITEMS, Agreement, OutcomeCounts, ToolsEffect

_ROW_PX = 28


def outcome_table(counts: Sequence[OutcomeCounts], toy: str) -> None:
    """Every outcome by every method, with tools off and on."""
    rows: dict[tuple[str, str], dict[bool, int]] = {}
    for item in counts:
        for outcome, number in item.verdicts.items():
            rows.setdefault(("verdict", outcome), {})[item.tools] = number
        for method, outcomes in item.by_method.items():
            for outcome, number in outcomes.items():
                rows.setdefault((method, outcome), {})[item.tools] = number
    order = list(METHOD_WORDS)
    ordered = sorted(rows, key=lambda pair: (order.index(pair[0]), pair[1]))
    st.dataframe(
        {
            "judged by": [METHOD_WORDS[method] for method, _ in ordered],
            "outcome": [outcome for _, outcome in ordered],
            f"tools off{toy}": [rows[pair].get(False, 0) for pair in ordered],
            f"tools on{toy}": [rows[pair].get(True, 0) for pair in ordered],
        },
        hide_index=True,
        row_height=_ROW_PX,
        height="content",
        key="outcome_table",
    )


def agreement_table(agreements: Sequence[Agreement], toy: str) -> None:
    """How far pairs of methods agree, beyond what chance would give."""
    st.dataframe(
        {
            "one": [METHOD_WORDS[item.left] for item in agreements],
            "other": [METHOD_WORDS[item.right] for item in agreements],
            "both judged": [item.n for item in agreements],
            "say the same": [item.n_equal for item in agreements],
            f"Cohen's kappa{toy}": [
                "–" if item.kappa is None else f"{item.kappa:.3f}" for item in agreements
            ],
            "": ["" if item.is_enough else f"from {MIN_ITEMS} answers on" for item in agreements],
        },
        hide_index=True,
        row_height=_ROW_PX,
        height="content",
        key="agreement_table",
    )


def tools_table(effect: ToolsEffect, toy: str) -> None:
    """Counts and shares of what answers mean, tools off beside tools on."""
    columns: dict[str, list[str]] = {"answers that are": []}
    columns |= {words: [] for words in TOOLS_WORDS.values()}
    for meaning, word in MEANING_WORDS.items():
        cells = {tools: effect.cell(tools, meaning) for tools in TOOLS_WORDS}
        if not any(cell is not None and cell.n for cell in cells.values()):
            continue
        columns["answers that are"].append(word)
        for tools, cell in cells.items():
            columns[TOOLS_WORDS[tools]].append(
                "not asked"
                if cell is None
                else f"{cell.n:,} of {cell.n_all:,}: "
                f"{share_words(cell.share.value, cell.share.low, cell.share.high)}{toy}"
            )
    st.dataframe(columns, hide_index=True, row_height=_ROW_PX, height="content", key="tools_table")


def contested_words(counts: Sequence[OutcomeCounts]) -> str:
    """Of how many answers judgements differ."""
    total = sum(item.n_contested for item in counts)
    if not total:
        return "No two methods say different things of an answer."
    ways = ", ".join(
        f"{item.n_contested:,} with {TOOLS_WORDS[item.tools]}"
        for item in counts
        if item.n_contested
    )
    return (
        f"Of {total:,} answers judgements differ ({ways}). What the stronger method says holds, "
        f"in the order {', '.join(method_word(name) for name in list(METHOD_WORDS)[1:])}."
    )
