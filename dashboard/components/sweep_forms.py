"""Forms that start sweeps: the ready-made one, one of concepts or features, a ranking, a file.

Invariant: what was entered comes back once it is sent, as plain values; the engine judges it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

_MOST_QUESTIONS = 2_000
_SECONDS_A_QUESTION = 1.5
_STRENGTHS = "0.1, 0.2, 0.4, 0.8"


@dataclass(frozen=True, slots=True)
class AskedRanking:
    """Features that are to be ranked; a toy has prompts and a text of its own."""

    prompts: tuple[str, ...]
    target: str
    features: tuple[int, ...]
    strength: float


def ready_form(is_toy: bool) -> int | None:
    """The ready-made sweep: number of questions once it is sent; None until then."""
    if not is_toy:
        st.text("The ready-made sweep is of a toy: only its world says what is made up.")
        return None
    st.text(
        "Fits gates and directions on one half of the people, and measures on the other half how "
        "much less is made up, at what loss of what is known."
    )
    with (
        st.form("ready", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        n = st.number_input(
            "Questions of each kind",
            20,
            _MOST_QUESTIONS,
            value=400,
            step=20,
            key="ready_n",
            width=180,
            help="On the half that is reported; fewer are quicker, with wider intervals.",
        )
        is_sent = st.form_submit_button("Start the sweep", type="primary", key="ready_send")
        st.caption(f"400 questions take about {400 * _SECONDS_A_QUESTION / 60:.0f} minutes.")
    return int(n) if is_sent else None


def concept_form(concepts: Sequence[str], n_layers: int | None) -> dict[str, Any] | None:
    """A sweep of concepts or features, as plain values of a spec; None until it is sent."""
    with st.form("sweep", border=False):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            name = st.text_input("Name", max_chars=120, key="sweep_name", placeholder="my sweep")
            chosen = st.multiselect("Concepts", concepts, key="sweep_concepts")
            features = st.text_input(
                "Features", key="sweep_features", placeholder="12, 203", help="By their numbers."
            )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            strengths = st.text_input(
                "Strengths, in mean residual norms", value=_STRENGTHS, key="sweep_strengths"
            )
            layers = st.multiselect(
                "After layers",
                list(range(n_layers or 0)),
                key="sweep_layers",
                help="None: a concept at every layer, a feature where its SAE reads.",
            )
            n_random = st.number_input(
                "Random directions", 0, 100, value=10, key="sweep_random", help="As a control."
            )
        prompts = st.text_area(
            "Prompts, one a line",
            height=68,
            key="sweep_prompts",
            placeholder="none: the library's open questions, or the toy's own",
            help="One half chooses the strength, the other half is reported.",
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            words = st.text_input(
                "Words of the concept", key="sweep_words", placeholder="none: the concept's own"
            )
            instruction = st.text_input(
                "Instruction that only asks for it",
                key="sweep_instruction",
                placeholder="Answer cheerfully.",
                help="Asking is the control that steering has to beat.",
            )
        is_sent = st.form_submit_button("Start the sweep", type="primary", key="sweep_send")
    if not is_sent:
        return None
    places: list[int | None] = [*layers] or [None]
    numbers = [float(item) for item in _split(strengths)]
    arms: list[dict[str, Any]] = [
        {"concept": concept, "strengths": numbers, "layers": places} for concept in chosen
    ]
    arms += [
        {
            "name": f"feature {feature}",
            "feature": int(feature),
            "unit": "norm",
            "strengths": numbers,
            "layers": places,
        }
        for feature in _split(features)
    ]
    fallback = ", ".join(str(arm.get("concept") or arm["name"]) for arm in arms[:3])
    return {
        "name": (name or "").strip() or fallback or "sweep",
        "arms": arms,
        "prompts": _lines(prompts),
        "words": [word for word in re.split(r"[,\s]+", words or "") if word],
        "instruction": (instruction or "").strip(),
        "n_random": int(n_random),
    }


def ranking_form(is_toy: bool) -> AskedRanking | None:
    """Features by their effect on the output; None until it is sent."""
    own = "none: the toy's own" if is_toy else "needed"
    with st.form("ranking", border=False):
        st.text(
            "Which features make a text likelier as the beginning of the answer? The gradient "
            "proposes some, and each one's effect is measured."
        )
        target = st.text_input("Text", key="rank_target", placeholder=own)
        prompts = st.text_area(
            "Prompts, one a line", height=68, key="rank_prompts", placeholder=own
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            features = st.text_input(
                "Features", key="rank_features", placeholder="none: those proposed"
            )
            strength = st.number_input(
                "Strength, mean residual norms", value=0.5, step=0.1, key="rank_strength"
            )
            is_sent = st.form_submit_button("Rank features", type="primary", key="rank_send")
    if not is_sent:
        return None
    numbers = tuple(int(item) for item in _split(features))
    return AskedRanking(tuple(_lines(prompts)), target or "", numbers, float(strength))


def file_form() -> bytes | None:
    """A spec in a file; None until it is sent with one."""
    with st.form("spec", border=False):
        file = st.file_uploader("A spec in TOML or JSON", type=["toml", "json"], key="spec_file")
        is_sent = st.form_submit_button("Start the sweep", type="primary", key="spec_send")
    if not is_sent:
        return None
    if file is None:
        st.text("Choose a file first.")
        return None
    return file.getvalue()


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _split(text: str | None) -> list[str]:
    return [item for item in re.split(r"[,;\s]+", text or "") if item]
