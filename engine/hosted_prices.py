"""What hosted models cost and take: a dated table, and estimates from it.

Invariant: a price that is shown says when and where it was read; a model that is not in the table
has no price, rather than a guessed one.
"""

from __future__ import annotations

from dataclasses import dataclass

PRICES_READ_ON = "2026-11-22"
PRICES_SOURCE = "https://platform.claude.com/docs/en/about-claude/pricing"
CHARACTERS_A_TOKEN = 2.7
"""Rough, for English: a little low, so that estimates are rather too high."""


@dataclass(frozen=True, slots=True)
class HostedTerms:
    """What one model costs, and which options it takes.

    Attributes:
        input_usd, output_usd: for a million tokens; None where it is not known.
        can_skip_thinking: whether thinking can be switched off.
        takes_temperature: models from 4.7 on answer any temperature with an error.
    """

    input_usd: float | None = None
    output_usd: float | None = None
    can_skip_thinking: bool = False
    takes_temperature: bool = False


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a piece of work would cost.

    Attributes:
        usd: None where the price of the model is not known.
        note: one sentence for people: on what it rests.
    """

    usd: float | None
    note: str


# Prompts here are far below the 100,000 tokens from which Haiku 5.5 costs five times as much.
# Source: https://platform.claude.com/docs/en/models/haiku-5-5/overview and its neighbours.
_TERMS = {
    "claude-haiku-5-5": HostedTerms(0.10, 0.50, can_skip_thinking=True),
    "claude-sonnet-5-5": HostedTerms(2.0, 10.0, can_skip_thinking=True),
    "claude-opus-5-5": HostedTerms(4.0, 20.0),
    "claude-fable-5-1": HostedTerms(10.0, 50.0),
    "claude-haiku-4-5": HostedTerms(1.0, 5.0, can_skip_thinking=True, takes_temperature=True),
}


def find_terms(model: str) -> HostedTerms:
    """Price and options of a model; one that is not known is asked without options."""
    return _TERMS.get(model, HostedTerms())


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many."""
    return int(len(text) / CHARACTERS_A_TOKEN) + 1


def estimate_cost(model: str, input_tokens: int, output_tokens: int) -> CostEstimate:
    """What so many tokens would cost.

    Args:
        model: name of the hosted model.
        input_tokens, output_tokens: of all requests together.
    """
    terms = find_terms(model)
    if terms.input_usd is None or terms.output_usd is None:
        return CostEstimate(
            None, f"No price of {model} is known here; see {PRICES_SOURCE} before you start."
        )
    usd = (input_tokens * terms.input_usd + output_tokens * terms.output_usd) / 1e6
    return CostEstimate(
        usd,
        f"{model} at ${terms.input_usd:g} a million tokens read and ${terms.output_usd:g} written,"
        f" as of {PRICES_READ_ON} ({PRICES_SOURCE}).",
    )
