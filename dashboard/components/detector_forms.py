"""Training detectors, and those that are stored: a form, and a shelf with use and retire.

Invariant: data in, what was pressed out; nothing is trained, scored or retired here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import streamlit as st

from dashboard.confabulation_view import estimate_words
from dashboard.links import ViewState, to_params
from dashboard.outcome_words import METHOD_WORDS
from engine.api import DetectionSettings, DetectorCard, LabelMethod

_TOOLS = {"off": "tools off", "on": "tools on", "both": "both"}
_TOPICS = {"balanced": "topics that have both kinds", "all": "all topics"}
_N_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ShelfAction:
    """What was pressed on the shelf, of which detector."""

    kind: Literal["retire", "score"]
    detector_id: str


def train_form(is_used: bool) -> DetectionSettings | None:
    """Draws what a training may choose; returns it once it is sent.

    Args:
        is_used: whether answers are judged already, so that there is something to learn from.
    """
    first = DetectionSettings()
    with st.form("train", border=False):
        tools = st.selectbox(
            "Answers with",
            list(_TOOLS),
            index=list(_TOOLS).index(first.tools),
            format_func=lambda name: _TOOLS[name],
            key="train_tools",
            help="With both, whether tools were used tells already; an audit will say so.",
        )
        labels = st.selectbox(
            "Labels by",
            get_args(LabelMethod),
            format_func=lambda name: METHOD_WORDS[name],
            key="train_labels",
            help="What holds takes the strongest judgement of each answer.",
        )
        topics = st.selectbox(
            "Of",
            list(_TOPICS),
            format_func=lambda name: _TOPICS[name],
            key="train_topics",
            help="Topics with nearly one kind alone teach what was asked, not what is made up.",
        )
        dense = st.checkbox(
            "Dense probes and P(True)",
            value=True,
            key="train_dense",
            help="Asks the model again: slower, and the strongest baselines.",
        )
        shuffled = st.checkbox(
            "Shuffle the labels",
            key="train_shuffled",
            help="Shows what chance reaches: every interval should hold .5.",
        )
        is_sent = st.form_submit_button(
            "Train and evaluate",
            type="primary",
            icon=":material/model_training:",
            key="train_send",
            disabled=not is_used,
        )
    if not is_sent:
        return None
    return DetectionSettings(
        label_method=labels,
        tools="on" if tools == "on" else "both" if tools == "both" else "off",
        topics="all" if topics == "all" else "balanced",
        with_residuals=dense,
        with_p_true=dense,
        shuffle_seed=1 if shuffled else None,
    )


def detector_shelf(
    cards: Sequence[DetectorCard], run_key: str | None, toy: str
) -> ShelfAction | None:
    """Draws stored detectors, the newest first; returns what was pressed.

    Args:
        run_key: of a run to open with a detector chosen; None opens an empty page.
    """
    action: ShelfAction | None = None
    with st.container(key="dense-shelf"):
        for card in cards[:_N_SHOWN]:
            action = _shelf_row(card, run_key, toy) or action
    if len(cards) > _N_SHOWN:
        st.caption(f"The {_N_SHOWN} newest of {len(cards):,}; SQL has them all in `detectors`.")
    return action


def _shelf_row(card: DetectorCard, run_key: str | None, toy: str) -> ShelfAction | None:
    name, figures, made, use, score, retire = st.columns(
        [4, 3.4, 2.6, 1.4, 1.5, 1.3], gap="small", vertical_alignment="center"
    )
    name.text(f"{'★ ' if card.is_chosen else ''}{card.name}")
    figures.text(f"AUROC {estimate_words(card.auroc)}{toy}")
    made.text(f"{card.created_at:%Y-%m-%d %H:%M} UTC")
    if card.retired_at is not None:
        use.badge("retired", color="gray", icon=":material/archive:")
        score.text(f"by {card.retired_by}")
        return None
    if card.can_score and not card.needs_model:
        use.page_link(
            "views/ask.py",
            label="Use live",
            icon=":material/sensors:",
            query_params=to_params(
                ViewState(run=run_key, detector=card.detector_id, colour="detector")
            ),
            help="Opens the page Ask with this detector: each answer has its score.",
        )
    if card.can_score and score.button(
        "Score runs",
        key=f"score-{card.detector_id}",
        help="Scores all stored answers to this set, for the view detector_scores.",
    ):
        return ShelfAction("score", card.detector_id)
    if retire.button(
        "Retire",
        key=f"retire-{card.detector_id}",
        help="Nobody is offered it any more; its figures and scores stay.",
    ):
        return ShelfAction("retire", card.detector_id)
    return None
