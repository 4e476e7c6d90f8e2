"""A chart of a query's result: which columns, how drawn; and what to draw if nobody said. Pure.

Invariant: every choice that names columns of the result gives a chart; names that it does not have
are left out. At most MAX_DRAWN rows go to the browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from dashboard.links import Mark
from store.formats import to_json_rows
from store.sandbox import Column, QueryResult

MAX_DRAWN = 5_000
_HEIGHT_PX = 340
_MAX_CATEGORIES = 60
_NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "HUGEINT", "REAL")
_TIMES = ("TIMESTAMP", "DATE")
_IDS = frozenset({"run_key", "source_id", "feature", "position", "token_id", "seed", "query_id"})
_ORDERED = frozenset({"position", "layer", "step"})

Kind = Literal["number", "time", "word"]


@dataclass(frozen=True, slots=True)
class ChartChoice:
    """Columns of a chart.

    Attributes:
        x, y: of its axes; by: of its colour, if it has one.
    """

    mark: Mark
    x: str
    y: str
    by: str | None = None


def kind_of(column: Column) -> Kind:
    """What the values of a column are, for an axis."""
    if column.type.startswith(_TIMES):
        return "time"
    is_number = any(part in column.type for part in _NUMBERS) and not column.type.endswith("]")
    return "number" if is_number and "(" not in column.type.removeprefix("DECIMAL(") else "word"


def default_choice(columns: Sequence[Column]) -> ChartChoice | None:
    """A first guess: something measured over time, over position, or for each name.

    None if nothing in the result is a number.
    """
    kinds = {column.name: kind_of(column) for column in columns}
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    measured = [name for name in numbers if name not in _IDS] or numbers
    if not measured:
        return None
    times = [name for name, kind in kinds.items() if kind == "time"]
    ordered = [name for name in numbers if name in _ORDERED]
    names = [name for name in kinds if name not in measured and name not in times]
    for found, mark in ((times, "line"), (ordered, "line"), (names, "bar")):
        choices = [name for name in found if name != measured[0]]
        if choices:
            return ChartChoice("line" if mark == "line" else "bar", choices[0], measured[0])
    other = measured[1] if len(measured) > 1 else measured[0]
    return ChartChoice("point", measured[0], other)


def choose(
    columns: Sequence[Column],
    mark: Mark | None,
    x: str | None,
    y: str | None,
    by: str | None,
) -> ChartChoice | None:
    """What a link asks for, completed by the first guess; None if there is nothing to draw."""
    names = {column.name for column in columns}
    guess = default_choice(columns)
    if guess is None and not (x in names and y in names):
        return None
    first = columns[0].name
    return ChartChoice(
        mark=mark or (guess.mark if guess else "point"),
        x=x if x is not None and x in names else (guess.x if guess else first),
        y=y if y is not None and y in names else (guess.y if guess else first),
        by=by if by in names else None,
    )


def result_chart(result: QueryResult, choice: ChartChoice) -> alt.Chart:
    """The first MAX_DRAWN rows as a chart."""
    names = [column.name for column in result.columns]
    used = list(dict.fromkeys(name for name in (choice.x, choice.y, choice.by) if name))
    indexes = [names.index(name) for name in used]
    rows = [
        # Own keys: a column's name may hold what the chart's language reads as a path.
        {f"c{key}": row[index] for key, index in enumerate(indexes)}
        for row in to_json_rows(result.slice(0, MAX_DRAWN))
    ]
    keys = {name: f"c{key}" for key, name in enumerate(used)}
    kinds = {name: kind_of(result.columns[names.index(name)]) for name in used}
    x_type = _axis_type(kinds[choice.x], choice, rows, keys[choice.x])
    chart = alt.Chart(alt.InlineData(values=rows))
    marked = {
        "bar": chart.mark_bar(),
        "line": chart.mark_line(point=len(rows) <= 60),
        "point": chart.mark_point(filled=True, size=36, opacity=0.75),
        "area": chart.mark_area(opacity=0.6),
    }[choice.mark]
    channels: dict[str, Any] = {
        "x": alt.X(f"{keys[choice.x]}:{x_type}", title=choice.x, sort=None),
        "y": alt.Y(f"{keys[choice.y]}:{_LETTERS[kinds[choice.y]]}", title=choice.y),
        "tooltip": [
            alt.Tooltip(f"{key}:{_LETTERS[kinds[name]]}", title=name) for name, key in keys.items()
        ],
    }
    if choice.by is not None:
        channels["color"] = alt.Color(
            f"{keys[choice.by]}:{_LETTERS[kinds[choice.by]]}", title=choice.by
        )
    drawn: alt.Chart = marked.encode(**channels).properties(height=_HEIGHT_PX)
    return drawn


_LETTERS: dict[Kind, str] = {"number": "Q", "time": "T", "word": "N"}


def _axis_type(kind: Kind, choice: ChartChoice, rows: Sequence[dict[str, object]], key: str) -> str:
    """Bars stand side by side for a few numbers, such as features, rather than along a scale."""
    if kind == "number" and choice.mark == "bar" and choice.x in _IDS - _ORDERED:
        n_values = len({str(row[key]) for row in rows})
        return "O" if n_values <= _MAX_CATEGORIES else "Q"
    return _LETTERS[kind]
