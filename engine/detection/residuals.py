"""Residuals for dense baselines: read where they were kept, else computed again in short batches.

Invariant: a position is computed once; a model that cannot be had leaves a sentence, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from engine.asking import Asker
from engine.detection.arrays import FloatArray
from engine.detection.models import POSITION_SITES, Site
from engine.detection.positions import ABSENT, RunPlaces
from engine.detection.table import Residuals
from engine.errors import EngineError
from store.captures import Capture, CaptureRepository

if TYPE_CHECKING:
    from engine.resident import ResidentSource

RUNS_AT_ONCE = 16
"""Runs a loan of the model: others wait for it meanwhile."""
_LEAST_SHARE = 0.5
"""A site that fewer of the runs have is left out."""


def read_residuals(
    asker: Asker,
    kept: CaptureRepository,
    source: str,
    run_keys: Sequence[str],
    token_ids: Sequence[tuple[int, ...]],
    places: Sequence[RunPlaces],
    tell: Callable[[int], None],
) -> Residuals:
    """Residuals at every site that is one token, and margins of the value and the first token.

    Args:
        asker: lends the model. kept: where captures are kept.
        source: name in the catalog.
        run_keys, token_ids, places: [n].
        tell: called with the number of runs that are ready; what it raises ends the work.
    """
    known = _by_place(kept.list_captures(run_keys))
    missing = [
        index
        for index, (key, place) in enumerate(zip(run_keys, places, strict=True))
        if any((key, position) not in known for position in place.captured())
    ]
    try:
        for start in range(0, len(missing), RUNS_AT_ONCE):
            tell(len(run_keys) - len(missing) + start)
            some = [
                (run_keys[index], token_ids[index], places[index].captured())
                for index in missing[start : start + RUNS_AT_ONCE]
            ]
            found = asker.lend(source, partial(_compute, some))
            kept.insert_captures(found)
            known |= _by_place(found)
    except EngineError as error:
        return Residuals({}, {}, f"The model could not be asked: {error.message}")
    return _arranged(known, run_keys, places)


def _compute(
    some: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]], resident: ResidentSource
) -> tuple[Capture, ...]:
    from engine.detection.capturing import Wanted, capture

    return capture(resident, [Wanted(*item) for item in some])


def _by_place(captures: Sequence[Capture]) -> dict[tuple[str, int], Capture]:
    return {(item.run_key, item.position): item for item in captures}


def _arranged(
    known: dict[tuple[str, int], Capture], run_keys: Sequence[str], places: Sequence[RunPlaces]
) -> Residuals:
    by_site: dict[Site, FloatArray] = {}
    for site in POSITION_SITES:
        at = [place.at(site) for place in places]
        there = [known.get((key, position)) for key, position in zip(run_keys, at, strict=True)]
        rows = [item.residual for item in there if item is not None]
        if len(rows) < max(1, _LEAST_SHARE * len(places)):
            continue
        mean = np.mean(rows, axis=0, dtype=np.float64)
        by_site[site] = np.array(
            [mean if item is None else item.residual for item in there], np.float64
        )
    margins = {
        "value": _margins(known, run_keys, [place.value_start for place in places]),
        "first": _margins(known, run_keys, [place.n_prompt for place in places]),
    }
    return Residuals(by_site, margins)


def _margins(
    known: dict[tuple[str, int], Capture], run_keys: Sequence[str], at: Sequence[int]
) -> FloatArray:
    found = []
    for key, position in zip(run_keys, at, strict=True):
        item = known.get((key, position)) if position != ABSENT else None
        found.append(np.nan if item is None or item.margin is None else item.margin)
    return np.array(found, np.float64)
