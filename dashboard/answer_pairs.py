"""Two answers token by token: what stands beside what, how likely each is elsewhere. Pure.

Invariant: every token of both answers is in exactly one cell, in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.run_view import RunView
from engine.api import AlignedBlock, CrossReading


@dataclass(frozen=True, slots=True)
class PairedToken:
    """A token of one of the answers.

    Attributes:
        logprob: natural, as it was chosen; other: under the steering of the other answer.
    """

    position: int
    text: str
    logprob: float | None
    other: float | None


@dataclass(frozen=True, slots=True)
class PairCell:
    """A token of the plain answer above one of the steered answer; either may be missing."""

    plain: PairedToken | None
    steered: PairedToken | None
    differs: bool


def pair_answers(
    plain: RunView,
    steered: RunView,
    blocks: Sequence[AlignedBlock],
    across: CrossReading | None,
) -> tuple[PairCell, ...]:
    """The generated tokens of two runs, aligned.

    Args:
        plain: the run without steering; steered: the one with it.
        blocks: as their tokens are aligned, the plain run first.
        across: what each is under the other; None if that was not measured.
    """
    first = across.first_under_second if across else ()
    second = across.second_under_first if across else ()
    begin_plain = plain.run.n_prompt_tokens
    begin_steered = steered.run.n_prompt_tokens
    cells = []
    for block in blocks:
        left = range(max(block.a_start, begin_plain), block.a_stop)
        right = range(max(block.b_start, begin_steered), block.b_stop)
        for place in range(max(len(left), len(right))):
            above = _token(plain, left[place], first) if place < len(left) else None
            below = _token(steered, right[place], second) if place < len(right) else None
            cells.append(PairCell(above, below, block.kind != "equal"))
    return tuple(cells)


def count_differing(cells: Sequence[PairCell]) -> tuple[int, int]:
    """How many cells differ, and how many there are."""
    return sum(cell.differs for cell in cells), len(cells)


def _token(view: RunView, position: int, other: Sequence[float | None]) -> PairedToken:
    token = view.tokens[position]
    elsewhere = other[position] if position < len(other) else None
    return PairedToken(position, token.text, token.logprob, elsewhere)
