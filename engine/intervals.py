"""Intervals of rates and of differences of rates, for many features at once.

Invariant: pure, vectorised, and defined for 0 of n and n of n. 95% unless said otherwise.

Source: Newcombe 1998, "Interval estimation for the difference between independent proportions",
method 10; Wilson 1927.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

Z_95 = 1.959963984540054


def wilson_interval(
    hits: npt.ArrayLike, n_all: npt.ArrayLike, z: float = Z_95
) -> tuple[Doubles, Doubles]:
    """Lower and upper end of a rate, hits of n_all; n_all above zero."""
    k, n = np.asarray(hits, np.float64), np.asarray(n_all, np.float64)
    rate = k / n
    centre = rate + z * z / (2 * n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # the ends are exact where nothing, or everything, hits
    low = np.where(k == 0, 0.0, np.maximum((centre - half) / scale, 0.0))
    high = np.where(k == n, 1.0, np.minimum((centre + half) / scale, 1.0))
    return low, high


def difference_interval(
    hits_a: npt.ArrayLike, n_a: npt.ArrayLike, hits_b: npt.ArrayLike, n_b: npt.ArrayLike
) -> tuple[Doubles, Doubles]:
    """Lower and upper end of rate A minus rate B, of two independent samples."""
    rate_a = np.asarray(hits_a, np.float64) / np.asarray(n_a, np.float64)
    rate_b = np.asarray(hits_b, np.float64) / np.asarray(n_b, np.float64)
    low_a, high_a = wilson_interval(hits_a, n_a)
    low_b, high_b = wilson_interval(hits_b, n_b)
    difference = rate_a - rate_b
    low = difference - np.sqrt((rate_a - low_a) ** 2 + (high_b - rate_b) ** 2)
    high = difference + np.sqrt((high_a - rate_a) ** 2 + (rate_b - low_b) ** 2)
    return low, high
