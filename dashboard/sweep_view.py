"""A sweep as rows for charts and tables: what was measured, of which arm, on which half. Pure.

Invariant: numbers are those of the cells and of the summary; nothing is measured or chosen here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from store.sweep_records import Estimate, SweepCell

Quantity = Literal["success", "coherence", "side_effect"]
Split = Literal["choose", "report"]
SPLIT_WORDS: Mapping[str, str] = {"choose": "half to choose by", "report": "half to report"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One of the three numbers of a cell, as people call it.

    Attributes:
        is_share: a share of 0 to 1, shown as percent.
        help: one sentence.
    """

    quantity: Quantity
    title: str
    unit: str
    is_share: bool
    is_better_high: bool
    help: str


MEASURES: Mapping[str, tuple[Measure, ...]] = {
    "confabulation": (
        Measure(
            "success",
            "reduction of made-up answers",
            "share",
            True,
            True,
            "Of the made-up answers without steering, how many fewer there are with it.",
        ),
        Measure(
            "coherence",
            "whole answers",
            "share",
            True,
            True,
            "Answers that are a sentence of the world: right, wrong or a refusal.",
        ),
        Measure(
            "side_effect",
            "loss of known answers",
            "share",
            True,
            False,
            "How much of the accuracy about known people is lost.",
        ),
    ),
    "concept": (
        Measure(
            "success",
            "words of the concept",
            "nats",
            False,
            True,
            "Change of the log probability of held-out words of the concept.",
        ),
        Measure(
            "coherence",
            "likelihood of the answers",
            "nats a token",
            False,
            True,
            "Change of the answers' log probability under the model without steering; flagged "
            "where the perplexity is more than three times higher or lower.",
        ),
        Measure(
            "side_effect",
            "change elsewhere",
            "nats a token",
            False,
            False,
            "KL divergence on questions that the concept should not touch.",
        ),
    ),
    "ranking": (
        Measure(
            "success",
            "effect on the answer",
            "nats",
            False,
            True,
            "Change of the log probability that the answer begins with the text.",
        ),
    ),
}


def measures_of(task: str) -> tuple[Measure, ...]:
    """What a task measures."""
    return MEASURES.get(task, MEASURES["concept"])


def cell_rows(cells: Sequence[SweepCell], split: str) -> list[dict[str, Any]]:
    """The steered cells of one half, for charts: one dictionary a cell, numbers and interval."""
    layers: dict[str, set[int | None]] = {}
    for cell in cells:
        layers.setdefault(cell.place.arm, set()).add(cell.place.layer)
    rows = []
    for cell in cells:
        place, measured = cell.place, cell.measured
        if measured.split != split or place.kind in ("none", "prompt"):
            continue
        several = len(layers[place.arm]) > 1
        rows.append(
            {
                "number": place.number,
                "arm": place.arm,
                "series": f"{place.arm}, layer {place.layer}" if several else place.arm,
                "layer": place.layer,
                "strength": place.strength,
                "unit": place.unit,
                "role": place.role,
                "gated": place.is_gated,
                "n": measured.n,
                **_spread("success", measured.success),
                **_spread("coherence", measured.coherence),
                **_spread("side_effect", measured.side_effect),
            }
        )
    return rows


def main_series(rows: Sequence[dict[str, Any]], most: int = 6) -> list[dict[str, Any]]:
    """Rows of the candidates that were swept over most strengths, and of all controls."""
    counts = Counter(row["series"] for row in rows if row["role"] == "candidate")
    kept = {name for name, n in counts.most_common(most) if n > 1 or len(counts) <= most}
    return [row for row in rows if row["series"] in kept or row["role"] != "candidate"]


def splits_of(cells: Sequence[SweepCell]) -> tuple[str, ...]:
    """The halves that have candidates, the reported one first."""
    found = {cell.measured.split for cell in cells if cell.place.role == "candidate"}
    return tuple(split for split in ("report", "choose") if split in found)


def find_cell(cells: Sequence[SweepCell], number: int | None) -> SweepCell | None:
    """The cell of a number."""
    return next((cell for cell in cells if cell.place.number == number), None)


def find_number(cells: Sequence[SweepCell], cell_key: object) -> int | None:
    """The number of the cell of a key."""
    return next((cell.place.number for cell in cells if cell.measured.cell_key == cell_key), None)


def shown(value: Mapping[str, Any] | Estimate | None, is_share: bool) -> str:
    """A number with its 95% interval, as a person reads it."""
    if isinstance(value, Estimate):
        value = {"value": value.value, "low": value.low, "high": value.high}
    if not value or value.get("value") is None:
        return "–"
    figures = [value["value"], value.get("low"), value.get("high")]
    texts = ["–" if item is None else _figure(float(item), is_share) for item in figures]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]" if figures[1] is not None else texts[0]


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One arm or control, on the reported half.

    Attributes:
        number: of its cell, if it has one.
        figures: one text a measure of the task.
    """

    name: str
    role: str
    strength: str
    layer: int | None
    n: str
    figures: tuple[str, ...]
    note: str
    number: int | None


_NAMES: Mapping[str, tuple[str, ...]] = {
    "confabulation": ("reduction", "whole", "known_accuracy_loss"),
    "concept": ("success", "coherence", "side_effects"),
}


def summary_rows(
    task: str, summary: Mapping[str, Any], cells: Sequence[SweepCell]
) -> list[SummaryRow]:
    """What was chosen of each arm, and the controls beside it."""
    names = _NAMES.get(task, ())
    best_key = (summary.get("best") or {}).get("cell_key")
    rows = [
        _row(name, "best" if row.get("cell_key") == best_key else "arm", row, task, names, cells)
        for name, row in summary.get("arms", {}).items()
    ]
    for name, row in summary.get("controls", {}).items():
        if "cells" not in row:
            rows.append(_row(name, "control", row, task, names, cells))
            continue
        largest = max(row["cells"], key=lambda item: _value(item, names[0]), default=None)
        if largest is not None:
            title = f"{name}: the largest of {row['n']}"
            rows.append(_row(title, "control", largest, task, names, cells))
    return sorted(rows, key=lambda row: row.role != "best")


def read_results(cell: SweepCell) -> dict[str, Any]:
    """All that was measured of a cell."""
    found: dict[str, Any] = json.loads(cell.measured.results)
    return found


def _row(
    name: str,
    role: str,
    row: Mapping[str, Any],
    task: str,
    names: tuple[str, ...],
    cells: Sequence[SweepCell],
) -> SummaryRow:
    measures = measures_of(task)
    figures = tuple(
        shown(row.get(item), measure.is_share)
        for item, measure in zip(names, measures, strict=False)
    )
    strength = f"{row['strength']:g} {row.get('unit', '')}" if "strength" in row else ""
    n = str(row["n"]) if "n" in row else f"{row.get('n_unknown', 0)} + {row.get('n_known', 0)}"
    note = "" if row.get("is_coherent", True) else "incoherent"
    if isinstance(row.get("gate"), str) and row["gate"] != "none":
        note = f"gate: {row['gate']}"
    number = find_number(cells, row.get("cell_key"))
    return SummaryRow(name, role, strength, row.get("layer"), n, figures, note, number)


def _value(row: Mapping[str, Any], name: str) -> float:
    value = (row.get(name) or {}).get("value")
    return float("-inf") if value is None else float(value)


def _spread(name: str, value: Estimate) -> dict[str, float | None]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _figure(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f}%" if is_share else f"{value:.3g}"


def best_words(summary: str | None) -> str:
    """What a finished sweep against made-up answers found, on the half that was not chosen on."""
    best = (json.loads(summary) if summary else {}).get("best") or {}
    if not {"reduction", "known_accuracy_loss"} <= best.keys():
        return ""
    gain, loss = best["reduction"], best["known_accuracy_loss"]
    return (
        f"{best['arm']}: {gain['value']:.0%} [{gain['low']:.0%}, {gain['high']:.0%}] fewer made up "
        f"at {loss['value']:.0%} [{loss['low']:.0%}, {loss['high']:.0%}] loss of known answers, "
        f"n = {best['n_unknown']:,} + {best['n_known']:,}"
    )
