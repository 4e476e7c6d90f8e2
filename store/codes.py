"""Activations as integers that order as they do: codes, and which sources are rounded to 16 bits.

Invariant: a code is the bits of a float32, which order as positive floats do. Values of a source
computed in bfloat16 are rounded to bfloat16 (to nearest, ties to even) and keep the upper 16 bits;
all others are kept bit for bit. A value above zero stays above zero and finite.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from store.records import FloatColumn

CodeColumn = npt.NDArray[np.uint32]

_LEAST = np.uint32(1 << 16)
"""The smallest bfloat16 above zero."""
_MOST = np.uint32(0x7F7F << 16)
"""The largest finite bfloat16."""
_ROUNDED_SHIFT = 16


def code_shift(dtype: str) -> int:
    """How many low bits of a float32 a code leaves out, for a model computed in this dtype."""
    return _ROUNDED_SHIFT if dtype == "bfloat16" else 0


def to_codes(value: FloatColumn, shift: int) -> CodeColumn:
    """The codes of finite float32 values above zero."""
    bits = np.ascontiguousarray(value).view(np.uint32)
    if not shift:
        return bits
    code: CodeColumn = bits >> np.uint32(_ROUNDED_SHIFT)
    code &= np.uint32(1)
    code += np.uint32(0x7FFF)
    code += bits
    np.clip(code, _LEAST, _MOST, out=code)
    code >>= np.uint32(shift)
    return code


def to_values(code: CodeColumn, shift: int) -> FloatColumn:
    """The float32 values of codes."""
    return (code << np.uint32(shift)).view(np.float32)
