"""Forms that say what a vector is made from: pairs of texts, or two sets of stored runs.

Invariant: what was entered comes back once it is sent, unread; the engine judges it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import streamlit as st

_EXAMPLE = "I am so glad to see you! | I see you.\nWhat a wonderful day this is! | It is Tuesday."
_MAX_CHARS = 400_000


@dataclass(frozen=True, slots=True)
class AskedPairs:
    """Pairs as they were typed, or a file of them."""

    name: str
    data: bytes | str
    file_name: str
    templates: tuple[str, ...]
    form: Literal["text", "chat"]
    reading: Literal["mean", "last"]


@dataclass(frozen=True, slots=True)
class AskedRuns:
    """Two sets of runs, each a filter or keys."""

    name: str
    with_runs: str
    without_runs: str
    position: Literal["last_prompt", "generated", "all"]


def pair_form() -> AskedPairs | None:
    """Draws the form; None until it is sent."""
    with st.form("pairs", border=False):
        name = st.text_input("Concept", max_chars=80, key="pairs_name", placeholder="cheerful")
        typed = st.text_area(
            "Pairs, one a line: with the concept | without it",
            height=150,
            max_chars=_MAX_CHARS,
            key="pairs_text",
            placeholder=_EXAMPLE,
            help="At least 20 pairs, alike but for the concept. Tabs do as well as |, and so do "
            "JSON lines with `positive` and `negative`.",
        )
        file = st.file_uploader(
            "or a file of them",
            type=["txt", "tsv", "jsonl", "json", "toml"],
            key="pairs_file",
            help="A TOML file says name, templates and words of the concept itself.",
        )
        templates = st.text_area(
            "Templates, one a line, each with {text}",
            value="{text}",
            height=68,
            key="pairs_templates",
            help="Every pair is read in each of them, so that no single wording decides.",
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            form = st.segmented_control(
                "Read as",
                ("text", "chat"),
                default="text",
                required=True,
                key="pairs_form",
                help="chat: as a question that awaits its answer.",
            )
            reading = st.segmented_control(
                "Where",
                ("mean", "last"),
                default="mean",
                required=True,
                key="pairs_reading",
                help="The mean over the text's own tokens, or its last token.",
            )
            is_sent = st.form_submit_button("Make its vectors", type="primary", key="pairs_send")
    if not is_sent:
        return None
    return AskedPairs(
        name=name or "",
        data=file.getvalue() if file is not None else typed or "",
        file_name=file.name if file is not None else "",
        templates=tuple(line for line in (templates or "").splitlines() if line.strip()),
        form=cast('Literal["text", "chat"]', form),
        reading=cast('Literal["mean", "last"]', reading),
    )


def runs_form() -> AskedRuns | None:
    """Draws the form; None until it is sent."""
    with st.form("runs", border=False):
        name = st.text_input("Concept", max_chars=80, key="runs_name", placeholder="made up")
        with_runs = st.text_input(
            "Runs with it",
            key="runs_with",
            placeholder="verdict:made_up",
            help="A filter of runs, as on the page Compare, or keys of runs.",
        )
        without = st.text_input("Runs without it", key="runs_without", placeholder="verdict:honest")
        position = st.segmented_control(
            "Where they are read",
            ("last_prompt", "generated", "all"),
            default="last_prompt",
            required=True,
            format_func=lambda item: str(item).replace("_", " "),
            key="runs_position",
        )
        is_sent = st.form_submit_button("Make its vectors", type="primary", key="runs_send")
    if not is_sent:
        return None
    place = cast('Literal["last_prompt", "generated", "all"]', position)
    return AskedRuns(name or "runs", with_runs or "", without or "", place)
