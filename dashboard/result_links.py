"""Which cells of a query's result open a page: run keys, features, saved queries. Pure.

Invariant: a cell becomes a link only if its page can show it; every other value stays what it is.
Columns are told by name: run_key, feature, query_id; position, source_id and source help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dashboard.links import MAX_INDEX, ViewState, to_path

_RUN_KEY = re.compile(r"[0-9a-f]{64}")
_QUERY_ID = re.compile(r"[0-9a-f]{8,64}")
_LAST_NUMBER = re.compile(r"\d+$")
_PAGES: Mapping[str, str] = {"run_key": "ask", "feature": "feature", "query_id": "sql"}
_SHOWN_PARTS: Mapping[str, str] = {
    "run_key": r"run=([0-9a-f]{10})",
    "feature": r"feature=0*(\d+)$",
    "query_id": r"query=([0-9a-f]+)$",
}
"""What of a link its cell shows, as a regular expression with one group."""


@dataclass(frozen=True, slots=True)
class LinkedTable:
    """A result with paths of pages in place of what they open.

    Attributes:
        shown_parts: of each column of links, what its cells show.
    """

    table: pa.Table
    shown_parts: Mapping[str, str]


def link_cells(table: pa.Table, only_source: str | None) -> LinkedTable:
    """Replaces the cells that open a page by its path.

    Args:
        only_source: of all features, where the store holds one source alone.
    """
    names = [name for name in _SHOWN_PARTS if name in table.column_names]
    shown_parts = {}
    for name in names:
        paths = [_row_path(name, row, only_source) for row in _rows(table)]
        if any(path is not None for path in paths):
            values = table.column(name).to_pylist()
            cells = [_cell(value, path) for value, path in zip(values, paths, strict=True)]
            index = table.column_names.index(name)
            table = table.set_column(index, name, pa.array(cells, pa.string()))
            shown_parts[name] = _SHOWN_PARTS[name]
    return LinkedTable(table, shown_parts)


def row_state(name: str, row: Mapping[str, object], only_source: str | None) -> ViewState | None:
    """What the cell of a row opens: a state of the page of its column; None if it opens nothing."""
    value, feature = row.get(name), _index(row.get("feature"))
    if name == "run_key" and isinstance(value, str) and _RUN_KEY.fullmatch(value):
        return ViewState(run=value, token=_index(row.get("position")), feature=feature)
    if name == "feature" and feature is not None:
        source = row.get("source_id") or row.get("source") or only_source
        return ViewState(source=source, feature=feature) if isinstance(source, str) else None
    if name == "query_id" and isinstance(value, str) and _QUERY_ID.fullmatch(value):
        return ViewState(query=value)
    return None


def _row_path(name: str, row: Mapping[str, object], only_source: str | None) -> str | None:
    state = row_state(name, row, only_source)
    if state is None:
        return None
    path = to_path(_PAGES[name], state)
    # Ten digits, so that links sort as their numbers do.
    return path if name != "feature" else _LAST_NUMBER.sub(f"{state.feature:010d}", path)


def _rows(table: pa.Table) -> Sequence[Mapping[str, object]]:
    needed = {*_SHOWN_PARTS, "position", "source_id", "source"}
    rows: list[Mapping[str, object]] = table.select(
        [name for name in table.column_names if name in needed]
    ).to_pylist()
    return rows


def _cell(value: object, path: str | None) -> str | None:
    return path or (None if value is None else str(value))


def _index(value: object) -> int | None:
    is_index = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INDEX
    return int(str(value)) if is_index else None
