"""Interventions as rows to be edited: what, along which feature or vector, how strongly, where.

Invariant: rows in, rows out; features and vectors are looked for by what is given. Names hold
labels that people wrote, so they are options of a selection or st.text, never Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import streamlit as st

from dashboard import session
from dashboard.components.condition_form import condition_form
from dashboard.components.notice import notice
from dashboard.steer_draft import (
    KIND_HELP,
    POSITION_NAMES,
    UNIT_HELP,
    DraftRow,
    describe,
    edited,
    fit,
    kinds_of,
    strength_range,
    units_of,
)

_WIDTHS = [1.0, 2.5, 1.9, 1.0, 0.95, 1.6, 1.0, 0.95, 0.45]
_FREE = 1e9
_SPANS = "or a span, such as 3:8 or 3:"


@dataclass(frozen=True, slots=True)
class Target:
    """A feature or a vector that can be steered along, by one of the two."""

    feature: int | None = None
    vector_id: str | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """What can be chosen in a row.

    Attributes:
        names: of what is offered, each one once.
        find: what a typed text means: a number, an id, words of a label; None if nothing.
        name_of: what people call a target.
        n_layers: of the model, if it is known; home: the layer that the SAE reads after.
    """

    names: Mapping[str, Target]
    find: Callable[[str], Target | None]
    name_of: Callable[[Target], str]
    n_layers: int | None
    home: int | None

    def vectors(self) -> dict[str, str]:
        """Ids of the offered vectors by their names."""
        found = {name: target.vector_id for name, target in self.names.items()}
        return {name: vector_id for name, vector_id in found.items() if vector_id is not None}


def intervention_rows(
    rows: tuple[DraftRow, ...], targets: Targets, number: int
) -> tuple[tuple[DraftRow, ...], bool]:
    """Draws the rows.

    Args:
        rows: as the editor begins.
        number: of the editor's round: another one makes all widgets begin anew.

    Returns:
        The rows as they are now, and whether they are to be drawn anew: one was taken out, or a
        typed text was understood.
    """
    found: list[DraftRow] = []
    is_anew = False
    for place, row in enumerate(rows):
        now, row_anew = _draw_row(row, targets, place, f"{number}-{place}")
        is_anew = is_anew or row_anew
        if now is not None:
            found.append(now)
    return tuple(found), is_anew


def _draw_row(
    row: DraftRow, targets: Targets, place: int, key: str
) -> tuple[DraftRow | None, bool]:
    """The row as it is now, None if it was taken out; and whether to draw anew."""
    first = Target(row.feature, row.vector_id)
    with st.container(border=True, gap="xsmall", key=f"steer_row-{place}"):
        cells = st.columns(_WIDTHS, vertical_alignment="bottom", gap="xsmall")
        # what decides the choices of the others is read first
        target, is_typed = _choose_target(cells[1], first, targets, key)
        is_vector = target.vector_id is not None
        kinds = kinds_of(is_vector)
        kind = cells[0].selectbox(
            "Do",
            kinds,
            index=kinds.index(row.kind) if row.kind in kinds else 0,
            key=f"kind-{key}-{is_vector}",
            help="\n\n".join(f"**{name}**: {KIND_HELP[name]}" for name in kinds),
        )
        now = fit(replace(row, kind=kind, feature=target.feature, vector_id=target.vector_id))
        if now.has_strength:
            now = _choose_strength(cells, now, f"{key}-{kind}-{is_vector}")
        now = replace(now, positions=_choose_positions(cells[5], row.positions, key))
        now = replace(now, layer=_choose_layer(cells[6], row.layer, targets, is_vector, key))
        with cells[7].popover("If" if now.condition else "Always", width="stretch"):
            condition = condition_form(now.condition, targets.vectors(), targets.n_layers, key)
        now = edited(row, replace(now, condition=condition))
        if cells[8].button(
            "", icon=":material/close:", key=f"remove-{key}", help="Takes this row out."
        ):
            return None, True
        _say(now, targets)
    return now, is_typed and target != first


def _choose_target(
    cell: st.delta_generator.DeltaGenerator, first: Target, targets: Targets, key: str
) -> tuple[Target, bool]:
    """The target, and whether it was typed rather than chosen."""
    is_open = first.feature is None and first.vector_id is None
    own = None if is_open else targets.name_of(first)
    options = list(dict.fromkeys([own, *targets.names] if own is not None else targets.names))
    chosen = cell.selectbox(
        "Feature or vector",
        options,
        index=None if own is None else 0,
        placeholder="number, label or vector",
        accept_new_options=True,
        key=f"target-{key}",
        help="Type a feature's number or words of its label, or choose a vector.",
    )
    if chosen is None:
        return Target(), False
    if chosen == own:
        return first, False
    if chosen in targets.names:
        return targets.names[chosen], False
    found = targets.find(chosen)
    if found is None:
        notice(
            "warning",
            f"No feature and no vector is found for {chosen[:60]!r}.",
            "Type a feature's number, words of a label, or choose from the list.",
        )
        return Target(), False
    return found, True


def _choose_strength(
    cells: list[st.delta_generator.DeltaGenerator], row: DraftRow, key: str
) -> DraftRow:
    units = units_of(row.kind, row.vector_id is None)
    unit = cells[4].selectbox(
        "Unit",
        units,
        index=units.index(row.unit),
        key=f"unit-{key}",
        help="\n\n".join(f"**{name}**: {UNIT_HELP[name]}" for name in units),
    )
    number, slider = f"number-{key}-{unit}", f"slider-{key}-{unit}"
    low, high, step = strength_range(row.kind, unit, row.strength)
    start = row.strength if unit == row.unit else strength_range(row.kind, unit, 0.0)[2] * 10
    cells[2].slider(
        "Strength",
        low,
        high,
        value=min(max(start, low), high),
        step=step,
        key=slider,
        on_change=session.copy_number,
        args=(slider, number, -_FREE, _FREE),
    )
    strength = cells[3].number_input(
        "Number",
        value=start,
        step=step,
        format="%.4g",
        key=number,
        on_change=session.copy_number,
        args=(number, slider, low, high),
        label_visibility="collapsed",
    )
    return replace(row, strength=float(strength), unit=unit)


def _choose_positions(cell: st.delta_generator.DeltaGenerator, first: str, key: str) -> str:
    options = list(dict.fromkeys([*POSITION_NAMES, first]))
    chosen = cell.selectbox(
        "Where",
        options,
        index=options.index(first),
        accept_new_options=True,
        key=f"positions-{key}",
        help="\n\n".join(f"**{name}**: {text}" for name, text in POSITION_NAMES.items())
        + f"\n\n{_SPANS}: positions of the whole sequence. The token that begins every text is "
        "left alone.",
    )
    return str(chosen or first)


def _choose_layer(
    cell: st.delta_generator.DeltaGenerator,
    first: int | None,
    targets: Targets,
    is_vector: bool,
    key: str,
) -> int | None:
    own = "its own" if is_vector or targets.home is None else f"SAE's, {targets.home}"
    numbers = range(max(targets.n_layers or 0, (first or 0) + 1))
    options = [own, *(f"after {number}" for number in numbers)]
    chosen = cell.selectbox(
        "Layer",
        options,
        index=0 if first is None else first + 1,
        key=f"layer-{key}-{is_vector}",
        help="The layer whose output is changed. A feature is read and clamped only where its SAE "
        "reads; elsewhere its direction can be added or erased.",
    )
    place = options.index(chosen)
    return place - 1 if place else None


def _say(row: DraftRow, targets: Targets) -> None:
    """What the row does, in one line; or that it says nothing yet."""
    if row.feature is None and row.vector_id is None:
        st.caption("Choose a feature or a vector.")
        return
    name = targets.name_of(Target(row.feature, row.vector_id))
    said = describe(row, name)
    st.text(f"{said[0].upper()}{said[1:]}.")
