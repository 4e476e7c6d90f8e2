"""Training, validation and held-out runs, by group; held-out ones are named by a digest.

Invariant: no group is in two parts, and a held-out template is in no training or validation run.
The same runs, groups and labels give the same split.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.detection.arrays import BoolArray, IntArray
from engine.errors import RequestError

N_FOLDS = 20
"""Folds that the parts are made of: 9 for training, 3 for validation, 8 held out."""
_TEST_FOLDS = 8
_VALIDATION_FOLDS = 3
_LEAST_GROUPS = 3
_SEED = 7
_TEMPLATES_TO_HOLD_ONE_OUT = 4
_HELD_OUT_SHARE = 8
"""One template of so many is held out."""


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of a table's runs; a run whose template is held out is in none but `unseen`, or none.

    Attributes:
        train, validation, test: [n] each, no run in two of them.
        unseen: [n], runs of held-out groups with templates that no training run has; in `test` too.
        templates: those that are held out.
        split_hash: 16 hexadecimal digits of the held-out run keys.
    """

    train: BoolArray
    validation: BoolArray
    test: BoolArray
    unseen: BoolArray
    templates: tuple[str, ...]
    split_hash: str


def split_runs(
    run_keys: Sequence[str],
    groups: IntArray,
    y: BoolArray,
    strata: IntArray,
    templates: Sequence[str | None],
) -> Split:
    """Divides runs.

    Args:
        run_keys: [n].
        groups: [n], persons or prompt families; a group stays together.
        y: [n], whether the run is positive.
        strata: [n], what the parts should have equal shares of beside y, such as a slice.
        templates: [n], None where a run has none.

    Raises:
        RequestError: if there are too few groups, or one class only.
    """
    check_classes(y, groups)
    fold = grouped_folds(y, groups, strata, min(N_FOLDS, _n_folds(groups)))
    n_folds = int(fold.max()) + 1
    n_test = max(1, round(n_folds * _TEST_FOLDS / N_FOLDS))
    n_validation = max(1, round(n_folds * _VALIDATION_FOLDS / N_FOLDS))
    in_test = fold < n_test
    in_validation = ~in_test & (fold < n_test + n_validation)
    held_out = _held_out_templates(templates)
    is_new = np.array([template in held_out for template in templates], np.bool_)
    train = ~in_test & ~in_validation & ~is_new
    if y[train].all() or not y[train].any():
        raise RequestError(
            f"Of {len(y):,} judged answers, those left for training are all of one class.",
            "Add questions about other people or of other families.",
        )
    keys = sorted(key for key, inside in zip(run_keys, in_test, strict=True) if inside)
    return Split(
        train=train,
        validation=in_validation & ~is_new,
        test=in_test,
        unseen=in_test & is_new,
        templates=tuple(sorted(held_out)),
        split_hash=hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16],
    )


def check_classes(y: BoolArray, groups: IntArray) -> None:
    """Refuses labels that nothing can be learned from.

    Raises:
        RequestError: says what is missing.
    """
    if y.all() or not y.any():
        only = "wrong" if len(y) and y.all() else "right"
        raise RequestError(
            f"All {len(y):,} judged answers are {only}: there is nothing to tell apart."
            if len(y)
            else "No answer of these runs is judged right or wrong.",
            "Add questions of the other kind, or choose other outcomes.",
        )
    for label, name in ((True, "wrong"), (False, "right")):
        n_groups = len(np.unique(groups[y == label]))
        if n_groups < _LEAST_GROUPS:
            raise RequestError(
                f"Only {n_groups} groups have {name} answers; training needs {_LEAST_GROUPS}.",
                "Add questions about other people or of other families.",
            )


def grouped_folds(y: BoolArray, groups: IntArray, strata: IntArray, n_folds: int) -> IntArray:
    """Fold of each run, [n]: groups whole, classes and strata in about equal shares.

    Strata are not looked at where none has a run for each fold; there are fewer folds than asked
    for where neither class has so many runs.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = strata * 2 + y
    if np.unique(classes, return_counts=True)[1].max() < n_folds:
        classes = y.astype(np.int64)
    n_largest = int(np.unique(classes, return_counts=True)[1].max())
    n_splits = max(2, min(n_folds, n_largest))
    maker = StratifiedGroupKFold(n_splits=n_splits, shuffle=True, random_state=_SEED)
    fold = np.zeros(len(y), np.int64)
    with warnings.catch_warnings():
        # a stratum may have fewer runs than there are folds: it is shared out as far as it goes
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, (_, inside) in enumerate(maker.split(np.zeros(len(y)), classes, groups)):
            fold[inside] = number
    return fold


def _n_folds(groups: IntArray) -> int:
    return max(_LEAST_GROUPS, len(np.unique(groups)) // 2)


def _held_out_templates(templates: Sequence[str | None]) -> frozenset[str]:
    """Of enough templates, a few by the digest of their names: the same ones in every set."""
    known = sorted({template for template in templates if template is not None})
    if len(known) < _TEMPLATES_TO_HOLD_ONE_OUT:
        return frozenset()
    by_digest = sorted(known, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return frozenset(by_digest[: max(1, len(known) // _HELD_OUT_SHARE)])
