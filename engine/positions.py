"""Where in a sequence interventions apply, as ranges of positions of the whole sequence.

Invariant: whatever positions are named as, they are one range [first, end) of a run; a token that
begins every text (BOS) is in none. Free of torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from store.interventions import find_span

Range = tuple[int, int]
"""First position, and the one after the last."""

NO_END = 2**31 - 1
_NOWHERE: Range = (NO_END, NO_END)


def to_range(positions: str, n_prompt: int, n_left_alone: int) -> Range:
    """The range of positions that is meant in a run.

    Args:
        positions: as an intervention names them.
        n_prompt: tokens of the run's prompt.
        n_left_alone: tokens at the beginning that are never steered: 1 with a BOS, else 0.
    """
    span = find_span(positions)
    if span is not None:
        first, end = span[0], NO_END if span[1] is None else span[1]
    elif positions == "all":
        first, end = 0, NO_END
    elif positions == "generated":
        first, end = n_prompt, NO_END
    else:
        first = n_prompt - 1
        end = n_prompt if positions == "last_prompt" else NO_END
    first = max(first, n_left_alone)
    return (first, end) if first < end else _NOWHERE


def n_treated_alike(left: Sequence[Range], right: Sequence[Range]) -> int:
    """From the start, how many positions two runs of equal interventions steer in the same way.

    Args:
        left, right: the ranges of each intervention in either run.
    """
    if len(left) != len(right):
        return 0
    return min(
        (_n_alike(one, other) for one, other in zip(left, right, strict=True)), default=NO_END
    )


def _n_alike(left: Range, right: Range) -> int:
    if left == right:
        return NO_END
    return min(left[0], right[0]) if left[0] != right[0] else min(left[1], right[1])
