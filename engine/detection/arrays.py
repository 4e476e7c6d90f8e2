"""Types of the arrays that detection works on; all of numpy, none of torch.

Invariant: one row is one run, in the order of its table, wherever nothing else is said.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
