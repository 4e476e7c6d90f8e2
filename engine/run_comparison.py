"""Two runs side by side: which tokens they share, where they part, which features differ.

Invariant: pure. Tokens are aligned by their ids; features are compared only between runs of one
source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np

from store.records import Activations

BlockKind = Literal["equal", "replace", "delete", "insert"]

_MOST_PAIRS = 4_000_000
"""Pairs of tokens that are aligned one by one; longer stretches are told as replaced."""


@dataclass(frozen=True, slots=True)
class AlignedBlock:
    """A stretch of run A beside one of run B, ends excluded; an insertion has none of A."""

    kind: BlockKind
    a_start: int
    a_stop: int
    b_start: int
    b_stop: int


@dataclass(frozen=True, slots=True)
class FeatureDifference:
    """A feature that fires more strongly in one of two runs.

    Attributes:
        max_a, max_b: its largest value in each; 0 where it is silent.
        difference: A minus B.
        position_a, position_b: where; None where it is silent.
        label: the current one, where there is one.
    """

    feature: int
    max_a: float
    max_b: float
    difference: float
    position_a: int | None
    position_b: int | None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs compared.

    Attributes:
        parts_at: first position at which they differ, the same in both; None for equal tokens.
        features: those that differ, the most first; empty for runs of two sources.
        n_features: how many differ in all.
        note: one sentence where something could not be compared, else empty.
    """

    run_key_a: str
    run_key_b: str
    blocks: tuple[AlignedBlock, ...]
    parts_at: int | None
    features: tuple[FeatureDifference, ...]
    n_features: int
    note: str = ""


def align(ids_a: Sequence[int], ids_b: Sequence[int]) -> tuple[AlignedBlock, ...]:
    """Stretches of two token sequences, equal ones beside each other, in order and without gaps."""
    start = _shared(ids_a, ids_b)
    end = _shared(ids_a[start:][::-1], ids_b[start:][::-1])
    middle_a, middle_b = ids_a[start : len(ids_a) - end], ids_b[start : len(ids_b) - end]
    blocks = [AlignedBlock("equal", 0, start, 0, start)] if start else []
    blocks += [
        AlignedBlock(kind, a + start, a_stop + start, b + start, b_stop + start)
        for kind, a, a_stop, b, b_stop in _opcodes(middle_a, middle_b)
    ]
    if end:
        a, b = len(ids_a), len(ids_b)
        blocks.append(AlignedBlock("equal", a - end, a, b - end, b))
    return tuple(blocks)


def find_parting(blocks: Sequence[AlignedBlock]) -> int | None:
    """The first position at which two runs differ; None if they do not."""
    return next((block.a_start for block in blocks if block.kind != "equal"), None)


def rank_differences(
    a: Activations, b: Activations, limit: int
) -> tuple[tuple[FeatureDifference, ...], int]:
    """Features by how much their largest values differ, and how many differ at all.

    Args:
        a, b: activations of the two runs, of one source.
        limit: most features returned.
    """
    best_a, best_b = _maxima(a), _maxima(b)
    found = [
        FeatureDifference(
            feature=feature,
            max_a=(in_a := best_a.get(feature, (0.0, None)))[0],
            max_b=(in_b := best_b.get(feature, (0.0, None)))[0],
            difference=in_a[0] - in_b[0],
            position_a=in_a[1],
            position_b=in_b[1],
        )
        for feature in best_a.keys() | best_b.keys()
    ]
    differing = [item for item in found if item.difference != 0.0]
    differing.sort(key=lambda item: (-abs(item.difference), item.feature))
    return tuple(differing[: max(limit, 0)]), len(differing)


def _maxima(activations: Activations) -> dict[int, tuple[float, int | None]]:
    """By feature its largest value and the first position that has it."""
    order = np.lexsort((activations.position, -activations.value, activations.feature))
    features = activations.feature[order]
    first = np.ones(len(features), bool)
    first[1:] = features[1:] != features[:-1]
    chosen = order[first]
    columns = (activations.feature, activations.value, activations.position)
    return {
        feature: (value, position)
        for feature, value, position in zip(
            *(column[chosen].tolist() for column in columns), strict=True
        )
    }


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def _opcodes(
    first: Sequence[int], second: Sequence[int]
) -> list[tuple[BlockKind, int, int, int, int]]:
    if not first and not second:
        return []
    if len(first) * len(second) > _MOST_PAIRS:
        return [("replace", 0, len(first), 0, len(second))]
    return list(SequenceMatcher(None, first, second, autojunk=False).get_opcodes())
