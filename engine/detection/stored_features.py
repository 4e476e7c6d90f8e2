"""Stored activations of many runs as sparse matrices: one row a run and site, one row a token.

Invariant: read a few hundred runs at a time, so that memory holds what detectors need and not all
that is stored; a row is zero where the run has no such token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from engine.detection.arrays import FloatArray, IntArray
from engine.detection.models import POSITION_SITES, Site
from engine.detection.positions import RunPlaces
from engine.detection.table import TokenRows
from store.run_columns import ActivationsOfRuns, RunColumnRepository

RUNS_AT_ONCE = 200
MOST_TOKEN_VALUES = 2**24
"""Activations of generated tokens that are kept for the token probe; beyond, it is left out."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Entries of a sparse matrix."""

    row: IntArray
    feature: IntArray
    value: FloatArray


def read_features(
    columns: RunColumnRepository,
    run_keys: Sequence[str],
    places: Sequence[RunPlaces],
    sites: Sequence[Site],
    d_sae: int,
    tell: Callable[[int], None],
) -> tuple[dict[Site, sp.csr_array], TokenRows]:
    """Features of runs at sites, and of their generated tokens.

    Args:
        columns: where they are stored.
        run_keys: [n]. places: [n].
        sites: those wanted. d_sae: number of features.
        tell: called with the number of runs read; what it raises ends the reading.
    """
    parts: dict[Site, list[_Columns]] = {site: [] for site in sites}
    token_parts: list[_Columns] = []
    n_generated = np.array([place.n_tokens - place.n_prompt for place in places], np.int64)
    first_row = np.r_[0, np.cumsum(n_generated)]
    n_token_values = 0
    for start in range(0, len(run_keys), RUNS_AT_ONCE):
        tell(start)
        some = list(places[start : start + RUNS_AT_ONCE])
        found = columns.get_activations(run_keys[start : start + RUNS_AT_ONCE])
        n_prompt = np.array([place.n_prompt for place in some], np.int64)
        is_generated = found.position >= n_prompt[found.run]
        for site in sites:
            parts[site].append(_at_site(found, some, site, is_generated, start))
        n_token_values += int(is_generated.sum())
        if n_token_values <= MOST_TOKEN_VALUES:
            run = found.run[is_generated].astype(np.int64)
            row = first_row[run + start] + found.position[is_generated] - n_prompt[run]
            token_parts.append(_columns(row, found, is_generated))
    features = {site: _matrix(items, len(run_keys), d_sae) for site, items in parts.items()}
    if n_token_values > MOST_TOKEN_VALUES:
        nothing = np.empty(0, np.int64)
        return features, TokenRows(sp.csr_array((0, d_sae)), nothing, nothing)
    run_of_row = np.repeat(np.arange(len(run_keys)), n_generated)
    within = np.arange(len(run_of_row)) - first_row[run_of_row]
    position = within + np.array([place.n_prompt for place in places], np.int64)[run_of_row]
    return features, TokenRows(_matrix(token_parts, len(run_of_row), d_sae), run_of_row, position)


def _at_site(
    found: ActivationsOfRuns,
    places: Sequence[RunPlaces],
    site: Site,
    is_generated: np.ndarray[tuple[int], np.dtype[np.bool_]],
    first_run: int,
) -> _Columns:
    if site in POSITION_SITES:
        wanted = np.array([place.at(site) for place in places], np.int64)
        inside = found.position == wanted[found.run]
        return _columns(found.run[inside].astype(np.int64) + first_run, found, inside)
    inside = is_generated if site == "generated_max" else np.ones(len(found.run), np.bool_)
    return _largest(_columns(found.run[inside].astype(np.int64) + first_run, found, inside))


def _columns(
    row: IntArray, found: ActivationsOfRuns, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> _Columns:
    return _Columns(
        row, found.feature[inside].astype(np.int64), found.value[inside].astype(np.float64)
    )


def _largest(entries: _Columns) -> _Columns:
    """One entry a row and feature: the largest."""
    if not len(entries.row):
        return entries
    order = np.lexsort((entries.feature, entries.row))
    row, feature = entries.row[order], entries.feature[order]
    starts = np.flatnonzero(np.r_[True, (row[1:] != row[:-1]) | (feature[1:] != feature[:-1])])
    largest = np.maximum.reduceat(entries.value[order], starts)
    return _Columns(row[starts], feature[starts], largest)


def _matrix(parts: Sequence[_Columns], n_rows: int, d_sae: int) -> sp.csr_array:
    if not parts:
        return sp.csr_array((n_rows, d_sae))
    value = np.concatenate([part.value for part in parts])
    row = np.concatenate([part.row for part in parts])
    feature = np.concatenate([part.feature for part in parts])
    return sp.csr_array((value, (row, feature)), shape=(n_rows, d_sae))


def read_site(
    found: ActivationsOfRuns, place: RunPlaces, site: Site
) -> Mapping[int, tuple[float, int]]:
    """Of one run: by feature, its value at a site and the position that has it."""
    if site in POSITION_SITES:
        inside = found.position == place.at(site)
    elif site == "generated_max":
        inside = found.position >= place.n_prompt
    else:
        inside = np.ones(len(found.position), np.bool_)
    order = np.argsort(found.value[inside], kind="stable")
    return {
        int(feature): (float(value), int(position))
        for feature, value, position in zip(
            found.feature[inside][order],
            found.value[inside][order],
            found.position[inside][order],
            strict=True,
        )
    }
