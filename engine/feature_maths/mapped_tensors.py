"""Tensors of safetensors files as mapped memory, read in float32 a block of rows at a time.

Invariant: no torch, and never more than the rows asked for in memory: what a page needs of files of
gigabytes is read where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import UnsupportedError
from engine.file_names import shown_name
from engine.safetensors_header import TensorEntry, read_header

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_BLOCK_ELEMENTS = 8 * 1024 * 1024
_STORED: Mapping[str, type[np.generic]] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
}


class MappedMatrix:
    """A matrix in a file, [n_rows, n_columns] as it is looked at.

    Args:
        path: of the safetensors file.
        name: of the tensor.
        entry: as the file's header describes it.
        is_transposed: whether the file holds the other axis first.

    Raises:
        UnsupportedError: if it is no matrix, or of a type that is not read here (8 bits).
    """

    def __init__(
        self, path: Path, name: str, entry: TensorEntry, is_transposed: bool = False
    ) -> None:
        if entry.dtype not in _STORED or len(entry.shape) != 2:
            raise UnsupportedError(
                f"The tensor {name} of {shown_name(path.parent)!r} is {entry.dtype} "
                f"of shape {entry.shape}.",
                "Logit lens and neighbours read matrices of 16, 32 or 64 bits.",
            )
        self._is_bfloat16 = entry.dtype == "BF16"
        stored = np.memmap(
            path, _STORED[entry.dtype], mode="r", offset=entry.first_byte, shape=entry.shape
        )
        self._rows: npt.NDArray[np.generic] = stored.T if is_transposed else stored

    @property
    def n_rows(self) -> int:
        """Rows, such as features or tokens of the vocabulary."""
        return int(self._rows.shape[0])

    @property
    def n_columns(self) -> int:
        """Columns, such as the width of the model."""
        return int(self._rows.shape[1])

    @property
    def size(self) -> int:
        """Elements."""
        return self.n_rows * self.n_columns

    def row(self, index: int) -> Floats:
        """One row, [n_columns]."""
        return self._to_floats(self._rows[index])

    def gather(self, indices: Indices) -> Floats:
        """Some rows, [len(indices), n_columns]."""
        return self._to_floats(self._rows[indices])

    def iter_blocks(self) -> Iterator[tuple[int, Floats]]:
        """All rows in order: the first row's number and [up to 8 million elements, n_columns]."""
        step = max(1, _BLOCK_ELEMENTS // max(1, self.n_columns))
        for start in range(0, self.n_rows, step):
            yield start, self._to_floats(self._rows[start : start + step])

    def _to_floats(self, stored: npt.NDArray[np.generic]) -> Floats:
        if not self._is_bfloat16:
            return np.asarray(stored, np.float32)
        # bfloat16 is the upper half of a float32, a type that numpy does not have
        return (np.asarray(stored).astype(np.uint32) << 16).view(np.float32)


def read_vector(path: Path, name: str, entry: TensorEntry) -> Floats:
    """A vector of a file, whole.

    Raises:
        UnsupportedError: if it is no vector, or of a type that is not read here.
    """
    as_row = TensorEntry(entry.dtype, (1, *entry.shape), entry.stored_bytes, entry.first_byte)
    return MappedMatrix(path, name, as_row).row(0)


def find_tensors(paths: tuple[Path, ...]) -> dict[str, tuple[Path, TensorEntry]]:
    """Where each tensor of a checkpoint is, by name.

    Raises:
        WeightsMissingError: if a file is broken or cut short.
    """
    return {name: (path, entry) for path in paths for name, entry in read_header(path).items()}
