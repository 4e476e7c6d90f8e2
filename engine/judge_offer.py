"""What having answers judged by the hosted model would take, before anything is sent.

Invariant: nothing is sent here; a price that is not known is None, and answers that the judge has
judged already cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.hosted_prices import estimate_cost, estimate_tokens
from engine.judge import Case, instructions_tokens

_REPLY_TOKENS = 120


@dataclass(frozen=True, slots=True)
class JudgeOffer:
    """What judging would take.

    Attributes:
        needs: what is missing, one or two sentences; None if nothing is.
        n_answers: that would be judged; n_known: of these, judged before on the same texts.
        input_tokens, output_tokens: about what would be billed.
        cost_usd: None where the price is not known. price_note: on what it rests.
    """

    needs: str | None
    model: str
    n_answers: int
    n_known: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    price_note: str


def make_offer(needs: str | None, model: str, cases: Sequence[Case], n_known: int) -> JudgeOffer:
    """Estimates tokens and price.

    Args:
        needs: what is missing to begin.
        model: that would be asked.
        cases: those that it has not judged yet.
        n_known: those that it has.
    """
    n_read = sum(instructions_tokens() + estimate_tokens(case.prompt()) for case in cases)
    n_written = len(cases) * _REPLY_TOKENS
    cost = estimate_cost(model, n_read, n_written)
    return JudgeOffer(
        needs, model, len(cases) + n_known, n_known, n_read, n_written, cost.usd, cost.note
    )
