"""What is known of a token as it was chosen: plain numbers, free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GenerationStep:
    """One token as it was chosen. `logprob` natural, `rank` from 0, `entropy` in nats."""

    position: int
    token_id: int
    logprob: float
    rank: int
    entropy: float
