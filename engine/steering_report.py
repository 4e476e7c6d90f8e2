"""What the interventions of a run achieved, from what its session saw: before and after.

Invariant: what is reported of a feature after steering is what the run's activations say; features
are encoded once more only as they were before, and only on steered tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from engine.readings import Reading, to_record
from engine.sae import SparseCode
from engine.steering_session import Note, SteeringSession
from store.interventions import Intervention
from store.steering_records import RunIntervention

Doubles = npt.NDArray[np.float64]


def to_readings(
    session: SteeringSession, code: SparseCode, first_position: int, shared: Sequence[Reading]
) -> tuple[Reading, ...]:
    """One reading an intervention.

    Args:
        session: of the run, noted.
        code: of the run's own rows, after steering.
        first_position: of row 0 of the code.
        shared: readings of the beginning that another run computed; empty if there is none.
    """
    ready = session.ready
    own = []
    for number, item in enumerate(ready.spec.interventions):
        notes = session.notes(number)
        position = _positions(notes)
        column = ready.measured_columns.get(number)
        length = 1.0 if column is not None else ready.report_lengths[number]
        if not len(position):
            before = after = np.empty(0)
        elif column is not None and ready.measured is not None and item.feature is not None:
            rows = torch.cat([_rows(note.before, note) for note in notes])
            before = ready.measured.read(rows)[:, column].cpu().double().numpy()
            after = _column(code, item.feature)[position - first_position]
        else:
            unit = ready.report_units[number]
            before = _project([_rows(note.before, note) for note in notes], unit)
            after = _project([_rows(note.after, note) for note in notes], unit)
        own.append(Reading(position, before, after, _requested(item, before, length)))
    if not shared:
        return tuple(own)
    return tuple(begun.followed_by(rest) for begun, rest in zip(shared, own, strict=True))


def to_records(
    session: SteeringSession, readings: Sequence[Reading]
) -> tuple[RunIntervention, ...]:
    """What is stored with the run."""
    ready = session.ready
    return tuple(
        to_record(
            number,
            item,
            ready.report_layers[number],
            "activation" if number in ready.measured_columns else "projection",
            readings[number],
        )
        for number, item in enumerate(ready.spec.interventions)
    )


def _requested(item: Intervention, before: Doubles, length: float) -> Doubles:
    """What the intervention asks for on each token.

    Args:
        item: the intervention.
        before: what was there.
        length: of the direction, where it is a projection that is read.
    """
    raw = item.raw_strength or 0.0
    if item.kind == "add":
        return before + raw * length
    if item.kind == "scale":
        return before * raw
    return np.full_like(before, raw if item.kind == "clamp" else 0.0)


def _positions(notes: Sequence[Note]) -> npt.NDArray[np.int64]:
    pieces = []
    for note in notes:
        places = torch.arange(note.before.shape[0])
        kept = places if note.where is None else places[note.where.cpu()]
        pieces.append(kept.numpy() + note.first)
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def _rows(hidden: torch.Tensor, note: Note) -> torch.Tensor:
    return hidden if note.where is None else hidden[note.where]


def _project(parts: Sequence[torch.Tensor], unit: torch.Tensor) -> Doubles:
    rows = torch.cat(list(parts)).float()
    return (rows @ unit.to(rows.device)).cpu().double().numpy()


def _column(code: SparseCode, feature: int) -> Doubles:
    """One feature on every row of a sparse code."""
    values = np.zeros(code.n_rows)
    chosen = code.feature == feature
    values[code.row[chosen].numpy()] = code.value[chosen].double().numpy()
    return values
