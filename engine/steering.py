"""Steering as pure tensor functions: what each operator adds to the residual stream.

h is the residual, a the activation of a feature, d its direction, r a direction of length 1:

    add     h + s d             clamp to c  h + (c - a) d     ablate   h - a d
    scale   h + (s - 1) a d     erase       h - r (r . h)     several  the sum of these changes

Whatever else is in h, such as what an SAE does not reconstruct, stays as it is.

Invariant: a token whose change is exactly zero keeps its residual bit for bit; changes are summed
in float32 and rounded to the model's precision once.

Source: clamping in https://transformer-circuits.pub/2024/scaling-monosemanticity; erasing a
direction in arXiv 2406.11717; conditions in arXiv 2409.05907.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Change:
    """What one operator adds at one hook point in one forward pass.

    Attributes:
        delta: float32, [batch, tokens, d_model] or what broadcasts to it.
        where: bool [batch, tokens, 1] or what broadcasts to it: the tokens that it applies to;
            None is all.
    """

    delta: torch.Tensor
    where: torch.Tensor | None = None


def clamp_by(activation: torch.Tensor, target: float, rounding: float = 0.0) -> torch.Tensor:
    """How much activation is lacking to the target, [...].

    Args:
        activation: float32, [...].
        target: activation that is wanted.
        rounding: relative difference that counts as none.
    """
    lacking = target - activation
    return torch.where(lacking.abs() <= rounding * abs(target), 0.0, lacking)


def scale_by(activation: torch.Tensor, factor: float) -> torch.Tensor:
    """How much activation the factor adds, [...]; the factor 0 takes all of it away."""
    return (factor - 1.0) * activation


def erase_by(hidden: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """What of the residual lies along a direction, negated: float32 [...].

    Args:
        hidden: [..., d_model].
        unit: float32 [d_model], of length 1.
    """
    return -(hidden.float() @ unit)


def along(amount: torch.Tensor, direction: torch.Tensor, where: torch.Tensor | None) -> Change:
    """The change by amounts [batch, tokens] of a direction [d_model]; none where an amount is 0."""
    is_some = (amount != 0)[..., None]
    return Change(amount[..., None] * direction, is_some if where is None else is_some & where)


def change_residual(hidden: torch.Tensor, changes: Sequence[Change]) -> torch.Tensor:
    """The residual after all changes, in the precision that it came in.

    Args:
        hidden: [batch, tokens, d_model]; never written to.
        changes: one or more.
    """
    if len(changes) == 1:
        total, where = changes[0].delta, changes[0].where
    else:
        total = sum_deltas(changes)
        where = _union([item.where for item in changes])
    changed = (hidden.float() + total).to(hidden.dtype)
    return changed if where is None else torch.where(where, changed, hidden)


def sum_deltas(changes: Sequence[Change]) -> torch.Tensor:
    """The sum of what each change adds where it applies, float32."""
    total: torch.Tensor | None = None
    for item in changes:
        delta = item.delta if item.where is None else torch.where(item.where, item.delta, 0.0)
        total = delta if total is None else total + delta
    if total is None:
        raise ValueError("no change to sum")
    return total


def _union(places: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Tokens that at least one change applies to; None is all."""
    union: torch.Tensor | None = None
    for place in places:
        if place is None:
            return None
        union = place if union is None else union | place
    return union
