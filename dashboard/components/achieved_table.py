"""What each intervention of a run asked for, and what it achieved.

Invariant: rows in, a table out; names go into cells as data.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from store.steering_records import RunIntervention


def achieved_table(rows: Sequence[RunIntervention], names: Sequence[str], is_toy: bool) -> None:
    """Draws the table.

    Args:
        rows: of one run, in order.
        names: of what each steers along, one a row.
        is_toy: whether the numbers are a toy's.
    """
    toy = " (toy)" if is_toy else ""
    st.dataframe(
        {
            "what": [f"{row.kind} {name}" for row, name in zip(rows, names, strict=True)],
            "after layer": [row.layer for row in rows],
            "strength": [f"{row.strength:g} {row.unit}" for row in rows],
            "measured as": [row.measure for row in rows],
            f"before{toy}": [row.achieved_before for row in rows],
            f"requested{toy}": [row.requested for row in rows],
            f"achieved{toy}": [row.achieved_after for row in rows],
            "tokens": [row.n_positions for row in rows],
        },
        hide_index=True,
        row_height=28,
        height="content",
        column_config={
            name: st.column_config.NumberColumn(name, format="%.3g", help=text)
            for name, text in (
                (f"before{toy}", "Mean over the steered tokens, before this change."),
                (f"requested{toy}", "Mean of what they should have had."),
                (f"achieved{toy}", "Mean of what they had: others at the same place add to it."),
            )
        },
    )
