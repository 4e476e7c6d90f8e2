"""What merging is made of: which segments, in which order, and as which codes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.codes import to_codes, to_values
from store.merging import choose
from store.ordering import expand, stable_order, transpose
from store.segments import Segment


def test_what_to_merge_is_of_one_source_and_class() -> None:
    sizes = [2**20 - 1, 2**20, 2**22, 2**26, 2**20 - 1]
    mixed = [Segment(number, number % 2, size) for number, size in enumerate(sizes * 8)]
    chosen = choose(mixed)
    assert len({segment.source_no for segment in chosen}) == 1
    assert all(segment.n_activations < 2**20 for segment in chosen)
    eight = [Segment(number, 1, 6_400_000) for number in range(8)]
    assert choose(eight) == tuple(eight)
    assert choose(eight[:7]) == ()
    assert choose([Segment(number, 1, 51_000_000) for number in range(8)]) == ()


def test_segments_stay_few_however_much_is_stored() -> None:
    segments: list[Segment] = []
    for number in range(1000):
        segments.append(Segment(number, 1, 6_400_000))
        while chosen := choose(segments):
            total = sum(segment.n_activations for segment in chosen)
            kept = [segment for segment in segments if segment not in chosen]
            segments = [*kept, Segment(10_000 + number, 1, total)]
    assert sum(segment.n_activations for segment in segments) == 6_400_000_000
    assert len(segments) <= 6_400 // 51 + 16


@given(st.lists(st.integers(0, 9), max_size=60))
def test_sorting_by_small_integers_is_sorting_and_stable(keys: list[int]) -> None:
    column = np.array(keys, np.int32)
    np.testing.assert_array_equal(stable_order(column, 10), np.argsort(column, kind="stable"))
    starts = np.arange(len(keys) + 1, dtype=np.int32)
    cells = transpose(starts, column, column * 7, 10)
    np.testing.assert_array_equal(expand(cells.starts), np.sort(column))
    np.testing.assert_array_equal(cells.payload, np.sort(column) * 7)


@given(st.lists(st.floats(2.0**-149, 2.0**127, width=32), min_size=1))
def test_codes_order_as_values_do_and_keep_what_they_promise(values: list[float]) -> None:
    value = np.array(values, np.float32)
    np.testing.assert_array_equal(to_values(to_codes(value, 0), 0), value)
    rounded = to_values(to_codes(value, 16), 16)
    assert np.all((rounded > 0) & np.isfinite(rounded))
    np.testing.assert_array_equal(to_values(to_codes(rounded, 16), 16), rounded)
    normal = value > 2.0**-120
    assert np.all(np.abs(rounded[normal] / value[normal] - 1) <= 2.0**-8)
    order = np.argsort(value, kind="stable")
    assert np.all(np.diff(to_codes(value, 16)[order].astype(np.int64)) >= 0)
