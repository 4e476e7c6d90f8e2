"""What tools change: how many answers mean what with tools off and on, with intervals.

Invariant: questions are compared with themselves where both ways were asked; an interval is never
narrower than the number of answers, nor than the number of groups, allows. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from engine.detection.arrays import FloatArray
from engine.detection.bootstrap import N_DRAWS, draw_groups, estimate
from engine.detection.reports import Estimate
from engine.intervals import wilson_interval
from store.answer_rows import AnswerCase
from store.outcome_records import Meaning

MEANINGS: tuple[Meaning, ...] = get_args(Meaning)
FALSE: frozenset[Meaning] = frozenset({"made_up", "wrong"})
"""Meanings that an answer should not have."""
_MOST_CELLS = 20_000_000
_FEWEST_DRAWS = 200


@dataclass(frozen=True, slots=True)
class ToolsCell:
    """Answers of one meaning, with tools off or on.

    Attributes:
        n: such answers; n_all: of so many. share: n of n_all with its 95% interval.
    """

    tools: bool
    meaning: Meaning
    n: int
    n_all: int
    share: Estimate


@dataclass(frozen=True, slots=True)
class ToolsEffect:
    """Answers with tools off and on, side by side.

    Attributes:
        is_paired: whether only questions that were asked both ways are counted.
        n_questions: that are counted; n_groups: that they belong to.
        cells: off first, each meaning in the order of `Meaning`.
        difference: share of false answers with tools on minus off; None unless both were asked.
    """

    is_paired: bool
    n_questions: int
    n_groups: int
    cells: tuple[ToolsCell, ...]
    difference: Estimate | None

    def cell(self, tools: bool, meaning: Meaning) -> ToolsCell | None:
        """One of the cells; None where nothing was asked that way."""
        found = (item for item in self.cells if (item.tools, item.meaning) == (tools, meaning))
        return next(found, None)


def compare_tools(cases: Sequence[AnswerCase], is_paired: bool = True) -> ToolsEffect:
    """Counts meanings with tools off and on.

    Args:
        cases: one a question and way of asking.
        is_paired: leave out questions that were asked in one way alone.
    """
    ways: dict[int, set[bool]] = {}
    for case in cases:
        ways.setdefault(case.question_no, set()).add(case.tools)
    kept = [case for case in cases if not is_paired or len(ways[case.question_no]) == 2]
    if not kept:
        return ToolsEffect(is_paired, 0, 0, (), None)
    codes = {name: code for code, name in enumerate(sorted({case.group for case in kept}))}
    n_groups = len(codes)
    counts = {
        tools: np.zeros((n_groups, len(MEANINGS))) for tools in sorted({c.tools for c in kept})
    }
    for case in kept:
        counts[case.tools][codes[case.group], MEANINGS.index(case.meaning)] += 1
    drawn = _draws(n_groups)
    cells = tuple(
        ToolsCell(
            tools,
            meaning,
            int(found[:, column].sum()),
            int(found.sum()),
            _share(found[:, column], found.sum(axis=1), drawn),
        )
        for tools, found in counts.items()
        for column, meaning in enumerate(MEANINGS)
    )
    return ToolsEffect(
        is_paired=is_paired,
        n_questions=len({case.question_no for case in kept}),
        n_groups=n_groups,
        cells=cells,
        difference=_difference(counts, drawn) if len(counts) == 2 else None,
    )


def _draws(n_groups: int) -> FloatArray:
    """How often each group counts, [1 + draws, groups]; the first row is the sample as it is."""
    n_draws = max(_FEWEST_DRAWS, min(N_DRAWS, _MOST_CELLS // max(n_groups, 1)))
    return draw_groups(np.arange(n_groups), n_draws).counts


def _share(hits: FloatArray, sizes: FloatArray, drawn: FloatArray) -> Estimate:
    """A share with the wider of two intervals: over groups, and Wilson's, which knows 0 and 1."""
    found = estimate(_ratio(drawn @ hits, drawn @ sizes))
    low, high = wilson_interval(hits.sum(), sizes.sum())
    return Estimate(found.value, min(found.low, float(low)), max(found.high, float(high)))


def _difference(counts: dict[bool, FloatArray], drawn: FloatArray) -> Estimate:
    columns = [index for index, meaning in enumerate(MEANINGS) if meaning in FALSE]
    shares = {
        tools: _ratio(drawn @ found[:, columns].sum(axis=1), drawn @ found.sum(axis=1))
        for tools, found in counts.items()
    }
    return estimate(shares[True] - shares[False])


def _ratio(hits: FloatArray, sizes: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(hits, sizes, out=np.full_like(hits, np.nan), where=sizes > 0)
    return ratio
