"""What is asked and under which circumstances; the buttons that run, add, undo and begin anew.

Invariant: values in, values out; it asks nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.links import Tools, ViewState
from dashboard.steer_draft import SteerDraft
from engine.api import SourceInfo
from store.specs import MAX_NEW_TOKENS, MAX_TEXT_CHARS, SamplingSpec

Action = Literal["run", "add", "undo"]
_MAX_SEED = 2**53 - 1


@dataclass(frozen=True, slots=True)
class AskedSteering:
    """What the form holds, and the button that was pressed, if one was.

    Attributes:
        preset_place: where the buttons of presets go.
    """

    prompt: str | None
    source: str
    tools: Tools | None
    sampling: SamplingSpec
    action: Action | None
    preset_place: DeltaGenerator


def steer_form(
    sources: Sequence[SourceInfo],
    state: ViewState,
    draft: SteerDraft,
    can_undo: bool,
    number: int,
) -> AskedSteering:
    """Draws the form.

    Args:
        sources: that can be chosen.
        state: what the link says: the form's first values.
        draft: as the link says.
        can_undo: whether something was changed before.
        number: of the editor's round: another one makes all widgets begin anew.
    """
    names = [source.name for source in sources]
    prompt = st.text_area(
        "Question",
        value=state.prompt or "",
        height=68,
        max_chars=MAX_TEXT_CHARS,
        key=f"prompt-{number}",
        placeholder="Ask something; it is answered plainly and steered.",
        label_visibility="collapsed",
    )
    action: Action | None = None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Run both", type="primary", icon=":material/play_arrow:", key="run_both"):
            action = "run"
        source = st.selectbox(
            "Source",
            names,
            index=names.index(state.source) if state.source in names else 0,
            key=f"steer_source-{number}",
            label_visibility="collapsed",
            width=150,
            help="The model and its sparse autoencoder.",
        )
        tools = st.checkbox(
            "Offer tools",
            value=state.tools == "on",
            key=f"steer_tools-{number}",
            help="Offers the source's tools to the model, in both answers.",
        )
        with st.popover("Sampling", icon=":material/tune:"):
            sampling = _sampling(draft.sampling, number)
        if st.button("Add intervention", icon=":material/add:", key="add_row"):
            action = "add"
        with st.popover("Presets", icon=":material/auto_awesome:"):
            place = st.container()
        if st.button("Undo", icon=":material/undo:", key="undo", disabled=not can_undo):
            action = "undo"
    return AskedSteering(
        (prompt or "").strip() or None,
        source or names[0],
        "on" if tools else None,
        sampling,
        action,
        place,
    )


def _sampling(first: SamplingSpec, number: int) -> SamplingSpec:
    most = st.number_input(
        "Most new tokens", 1, MAX_NEW_TOKENS, value=first.max_new_tokens, key=f"most-{number}"
    )
    temperature = st.number_input(
        "Temperature",
        0.0,
        10.0,
        value=first.temperature,
        step=0.1,
        key=f"heat-{number}",
        help="0 always takes the most likely token.",
    )
    seed = st.number_input(
        "Seed", 0, _MAX_SEED, value=min(first.seed, _MAX_SEED), key=f"steer_seed-{number}"
    )
    return SamplingSpec(int(most), float(temperature), first.top_p, first.top_k, int(seed))
