"""Agreement of two ways of judging, beyond what chance would give.

Invariant: below MIN_ITEMS answers that both have judged there is no kappa, only how many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIN_ITEMS = 100
"""Answers judged by both from which on a kappa says anything."""

_SIDE_OF = {"made_up": "false", "wrong": "false", "honest": "true", "abstained": "abstained"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two methods agree.

    Attributes:
        n: answers that both could judge.
        n_equal: of them, those of which both say the same: false, true, or abstained.
        kappa: Cohen's, -1 to 1; None below MIN_ITEMS, or where all answers are of one kind.
        pairs: how often the one said this and the other that.
    """

    left: str
    right: str
    n: int
    n_equal: int
    kappa: float | None
    pairs: Mapping[tuple[str, str], int]

    @property
    def is_enough(self) -> bool:
        """Whether there are enough answers for a kappa."""
        return self.n >= MIN_ITEMS


def measure_agreement(left: str, right: str, meanings: Sequence[tuple[str, str]]) -> Agreement:
    """Compares meanings of the same answers.

    What is made up and what is wrong are one kind here: both are false.

    Args:
        left: name of the one method. right: of the other one.
        meanings: of each answer, what the one says and what the other says.
    """
    pairs = Counter(
        (_SIDE_OF[one], _SIDE_OF[other])
        for one, other in meanings
        if one in _SIDE_OF and other in _SIDE_OF
    )
    n = sum(pairs.values())
    n_equal = sum(count for (one, other), count in pairs.items() if one == other)
    return Agreement(left, right, n, n_equal, _kappa(pairs) if n >= MIN_ITEMS else None, pairs)


def _kappa(pairs: Counter[tuple[str, str]]) -> float | None:
    """Cohen's kappa, from counts: a page shows it, so scikit-learn is not imported for it.

    Source: J. Cohen, A coefficient of agreement for nominal scales (1960).
    """
    n = sum(pairs.values())
    lefts: Counter[str] = Counter()
    rights: Counter[str] = Counter()
    for (left, right), count in pairs.items():
        lefts[left] += count
        rights[right] += count
    by_chance = sum(lefts[side] * rights[side] for side in lefts) / n**2
    if by_chance >= 1:
        return None
    observed = sum(count for (left, right), count in pairs.items() if left == right) / n
    return (observed - by_chance) / (1 - by_chance)
