"""Splits keep groups whole and templates unseen, and are named by what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from engine.detection.splits import split_runs
from engine.errors import RequestError
from tests.engine.detection.synthetic import make_table


def test_no_group_is_in_two_parts_and_classes_are_shared_out() -> None:
    table = make_table()
    split = split_runs(table.run_keys, table.groups, table.y, table.strata(), table.templates)
    parts = [split.train, split.validation, split.test]
    for one in range(3):
        for other in range(one):
            assert not set(table.groups[parts[one]]) & set(table.groups[parts[other]])
    assert split.test.mean() == pytest.approx(0.4, abs=0.03)
    for part in parts:
        assert table.y[part].mean() == pytest.approx(0.5, abs=0.1)


def test_a_held_out_template_is_in_no_training_or_validation_run() -> None:
    table = make_table()
    split = split_runs(table.run_keys, table.groups, table.y, table.strata(), table.templates)
    assert len(split.templates) == 1
    is_new = np.array([template in split.templates for template in table.templates])
    assert not (is_new & (split.train | split.validation)).any()
    assert (split.unseen == (is_new & split.test)).all()
    assert split.unseen.any()


def test_the_hash_is_of_the_held_out_runs_and_of_nothing_else() -> None:
    table = make_table()
    again = split_runs(table.run_keys, table.groups, table.y, table.strata(), table.templates)
    other = make_table(n_groups=202)
    moved = split_runs(other.run_keys, other.groups, other.y, other.strata(), other.templates)
    first = split_runs(table.run_keys, table.groups, table.y, table.strata(), table.templates)
    assert first.split_hash == again.split_hash
    assert first.split_hash != moved.split_hash


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        ([], [], "No answer"),
        ([True] * 6, list(range(6)), "All 6 judged answers are wrong"),
        ([True, True, False, False, False], [0, 0, 1, 2, 3], "Only 1 groups have wrong answers"),
    ],
)
def test_labels_that_nothing_can_be_learned_from_are_refused(
    y: list[bool], groups: list[int], message: str
) -> None:
    n = len(y)
    with pytest.raises(RequestError, match=message) as refused:
        split_runs(
            [f"{index:064x}" for index in range(n)],
            np.array(groups, np.int64),
            np.array(y, np.bool_),
            np.zeros(n, np.int64),
            [None] * n,
        )
    assert refused.value.hint


def test_a_handful_of_runs_in_many_slices_is_divided_as_far_as_it_goes() -> None:
    n = 12
    split = split_runs(
        [f"{index:064x}" for index in range(n)],
        np.arange(n),
        np.arange(n) % 2 == 0,
        np.arange(n) % 6,
        [None] * n,
    )
    assert split.train.any()
    assert split.test.any()
    assert not (split.train & split.test).any()
