"""Sorting by a small integer in linear time: the transposition of a sparse matrix.

Invariant: the sort is stable. Features and positions are small integers, so that counting them
takes a fifth of the time of comparing them.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

_WORD = np.uint64(32)

Payload = TypeVar("Payload", bound=np.generic)
IndexColumn = npt.NDArray[np.int32]


class Transposed(NamedTuple, Generic[Payload]):
    """Cells ordered by (column, row).

    Attributes:
        starts: int32, one more than there are columns; cells of column c are starts[c]:starts[c+1].
        row: int32, of each cell.
        payload: of each cell.
    """

    starts: IndexColumn
    row: IndexColumn
    payload: npt.NDArray[Payload]


def transpose(
    row_starts: IndexColumn,
    column: IndexColumn,
    payload: npt.NDArray[Payload],
    n_columns: int,
) -> Transposed[Payload]:
    """Orders cells, given in the order of their rows, by column.

    Args:
        row_starts: int32, one more than there are rows; cells of row r are row_starts[r]:[r + 1].
        column: int32, in [0, n_columns), of each cell.
        payload: one number a cell, carried along.
        n_columns: how many columns there are.
    """
    cells = csr_array((payload, column, row_starts), shape=(len(row_starts) - 1, n_columns))
    ordered = cells.tocsc()
    return Transposed(ordered.indptr, ordered.indices, ordered.data)


def stable_order(key: IndexColumn, n_keys: int) -> IndexColumn:
    """The permutation that sorts keys in [0, n_keys), equal ones in the order they have."""
    starts = np.arange(len(key) + 1, dtype=np.int32)
    return transpose(starts, key, np.zeros(len(key), np.int8), n_keys).row


def expand(starts: IndexColumn) -> IndexColumn:
    """The column of every cell: 0 as often as column 0 has cells, then 1, ..."""
    return np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts))


def pack(high: IndexColumn, low: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Two columns as one, to be carried along together; high is not negative."""
    packed = high.astype(np.uint64)
    packed <<= _WORD
    packed |= low
    return packed


def unpack(packed: npt.NDArray[np.uint64]) -> tuple[IndexColumn, npt.NDArray[np.uint32]]:
    """The two columns again."""
    return (packed >> _WORD).astype(np.int32), packed.astype(np.uint32)
