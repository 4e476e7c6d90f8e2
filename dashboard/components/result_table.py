"""A query's result as a table: how long it took, whether it was cut, its cells in full, downloads.

Invariant: the result is given; nothing is fetched. A cell that holds a run key or a feature is a
link to its page; what users and models wrote is a cell, or st.code, never Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

import streamlit as st

from dashboard import session
from dashboard.links import to_params
from dashboard.result_links import link_cells, row_state
from store.formats import to_bytes, to_json_rows
from store.sandbox import QueryResult

_MAX_ROWS_SHOWN_WHOLE = 14
_ROW_PX = 28
_HEIGHT_PX = 430
_MAX_CELL_CHARS = 20_000
_MAX_FIELDS = 40
_MAX_LINE_CHARS = 120
_PAGES: Mapping[str, tuple[str, str]] = {
    "run_key": ("views/ask.py", "Open the run"),
    "feature": ("views/feature.py", "Open the feature"),
    "query_id": ("views/sql.py", "Open the query"),
}


def result_figures(result: QueryResult, asked_at: datetime) -> None:
    """Rows, whether there are more, how long it took, and when that was."""
    rows = f"{result.n_rows:,} row{'' if result.n_rows == 1 else 's'}"
    if result.truncated:
        st.badge(f"truncated at {rows}", color="orange", icon=":material/content_cut:")
    else:
        st.badge(rows, color="green", icon=":material/check:")
    st.caption(f"{result.elapsed_ms:,.0f} ms, at {asked_at:%H:%M:%S} UTC", width="content")


def result_downloads(result: QueryResult) -> None:
    """The rows that are shown, as files."""
    for format, mime in (("csv", "text/csv"), ("parquet", "application/vnd.apache.parquet")):
        st.download_button(
            "CSV" if format == "csv" else "Parquet",
            partial(to_bytes, result, "csv" if format == "csv" else "parquet"),
            file_name=f"featurebook.{format}",
            mime=mime,
            icon=":material/download:",
            on_click="ignore",
            type="tertiary",
            key=f"download-{format}",
        )


def result_table(result: QueryResult, only_source: str | None, key: str) -> None:
    """Draws the rows; the row of a clicked cell is shown in full below them.

    Args:
        only_source: the source of all features, if the store holds one alone.
        key: of the table; another for another query, so that no selection is carried over.
    """
    if not result.n_rows:
        st.text("The query ran, and nothing that is stored matches it.")
        return
    linked = link_cells(result.table, only_source)
    config = {
        name: st.column_config.LinkColumn(name, display_text=part, help="Opens in a new tab.")
        for name, part in linked.shown_parts.items()
    }
    # The table's own download would hold paths of pages in place of keys: it is hidden there.
    with st.container(key="result"):
        st.dataframe(
            linked.table,
            hide_index=True,
            row_height=_ROW_PX,
            height="content" if result.n_rows <= _MAX_ROWS_SHOWN_WHOLE else _HEIGHT_PX,
            column_config=config,
            on_select="rerun",
            selection_mode="single-cell",
            key=key,
        )
    cell = session.selected_cell(key)
    if cell is not None and cell[0] < result.n_rows:
        _show_row(result, *cell, only_source)
    else:
        st.caption("Click a cell to see its row in full; run keys and features open their page.")


def _show_row(result: QueryResult, index: int, column: str, only_source: str | None) -> None:
    """One row, the clicked column first, with links that stay in this session."""
    [values] = to_json_rows(result.slice(index, 1))
    fields = dict(zip((item.name for item in result.columns), values, strict=True))
    first = [column] if column in fields else []
    names = [*first, *(name for name in fields if name not in first)]
    with st.container(border=True, gap="xsmall", key="row_in_full"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"Row {index + 1:,} in full", width="content")
            for name, (page, label) in _PAGES.items():
                state = row_state(name, fields, only_source)
                if state is not None and page == "views/sql.py":
                    st.button(label, type="tertiary", on_click=session.show, args=(state,))
                elif state is not None:
                    st.page_link(page, label=label, query_params=to_params(state))
        for name in names[:_MAX_FIELDS]:
            left, right = st.columns([1, 5], gap="small")
            left.text(name)
            with right:
                _show_value(fields[name])


def _show_value(value: object) -> None:
    text = str(value)[:_MAX_CELL_CHARS]
    if value is None:
        st.caption("NULL")
    elif len(text) <= _MAX_LINE_CHARS and text.isprintable():
        st.text(text)
    else:
        st.code(text, language=None, wrap_lines=True)
