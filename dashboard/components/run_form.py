"""The form that asks: text, source, tools, and how tokens are chosen.

Invariant: returns what was entered as a request once it is sent, else None; it never asks itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from engine.api import RunRequest, SourceInfo
from store.specs import MAX_NEW_TOKENS, MAX_TEXT_CHARS, Message, SamplingSpec

_MAX_SEED = 2**53 - 1
"""The largest whole number that a browser keeps exactly."""
_ASK = "Ask"
_READ = "Read a text"


@dataclass(frozen=True, slots=True)
class FormDefaults:
    """What the form holds when it opens."""

    text: str = ""
    is_text: bool = False
    source: str | None = None
    tools: bool = False
    sampling: SamplingSpec = SamplingSpec()


@dataclass(frozen=True, slots=True)
class _Sampled:
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int

    def spec(self) -> SamplingSpec:
        """Checked only once the form is sent."""
        return SamplingSpec(
            self.max_new_tokens, self.temperature, self.top_p, self.top_k, self.seed
        )


def run_form(
    sources: tuple[SourceInfo, ...], defaults: FormDefaults, created_by: str, key: str
) -> RunRequest | None:
    """Draws the form.

    Args:
        defaults: the form's first values; another key starts again from them.

    Raises:
        InvalidSpecError: if what was entered is out of range.
    """
    names = [source.name for source in sources]
    with st.form(f"form-{key}", border=True):
        text = st.text_area(
            "Question or text",
            value=defaults.text,
            height=68,
            max_chars=MAX_TEXT_CHARS,
            key=f"text-{key}",
            placeholder="Ask the model something. Ctrl+Enter sends it.",
            label_visibility="collapsed",
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            mode = st.segmented_control(
                "What to do",
                [_ASK, _READ],
                default=_READ if defaults.is_text else _ASK,
                required=True,
                key=f"mode-{key}",
                label_visibility="collapsed",
                help="Ask: the model answers. Read a text: only its features are taken.",
            )
            tools = st.checkbox(
                "Offer tools",
                value=defaults.tools,
                key=f"tools-{key}",
                help="Offers the source's tools to the model.",
            )
            source = st.selectbox(
                "Source",
                names,
                index=names.index(defaults.source) if defaults.source in names else 0,
                key=f"source-{key}",
                label_visibility="collapsed",
                width=150,
                help="The model and its sparse autoencoder.",
            )
            with st.popover("Sampling", icon=":material/tune:"):
                sampled = _sampling(defaults.sampling, key)
            is_sent = st.form_submit_button(
                "Ask", type="primary", icon=":material/send:", key=f"send-{key}"
            )
    if not is_sent:
        return None
    return RunRequest(
        messages=(Message("user", text or ""),),
        source=source,
        kind="text" if mode == _READ else "generation",
        tools=tools and mode != _READ,
        sampling=sampled.spec(),
        created_by=created_by,
    )


def _sampling(defaults: SamplingSpec, key: str) -> _Sampled:
    max_new_tokens = st.number_input(
        "Most new tokens",
        1,
        MAX_NEW_TOKENS,
        value=defaults.max_new_tokens,
        key=f"max_new_tokens-{key}",
    )
    temperature = st.number_input(
        "Temperature",
        0.0,
        10.0,
        value=defaults.temperature,
        step=0.1,
        key=f"temperature-{key}",
        help="0 always takes the most likely token.",
    )
    top_p = st.number_input(
        "top_p",
        0.01,
        1.0,
        value=max(0.01, defaults.top_p),
        step=0.05,
        key=f"top_p-{key}",
        help="Keeps the most likely tokens up to this probability; 1 keeps all.",
    )
    top_k = st.number_input(
        "top_k", 0, 10_000_000, value=defaults.top_k, key=f"top_k-{key}", help="0 keeps all tokens."
    )
    seed = st.number_input(
        "Seed", 0, _MAX_SEED, value=min(defaults.seed, _MAX_SEED), key=f"seed-{key}"
    )
    return _Sampled(max_new_tokens, temperature, top_p, top_k, seed)
