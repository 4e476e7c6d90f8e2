"""A stored run with its activations, indexed for what pages ask of it. Pure.

Invariant: nothing here fetches; rankings and shadings are computed from the run's own columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from store.records import Activations, IntColumn, Run, Token

AnyColumn = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TokenFeature:
    """A feature that is active on one token.

    Attributes:
        share: of the sum of all stored activations of this token, 0 to 1.
        of_max: of the feature's largest value in this run, 0 to 1.
        n_tokens: tokens of this run on which the feature is active.
    """

    feature: int
    value: float
    share: float
    of_max: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class RunFeature:
    """One feature over one run, for the table of the whole run.

    Attributes:
        max_value: its largest activation; max_position: the first token that has it.
        n_tokens: tokens on which it fired; sum_value: of its activations.
    """

    feature: int
    max_value: float
    max_position: int
    n_tokens: int
    sum_value: float


@dataclass(frozen=True, slots=True)
class RunRanking:
    """Features of a run by falling maximum.

    Attributes:
        n_features: that are active, also where fewer are listed.
    """

    n_features: int
    listed: tuple[RunFeature, ...]


@dataclass(frozen=True)
class RunView:
    """A run, its tokens and its activations ordered by (position, feature).

    Rankings are computed once and kept with it.
    """

    run: Run
    tokens: tuple[Token, ...]
    activations: Activations

    def has_position(self, position: int) -> bool:
        """Whether the run has a token at this position."""
        return 0 <= position < len(self.tokens)

    def token_features(self, position: int) -> tuple[TokenFeature, ...]:
        """All features stored of one token, strongest first."""
        all_features, all_values = self.activations.feature, self.activations.value
        first, last = np.searchsorted(self.activations.position, [position, position + 1])
        # within a position, activations are ordered by feature
        features, values = all_features[first:last], all_values[first:last]
        total = float(values.sum())
        elsewhere = np.flatnonzero(np.isin(all_features, features))
        which = np.searchsorted(features, all_features[elsewhere])
        counts = np.bincount(which, minlength=features.size)
        largest = np.zeros(features.size, np.float32)
        np.maximum.at(largest, which, all_values[elsewhere])
        return tuple(
            TokenFeature(
                feature=int(features[i]),
                value=float(values[i]),
                share=float(values[i]) / total,
                of_max=float(values[i] / largest[i]),
                n_tokens=int(counts[i]),
            )
            for i in np.argsort(-values, kind="stable")
        )

    def run_features(self, limit: int, generated_only: bool = False) -> RunRanking:
        """Features of the run by falling maximum.

        Args:
            limit: most features returned.
            generated_only: whether only tokens that the model generated count.
        """
        columns = self._ranking_of_generated if generated_only else self._ranking_of_all
        listed = tuple(
            RunFeature(*row)
            for row in zip(*(column[:limit].tolist() for column in columns), strict=True)
        )
        return RunRanking(int(columns[0].size), listed)

    @cached_property
    def _ranking_of_all(self) -> tuple[AnyColumn, ...]:
        return self._rank(0)

    @cached_property
    def _ranking_of_generated(self) -> tuple[AnyColumn, ...]:
        first = self.first_generated()
        return self._rank(len(self.tokens) if first is None else first)

    def _rank(self, first_position: int) -> tuple[AnyColumn, ...]:
        """Columns of RunFeature from a position on, by falling maximum."""
        start = int(np.searchsorted(self.activations.position, first_position))
        feature = self.activations.feature[start:]
        value = self.activations.value[start:]
        position = self.activations.position[start:]
        order = np.lexsort((-value, feature))
        feature, value, position = feature[order], value[order], position[order]
        firsts = np.flatnonzero(np.diff(feature, prepend=-1))
        counts = np.diff(firsts, append=feature.size)
        sums = np.add.reduceat(value, firsts) if firsts.size else value
        ranked = np.argsort(-value[firsts], kind="stable")
        best = firsts[ranked]
        return feature[best], value[best], position[best], counts[ranked], sums[ranked]

    def feature_values(self, feature: int) -> dict[int, float]:
        """Position to value, where the feature is active."""
        chosen: IntColumn = np.flatnonzero(self.activations.feature == feature).astype(np.int32)
        return {int(self.activations.position[i]): float(self.activations.value[i]) for i in chosen}

    def first_generated(self) -> int | None:
        """Position where the model's answer begins, if it has one."""
        return next((token.position for token in self.tokens if token.is_generated), None)
