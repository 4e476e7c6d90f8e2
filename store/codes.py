"""Activations as integers: the bits of a float32 in two halves, and which sources keep both.

Invariant: positive floats order as their bits do. Values of a source computed in bfloat16 are
rounded to bfloat16 (to nearest, ties to even), all others are kept bit for bit; a value above zero
stays above zero and finite.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from store.records import FloatColumn

BitColumn = npt.NDArray[np.uint32]
HalfColumn = npt.NDArray[np.uint16]

_HALF = 16
_LEAST = np.uint32(1 << _HALF)
"""The smallest bfloat16 above zero."""
_MOST = np.uint32(0x7F7F << _HALF)
"""The largest finite bfloat16."""


def is_rounded(dtype: str) -> bool:
    """Whether values of a model computed in this dtype are kept as bfloat16."""
    return dtype == "bfloat16"


def to_bits(value: FloatColumn, dtype: str) -> BitColumn:
    """The bits to store of finite float32 values above zero.

    Args:
        value: float32, contiguous.
        dtype: that the model computed with.
    """
    bits = np.ascontiguousarray(value).view(np.uint32)
    if not is_rounded(dtype):
        return bits
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> _HALF) & 1))) & np.uint32(0xFFFF0000)
    return np.clip(rounded, _LEAST, _MOST)


def split_bits(bits: BitColumn) -> tuple[HalfColumn, HalfColumn]:
    """The columns `code` (upper half) and `rest` (lower half)."""
    return (bits >> _HALF).astype(np.uint16), bits.astype(np.uint16)


def join_bits(code: HalfColumn, rest: HalfColumn) -> BitColumn:
    """The inverse of split_bits."""
    return (code.astype(np.uint32) << _HALF) | rest


def to_values(bits: BitColumn) -> FloatColumn:
    """The float32 values."""
    return bits.view(np.float32)
