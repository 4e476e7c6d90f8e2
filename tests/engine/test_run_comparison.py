"""Token sequences side by side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import run_comparison
from engine.run_comparison import align, find_parting

IDS = st.lists(st.integers(0, 4), max_size=30)


@given(IDS, IDS)
def test_blocks_cover_both_runs_in_order_and_equal_ones_are_equal(
    a: list[int], b: list[int]
) -> None:
    blocks = align(a, b)
    at_a = at_b = 0
    for block in blocks:
        assert (block.a_start, block.b_start) == (at_a, at_b)
        at_a, at_b = block.a_stop, block.b_stop
        if block.kind == "equal":
            assert a[block.a_start : at_a] == b[block.b_start : at_b]
    assert (at_a, at_b) == (len(a), len(b))
    parting = find_parting(blocks)
    shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if shared is None and len(a) != len(b):
        shared = min(len(a), len(b))
    assert parting == shared


def test_what_is_put_in_or_left_out_stays_beside_its_place() -> None:
    kinds = [block.kind for block in align([1, 2, 3, 4, 5], [1, 2, 9, 3, 5])]
    assert kinds == ["equal", "insert", "equal", "delete", "equal"]


def test_long_stretches_are_not_aligned_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_comparison, "_MOST_PAIRS", 3)
    kinds = [block.kind for block in align([1, 2, 3, 7], [1, 3, 2, 7])]
    assert kinds == ["equal", "replace", "equal"]
