"""The hosted judge: what it needs, what it would cost, and the button that begins.

Invariant: the offer is given and nothing is sent before its button is pressed.
"""

from __future__ import annotations

import streamlit as st

from engine.api import JudgeOffer


def judge_panel(offer: JudgeOffer, key: str) -> bool:
    """Draws the offer; True if judging is wanted."""
    left = offer.n_answers - offer.n_known
    cost = "its price is not known here" if offer.cost_usd is None else _usd(offer.cost_usd)
    st.text(
        f"{offer.model} would read question, true answer where known, results of tools, and "
        f"answer, and quote the words that decide. {left:,} of {offer.n_answers:,} answers are not "
        f"judged yet: {cost}, for {offer.input_tokens:,} tokens read and "
        f"{offer.output_tokens:,} written."
    )
    st.text(offer.price_note)
    if offer.needs is not None:
        st.text(offer.needs)
    return st.button(
        f"Send {left:,} answers to the judge",
        icon=":material/gavel:",
        key=f"judge-{key}",
        disabled=offer.needs is not None or not left,
    )


def _usd(value: float) -> str:
    return f"about ${value:,.2f}" if value >= 0.01 else "less than a cent"
